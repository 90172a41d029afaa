"""Examples that are there more than once: in two parts, or in two classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semivae.inspection.facts import Duplicates, Pair
from semivae.inspection.likeness import Likeness, Partner
from semivae.text import count_of, either, join_names

NAMED = 3  # pairs in a warning
Rows = NDArray[np.intp]
TRAINED_ON = {"test": ("train", "unlabelled"), "val": ("train",)}  # what must not hold a part's examples


@dataclass(frozen=True)
class Examples:
    """All examples of data, in any order.

    Attributes:
        names: n names.
        keys: int64 [n], equal for equal examples.
        labels: int64 [n], class numbers; -1 where there is none.
        parts: the rows of train, val, test and unlabelled, those that there are.
        likeness: of pictures, to find those that are nearly equal.
    """

    names: Sequence[str]
    keys: NDArray[np.int64]
    labels: NDArray[np.int64]
    parts: Mapping[str, Rows]
    likeness: Likeness | None = None

    def rows(self, *parts: str) -> Rows:
        """The rows of some parts, one after the other."""
        return np.concatenate([np.zeros(0, np.intp), *(self.parts[part] for part in parts if part in self.parts)])


def duplicates(examples: Examples) -> Duplicates:
    """Finds equal and nearly equal examples; of each one a partner."""
    labelled = examples.rows("train", "val", "test")
    labelled = labelled[examples.labels[labelled] >= 0]
    equal, near = [], []
    for part, others in TRAINED_ON.items():
        rows, known = examples.rows(part), examples.rows(*others)
        equal += _equal(examples.keys, rows, known)
        near += [] if examples.likeness is None else examples.likeness.partners(rows, known)
    near_classes: list[Partner] = []
    if examples.likeness is not None and len(labelled):
        partners = examples.likeness.partners(labelled, labelled, examples.labels)
        near_classes = list(dict.fromkeys((min(pair), max(pair)) for pair in partners))
    return Duplicates(
        copies=len(examples.keys) - len(np.unique(examples.keys)),
        across_parts=_named(equal, examples),
        across_classes=_named(_contradicting(examples, labelled), examples),
        near_across_parts=_named(near, examples),
        near_across_classes=_named(near_classes, examples),
    )


def near_doubts(found: Duplicates, what: str) -> list[str]:
    """Warnings of pictures that are nearly equal; of equal ones `semivae.data.doubts` speaks."""
    doubts = []
    if pairs := found.near_across_parts:
        doubts.append(
            f"{what}: {count_of(len(pairs), 'example', 'examples')} to test or validate on may be nearly the same as "
            f"one that is trained on, so the error may be in part that of examples that were seen: {_shown(pairs)}"
        )
    if pairs := found.near_across_classes:
        doubts.append(
            f"{what}: {count_of(len(pairs), 'pair of images looks', 'pairs of images look')} nearly alike but "
            f"{either(len(pairs), 'has', 'have')} different labels; check them: {_shown(pairs)}"
        )
    return doubts


def _equal(keys: NDArray[np.int64], rows: Rows, others: Rows) -> list[Partner]:
    first: dict[int, int] = {}
    for other, key in zip(others.tolist(), keys[others].tolist(), strict=True):
        first.setdefault(key, other)
    pairs = zip(rows.tolist(), keys[rows].tolist(), strict=True)
    return [(row, first[key]) for row, key in pairs if key in first]


def _contradicting(examples: Examples, labelled: Rows) -> list[Partner]:
    """Labelled examples, and the first one that is equal, where that has another label."""
    first: dict[int, int] = {}
    for row, key in zip(labelled.tolist(), examples.keys[labelled].tolist(), strict=True):
        first.setdefault(key, row)
    pairs = [(first[key], row) for row, key in zip(labelled.tolist(), examples.keys[labelled].tolist(), strict=True)]
    return [(one, two) for one, two in pairs if examples.labels[one] != examples.labels[two]]


def _named(pairs: Sequence[Partner], examples: Examples) -> tuple[Pair, ...]:
    return tuple(Pair(examples.names[one], examples.names[two]) for one, two in pairs)


def _shown(pairs: Sequence[Pair]) -> str:
    return join_names([f"{pair.first} = {pair.second}" for pair in pairs], NAMED)
