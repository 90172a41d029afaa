"""How many examples each part has, in all and of each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.splits import Split
from semivae.errors import DataError
from semivae.inspection.facts import NO_LABEL, PARTS, Counts, LabelFacts
from semivae.recipe.schema import SplitSpec
from semivae.tasks.kinds import task_named
from semivae.tasks.splitting import make_split
from semivae.variables import seen

CountClasses = Callable[[str, Tensor], Sequence[int]]  # of some rows of "train" or "test", how many show each class


@dataclass(frozen=True)
class Counted:
    """Counts of a data set.

    Attributes:
        parts: how many examples each part has.
        classes: of each class by name.
        mistakes: what the split asks for and cannot have; the counts are then of all labels.
        further: what is known of each further label, by name.
        numbers: of a label that is a number, of each range of numbers in order; else empty.
    """

    parts: Counts
    classes: Mapping[str, Counts]
    mistakes: tuple[str, ...] = ()
    further: Mapping[str, LabelFacts] = field(default_factory=dict)
    numbers: Mapping[str, Counts] = field(default_factory=dict)


def counted(dataset: Dataset, spec: SplitSpec | None, count: CountClasses | None = None) -> Counted:
    """Counts the examples of data, split as a recipe asks; None: every label is shown.

    Args:
        dataset: the data; their x may be anything of as many rows.
        spec: the recipe's section.
        count: of some rows, how many show each class; by default as the kind of their label counts them.
    """
    mistakes: list[str] = []
    split = None if spec is None else _split(dataset, spec, mistakes)
    shown = _all_labels(dataset) if split is None else (split.labelled, split.unlabelled, split.validation)
    labelled, unlabelled, validation = shown
    rows = {"labelled": labelled, "unlabelled": unlabelled, "validation": validation}
    without = len(dataset.unlabelled.get("x", ()))
    parts = {part: len(found) for part, found in rows.items()} | {"test": len(dataset.test["x"])}
    parts["unlabelled"] += without
    count = count or _by_label(dataset)
    tested = count("test", torch.arange(len(dataset.test["x"])))
    by_class = {part: count("train", found) for part, found in rows.items()} | {"test": tested}
    classes = {
        name: {part: int(by_class[part][number]) for part in PARTS} for number, name in enumerate(dataset.classes)
    }
    if without:
        classes[NO_LABEL] = {part: without if part == "unlabelled" else 0 for part in PARTS}
    further = {name: _of_further(name, dataset, split, shown) for name in list(dataset.labels)[1:]}
    numbers = _of_numbers(dataset, rows)
    return Counted({part: parts[part] for part in PARTS}, classes, tuple(mistakes), further, numbers)


def _of_numbers(dataset: Dataset, rows: Mapping[str, Tensor]) -> dict[str, Counts]:
    """How many numbers of each part lie in which range, by the kind of the label."""
    name = dataset.label
    if name not in dataset.labels or name not in dataset.train:
        return {}
    values = {part: dataset.train[name][found] for part, found in rows.items()} | {"test": dataset.test[name]}
    found = task_named(dataset.labels[name].kind).count_ranges([values[part] for part in PARTS])
    return {text: dict(zip(PARTS, counts, strict=True)) for text, counts in found.items()}


def _of_further(name: str, dataset: Dataset, split: Split | None, shown: tuple[Tensor, Tensor, Tensor]) -> LabelFacts:
    """Who shows a further label; without a split, everybody of whom it is known."""
    info, (labelled, _, validation) = dataset.labels[name], shown
    known = seen(dataset.of_all(name))
    total = int(known.sum())
    counts = {"labelled": int(known[labelled].sum()), "validation": int(known[validation].sum())}
    also = total - sum(counts.values()) if split is None else len(split.also_labelled.get(name, ()))
    tested = int(seen(dataset.test[name]).sum())
    hidden = total - sum(counts.values()) - also
    return LabelFacts(info.kind, info.classes, {**counts, "unlabelled": also, "test": tested}, hidden)


def _all_labels(dataset: Dataset) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of train that are labelled, unlabelled, and for validation, where every label is shown."""
    validation = torch.zeros(0, dtype=torch.int64) if dataset.validation is None else dataset.validation
    labelled = torch.ones(len(dataset.train["x"]), dtype=torch.bool)
    labelled[validation] = False
    return torch.nonzero(labelled).flatten(), validation[:0], validation


def _split(dataset: Dataset, spec: SplitSpec, mistakes: list[str]) -> Split | None:
    try:
        return make_split(dataset, spec)
    except DataError as error:
        mistakes.append(str(error))
        return None


def _by_label(dataset: Dataset) -> CountClasses:
    task = task_named(dataset.labels[dataset.label].kind)

    def count(part: str, rows: Tensor) -> Sequence[int]:
        labels = (dataset.train if part == "train" else dataset.test)[dataset.label][rows]
        return task.class_counts(labels, len(dataset.classes))

    return count
