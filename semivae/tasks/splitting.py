"""Which training examples show their label: as its kind chooses, and written down once for all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from semivae.data.dataset import Dataset
from semivae.data.splits import Split, save_split
from semivae.recipe.schema import SplitSpec
from semivae.tasks.kinds import task_named


def make_split(dataset: Dataset, spec: SplitSpec) -> Split:
    """Choose labelled and validation examples, as the kind of the primary label does it.

    Raises:
        DataError: more labels or validation examples are asked for than there are, or what the kind refuses.
    """
    return task_named(dataset.labels[dataset.label].kind).split(dataset, spec)


def pin_splits(name: str, dataset: Dataset, spec: SplitSpec, folder: Path, seeds: Iterable[int]) -> list[Path]:
    """Write the manifests `folder`/`name`_seed0.json and so on, one for each of `seeds`, as they lie in data/splits.

    Args:
        name: the recipe's name.
        dataset: the recipe's data.
        spec: the recipe's split; its own seed is replaced by each of `seeds`.
        folder: where the manifests go.
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
