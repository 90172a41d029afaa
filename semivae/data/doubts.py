"""What looks wrong about a data set as a whole: classes that are never tested, examples twice, arrays of odd scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.data.inputs.pixels import Array, pixel_doubts, table_doubts
from semivae.text import join_names
from semivae.variables import Sample


def split_doubts(classes: Sequence[str], train: Sample, test: Sample, unlabelled: Sample, what: str) -> list[str]:
    """Warnings of classes without a test example, and of equal examples in train and test, or in two classes.

    Args:
        classes: the names of the classes, in the order of their numbers.
        train, test: {"x": [n, ...], "y": int64 [n]}.
        unlabelled: {"x": [n, ...]}, or {}.
        what: names the data in messages.
    """
    found = seen_doubts(train, test, unlabelled, what)
    tested = set(test["y"].tolist())
    if lacking := [name for number, name in enumerate(classes) if number not in tested]:
        found.append(f"{what}: the test part has no example of {join_names(lacking)}, so nothing is measured of it")
    keys, labels = (torch.cat([train[name], test[name]]) for name in ("x", "y"))
    return found + _contradictions(_keys(keys), labels.numpy(), classes, what)


def seen_doubts(train: Sample, test: Sample, unlabelled: Sample, what: str) -> list[str]:
    """A warning of test examples that are also trained on. Arguments as of `split_doubts`."""
    known = np.concatenate([_keys(part["x"]) for part in (train, unlabelled) if part])
    count = int(np.isin(_keys(test["x"]), known).sum())
    if not count:
        return []
    return [
        f"{what}: {count:,} of {len(test['x']):,} test examples are also among those to train on, so the test error is "
        "in part that of examples that were seen; leave duplicates out"
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


def _keys(x: Tensor) -> NDArray[np.int64]:
    """A number for each example, equal for equal ones and, but for one in many billions, for no others, [n]."""
    rows = x.contiguous().numpy().reshape(len(x), -1)
    return np.fromiter((hash(row.tobytes()) for row in rows), np.int64, len(rows))


def _contradictions(keys: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str], what: str) -> list[str]:
    """A warning of equal examples that have different labels."""
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    differing = labels != labels[first][group]  # from the first example that is equal
    if not differing.any():
        return []
    rows = np.isin(group, group[differing])
    names = [classes[number] for number in np.unique(labels[group == group[differing][0]]).tolist()]
    return [
        f"{what}: {int(rows.sum()):,} labelled examples are equal to one of another class, such as "
        f"{join_names(names, 3)}; nothing can tell them apart, so check their labels"
    ]
