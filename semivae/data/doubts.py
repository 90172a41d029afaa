"""What looks wrong about a data set as a whole: classes that are never tested, examples twice, arrays of odd scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from semivae.data.inputs.pixels import Array, pixel_doubts, table_doubts
from semivae.text import count_of, either, join_names
from semivae.variables import Sample

Names = Mapping[str, Sequence[str]]  # of the examples in train, test and unlabelled
Checked = Literal["test", "validation"]
MOST_NAMED = 3  # pairs of equal examples


def split_doubts(
    classes: Sequence[str],
    train: Sample,
    test: Sample,
    unlabelled: Sample,
    what: str,
    names: Names | None = None,
    checked: Checked = "test",
) -> list[str]:
    """Warnings of classes without a test example, and of equal examples in train and test, or in two classes.

    Args:
        classes: the names of the classes, in the order of their numbers.
        train, test: {"x": [n, ...], "y": int64 [n]}.
        unlabelled: {"x": [n, ...]}, or {}.
        what: names the data in messages.
        names: what the examples of train, test and unlabelled are called; None where they have no names.
        checked: what `test` is for.
    """
    keys = _part_keys(train, test, unlabelled)
    found = _seen(keys, what, names, checked)
    tested = set(test["y"].tolist())
    if lacking := [name for number, name in enumerate(classes) if number not in tested]:
        part = f"{checked} part"
        found.append(f"{what}: the {part} has no example of {join_names(lacking)}, so nothing is measured of it")
    labels = torch.cat([train["y"], test["y"]]).numpy()
    called = None if names is None else [*names["train"], *names["test"]]
    return found + _contradictions(np.concatenate([keys["train"], keys["test"]]), labels, classes, what, called)


def part_doubts(
    classes: Sequence[str],
    train: Sample,
    test: Sample,
    unlabelled: Sample,
    what: str,
    names: Names | None = None,
    checked: Checked = "test",
) -> list[str]:
    """Returns `split_doubts` of data with classes, else `seen_doubts`: numbers are rarely equal."""
    if classes:
        return split_doubts(classes, train, test, unlabelled, what, names, checked)
    return seen_doubts(train, test, unlabelled, what, names, checked)


def seen_doubts(
    train: Sample, test: Sample, unlabelled: Sample, what: str, names: Names | None = None, checked: Checked = "test"
) -> list[str]:
    """A warning of test examples that are also trained on. Arguments as of `split_doubts`."""
    return _seen(_part_keys(train, test, unlabelled), what, names, checked)


def _seen(keys: Mapping[str, NDArray[np.int64]], what: str, names: Names | None, checked: Checked) -> list[str]:
    parts = [part for part in ("train", "unlabelled") if len(keys[part])]
    known = np.concatenate([keys["train"], keys["unlabelled"]])
    seen = np.isin(keys["test"], known)
    count = int(seen.sum())
    if not count:
        return []
    pairs = ""
    if names is not None:
        called = np.array([name for part in parts for name in names[part]], dtype=object)
        rows = np.flatnonzero(seen)[:MOST_NAMED]
        first = [f"{names['test'][row]} = {called[known == keys['test'][row]][0]}" for row in rows]
        pairs = f": {join_names(first)}" + (", ..." if count > MOST_NAMED else "")
    return [
        f"{what}: {count:,} of {len(seen):,} {checked} examples {either(count, 'is', 'are')} also among those to "
        f"train on, so the {checked} "
        f"error is in part that of examples that were seen; leave duplicates out{pairs}"
    ]


def array_doubts(path: Path, arrays: Mapping[str, Array], names: Sequence[str]) -> list[str]:
    """Warnings of named arrays that are not used, and of images or rows that are scaled otherwise than their type says.

    Args:
        path: the file, for messages.
        arrays: all that it holds.
        names: of those that are read.
    """
    found = []
    if unused := sorted(set(arrays) - set(names)):
        found.append(f"{path}: arrays that are not used: {join_names(unused)}; read are {', '.join(names)}")
    for name in names:
        if name in arrays and name.startswith("x"):
            doubts = pixel_doubts if arrays[name].ndim > 2 else table_doubts
            found += doubts(arrays[name], f"{path}: {name}")
    return found


def _part_keys(train: Sample, test: Sample, unlabelled: Sample) -> dict[str, NDArray[np.int64]]:
    return {"train": example_keys(train), "test": example_keys(test), "unlabelled": example_keys(unlabelled)}


def example_keys(part: Sample) -> NDArray[np.int64]:
    """A number for each x, equal for equal ones and, but for one in many billions, for no others, [n]; {} has none."""
    if not part:
        return np.zeros(0, np.int64)
    rows = part["x"].contiguous().numpy().reshape(len(part["x"]), -1)
    return np.fromiter((hash(row.tobytes()) for row in rows), np.int64, len(rows))


def _contradictions(
    keys: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str], what: str, called: Sequence[str] | None
) -> list[str]:
    """A warning of equal examples that have different labels."""
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    differing = labels != labels[first][group]  # from the first example that is equal
    if not differing.any():
        return []
    rows = np.isin(group, group[differing])
    names = [classes[number] for number in np.unique(labels[group == group[differing][0]]).tolist()]
    pairs = ""
    if called is not None:
        wrong = np.flatnonzero(differing)[:MOST_NAMED]
        pairs = f": {join_names([f'{called[first[group[row]]]} = {called[row]}' for row in wrong])}"
    return [
        f"{what}: {count_of(int(rows.sum()), 'labelled example is', 'labelled examples are')} equal to one of another "
        f"class, such as {join_names(names, 3)}; nothing can tell them apart, so check their labels{pairs}"
    ]
