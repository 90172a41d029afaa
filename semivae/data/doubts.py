"""What looks wrong about a data set as a whole: classes that are never tested, and examples that are there twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
    tested = set(test["y"].tolist())
    lacking = [name for number, name in enumerate(classes) if number not in tested]
    found = (
        [f"{what}: the test part has no example of {join_names(lacking)}, so nothing is said of it"] if lacking else []
    )
    keys = {name: _keys(part["x"]) for name, part in (("train", train), ("test", test), ("more", unlabelled)) if part}
    known = np.concatenate([keys["train"], keys.get("more", keys["train"])])
    if count := int(np.isin(keys["test"], known).sum()):
        found.append(
            f"{what}: {count:,} of {len(test['y']):,} test examples are also among those to train on, so the test "
            "error is in part that of examples that were seen; leave duplicates out"
        )
    labels = torch.cat([train["y"], test["y"]]).numpy()
    return found + _contradictions(np.concatenate([keys["train"], keys["test"]]), labels, classes, what)


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
