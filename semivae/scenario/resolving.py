"""From a recipe to the same with everything filled in that its data say: shapes, classes, scales of numbers."""

from __future__ import annotations

from pathlib import Path

from semivae.data.dataset import Dataset
from semivae.data.features.attaching import features_of
from semivae.data.splits import Split
from semivae.errors import DataError, RecipeError
from semivae.recipe import schema
from semivae.recipe.schema import Recipe
from semivae.scenario.strangers import with_shares
from semivae.scenario.tables import resolved_tables
from semivae.scenario.turning import refuse_unknown_unit
from semivae.tasks.kinds import kind_of_data


def resolve(recipe: Recipe, dataset: Dataset, split: Split | None = None, data_root: Path | None = None) -> Recipe:
    """The recipe with every shape, number of classes, group of classes and scale of numbers filled in from the data.

    Args:
        recipe: the recipe.
        dataset: its data.
        split: says which examples show a label, from which its kind may learn; None: all of them.
        data_root: where relative paths of `values` files start; None is the usual data root.

    Raises:
        RecipeError: a variable without a shape that the data do not know, or groups that are not those of the data.
        DataError: the recipe's shape, classes or kind of label differ from the data's, or there is no scale.
    """
    variables = {
        name: spec.model_copy(update={"shape": (features_of(name, recipe.features[name]),)})
        if name in recipe.features and name not in dataset.train
        else _resolved(name, spec, dataset)
        for name, spec in recipe.variables.items()
    }
    for name, info in dataset.labels.items():
        if name in variables:
            values = dataset.of_all(name)
            shown = values if split is None else values[split.shown(dataset, name)]
            variables[name] = kind_of_data(info.kind).learn_from(name, variables[name], info, shown)
    found = recipe.model_copy(update={"variables": variables, "decoder": resolved_tables(recipe, dataset)})
    refuse_unknown_unit(found)
    return with_shares(found, dataset, split, data_root)


def _resolved(name: str, spec: schema.VariableSpec, dataset: Dataset) -> schema.VariableSpec:
    if name not in dataset.train:
        if spec.has_classes and spec.classes is None:
            raise RecipeError(f"variables.{name}: source {dataset.name} does not know it; say its classes")
        if not spec.has_classes and spec.shape is None:
            raise RecipeError(f"variables.{name}: source {dataset.name} does not know it; say its shape")
        return spec.model_copy(update={"shape": spec.shape or ()})
    shape = tuple(dataset.train[name].shape[1:])
    if spec.shape is not None and tuple(spec.shape) != shape:
        raise DataError(
            f"variables.{name}.shape is {list(spec.shape)}, but {dataset.name} has {list(shape)}; change the shape, or "
            f"leave it out to take the data's"
        )
    if name in dataset.labels and not (task := kind_of_data(dataset.labels[name].kind)).fits(
        name, spec.model_copy(update={"shape": shape})
    ):
        advice = "the source"
        if spec.family == "gaussian":
            advice = f"write source.kinds: {{{name}: numbers}}"
        elif task.family == "gaussian":
            advice = "give classes as whole numbers or texts, and examples without a label in x_unlabelled"
        raise DataError(
            f"variables.{name} is {spec.family}, but {name} of {dataset.name} holds {task.name}, which are "
            f"{task.family}; change its family, or {advice}"
        )
    if not spec.has_classes:
        return spec.model_copy(update={"shape": shape})
    classes = dataset.labels[name].classes
    if spec.classes is not None and spec.classes != len(classes):
        raise DataError(
            f"variables.{name}.classes is {spec.classes}, but {dataset.name} has {len(classes)} classes "
            f"({', '.join(classes[:12])}); change it, or leave it out to take the data's"
        )
    return spec.model_copy(update={"shape": shape, "classes": len(classes)})
