"""Splits of the training examples into labelled, unlabelled and validation ones, made by the kind of the label."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from semivae.data.dataset import Dataset
from semivae.data.splits import Split, save_split, with_further_labels
from semivae.data.summary import summary
from semivae.recipe.schema import Recipe, SplitSpec
from semivae.tasks.kinds import task_named, task_of


def prepared(dataset: Dataset, recipe: Recipe) -> Dataset:
    """Returns data as the kinds of a recipe's labels take them, such as with strangers as one class more.

    Raises:
        DataError: the data do not fit a kind.
    """
    for name, variable in recipe.variables.items():
        dataset = task_of(name, variable).prepare(dataset, name, variable)
    return dataset


def make_split(dataset: Dataset, spec: SplitSpec) -> Split:
    """Chooses labelled and validation examples, as the kind of the primary label does, and who shows further labels.

    Raises:
        DataError: the data have too few labels or examples, or the kind refuses an option of the split.
    """
    return with_further_labels(task_named(dataset.labels[dataset.label].kind).split(dataset, spec), dataset)


def labelled_counts(dataset: Dataset, split: Split) -> list[int]:
    """How many labelled examples each class has; empty where an example has no one class."""
    task = task_named(dataset.labels[dataset.label].kind)
    return task.class_counts(dataset.train[dataset.label][split.labelled], len(dataset.classes))


def split_lines(dataset: Dataset, spec: SplitSpec) -> tuple[str, ...]:
    """What data hold, split as a recipe asks, in two or three lines; raises as `make_split`."""
    split = make_split(dataset, spec)
    return summary(dataset, split, labelled_counts(dataset, split))


def pin_splits(name: str, dataset: Dataset, spec: SplitSpec, folder: Path, seeds: Iterable[int]) -> list[Path]:
    """Writes a manifest `folder`/`name`_seed0.json for each of `seeds`, like those in data/splits.

    Args:
        name: the name of the recipe.
        dataset: the data of the recipe.
        spec: the split of the recipe; each of `seeds` replaces its seed.
        folder: the folder of the manifests.
        seeds: split seeds.

    Returns:
        The files, in the order of `seeds`.
    """
    paths = []
    for seed in seeds:
        path = folder / f"{name}_seed{seed}.json"
        save_split(make_split(dataset, spec.model_copy(update={"seed": seed})), path)
        paths.append(path)
    return paths
