"""What data hold, in a few lines: for the head of a training."""

from __future__ import annotations

from collections.abc import Sequence

from semivae.data.dataset import Dataset
from semivae.data.splits import Split
from semivae.text import count_of, join_names

MOST_CLASSES = 10  # that are named


def summary(dataset: Dataset, split: Split, labelled: Sequence[int]) -> tuple[str, ...]:
    """Returns lines on the parts, the labelled examples of each class, and the shape of one example.

    Args:
        dataset: the data.
        split: which of them show their label.
        labelled: how many labelled examples each class has; empty where an example has no one class.
    """
    parts = {
        "labelled": len(split.labelled),
        "unlabelled": len(split.unlabelled) + len(dataset.unlabelled.get("x", ())),
        "validation": len(split.validation),
        "test": len(dataset.test["x"]),
    }
    of_row = len(dataset.shape) == 1
    shape = count_of(dataset.shape[0], "number", "numbers") if of_row else "x".join(map(str, dataset.shape))
    counts = ", ".join(f"{count:,} {part}" for part, count in parts.items())
    origin = "" if dataset.test_origin == "given" else f" ({dataset.test_origin})"
    lines = [f"data: {dataset.name}, {counts}{origin}; one example is {shape}"]
    if labelled:
        each = [f"{name} {count:,}" for name, count in zip(dataset.classes, labelled, strict=True)]
        lines.append(f"labelled: {join_names(each, MOST_CLASSES)}")
    further = [f"{name} {len(split.shown(dataset, name)):,}" for name in list(dataset.labels)[1:]]
    if further:
        lines.append(f"further labels: {', '.join(further)}")
    return tuple(lines)
