"""Factors that are tables: from a recipe's groups, tables and confusions to natural parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.errors import DataError, RecipeError
from semivae.game.tables import TableConditional
from semivae.recipe.schema import Factor, Recipe, TableSpec
from semivae.text import count_of, either, join_names, nearest
from semivae.variables import Variable

RAREST = 1e-9  # a probability of 0 in a table that is kept: less than any network would say
MIXED = 0.01  # of even probabilities, in a table that is learnt from: a probability of 0 would never be left
CERTAIN = 30.0  # logit of the right class among candidates


def resolved_tables(recipe: Recipe, dataset: Dataset) -> dict[str, Factor]:
    """Returns the decoder with groups of classes written out as tables, by the class names of the data.

    Raises:
        RecipeError: a group names an unknown class, a class is in no group, or groups and the data's classes differ.
        DataError: what may be wrong labels holds a class that the label has not, such as one that is misspelt.
    """
    for name, spec in recipe.decoder.items():
        if isinstance(spec, TableSpec) and spec.confusion is not None:
            _refuse_other_classes(name, spec.given[0], dataset)
    return {
        name: _resolved(name, spec, dataset) if isinstance(spec, TableSpec) and spec.groups is not None else spec
        for name, spec in recipe.decoder.items()
    }


def _refuse_other_classes(name: str, label: str, dataset: Dataset) -> None:
    if name not in dataset.labels or label not in dataset.labels:
        return
    written, classes = dataset.labels[name].classes, dataset.labels[label].classes
    if written == classes:
        return
    other = [each for each in written if each not in classes]
    lost = [each for each in classes if each not in written]
    if other:
        near = {each: None if each.isdecimal() else nearest(each, classes) for each in other}
        shown = [f"{each} ({meant}?)" if meant else each for each, meant in near.items()]
        what = (
            f"holds {join_names(shown)}, {either(len(other), 'which is no class', 'which are no classes')} of {label}"
        )
    elif lost:
        what = f"knows {count_of(len(written), 'class', 'classes')} of {label} and lacks {join_names(lost)}"
    else:
        what = f"has its classes in another order than {label}"
    raise DataError(
        f"{dataset.name}: {name} {what}; the classes of {label} are {join_names(classes, 20)}. What may be a wrong "
        f"{label} has the same ones, in the same order: correct the data (a cell that is not known is empty), or "
        f"write decoder.{name} with groups or a table"
    )


def _resolved(name: str, spec: TableSpec, dataset: Dataset) -> TableSpec:
    groups, where, label = spec.groups or {}, f"decoder.{name}.groups", spec.given[0]
    if label not in dataset.labels:
        raise RecipeError(f"{where}: {dataset.name} does not name the classes of {label}; write a table")
    classes = dataset.labels[label].classes
    members = [member for group in groups.values() for member in group]
    if unknown := sorted(set(members) - set(classes)):
        no = either(len(unknown), f"is no class of {label}", f"are no classes of {label}")
        raise RecipeError(f"{where}: {join_names(unknown)} {no}; the classes are {join_names(classes, 20)}")
    if lost := [member for member in classes if member not in members]:
        are = either(len(lost), "is", "are")
        raise RecipeError(f"{where}: {join_names(lost)} {are} in no group; every class of {label} needs one")
    coarse = dataset.labels[name].classes if name in dataset.labels else tuple(groups)
    if set(coarse) != set(groups):
        raise RecipeError(f"{where} has {join_names(list(groups))}, but {dataset.name} has {join_names(coarse)}")
    table = tuple(tuple(float(member in groups[group]) for group in coarse) for member in classes)
    return spec.model_copy(update={"groups": None, "table": table})


def table_conditional(name: str, spec: TableSpec, target: Variable, label: Variable) -> TableConditional:
    """Returns the decoder's factor of a resolved recipe.

    Raises:
        RecipeError: a table or a confusion has other sizes than its variables, or groups are not written out.
    """
    where, classes = f"decoder.{name}", label.class_count
    if spec.candidates:
        if target.shape != (classes,):
            raise RecipeError(
                f"{where}: variables.{name}.shape is {list(target.shape)}, but candidates are [{classes}]"
            )
        return TableConditional(target, label, CERTAIN * torch.eye(classes))
    columns = target.class_count
    if spec.confusion is not None:
        if columns != classes:
            raise RecipeError(
                f"{where}: {name} has {columns} classes and {label.name} has {classes}, but a confusion has the same; "
                "use groups or a table"
            )
        odds = (
            spec.confusion.start * (classes - 1) / (1.0 - spec.confusion.start)
        )  # of the right class to each other one
        return TableConditional(
            target, label, torch.tensor(odds).log() * torch.eye(classes), True, spec.confusion.per == "annotator"
        )
    if spec.table is None:
        raise RecipeError(f"{where}.groups: classes are known by their names, which only the data say")
    if (len(spec.table), len(spec.table[0])) != (classes, columns):
        raise RecipeError(
            f"{where}.table is {len(spec.table)} x {len(spec.table[0])}, but {label.name} has {classes} classes and "
            f"{name} {columns}"
        )
    return TableConditional(target, label, _log_table(torch.tensor(spec.table), spec.learn), spec.learn)


def _log_table(table: Tensor, learn: bool) -> Tensor:
    table = table / table.sum(dim=1, keepdim=True)
    if learn:
        table = (1.0 - MIXED) * table + MIXED / table.shape[1]
    return table.clamp_min(RAREST).log()
