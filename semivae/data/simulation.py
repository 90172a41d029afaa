"""Further labels that are simulated from the true ones, as a recipe declares them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from semivae.data.dataset import Dataset, LabelInfo
from semivae.errors import DataError
from semivae.recipe.simulated import SimulatedLabel
from semivae.text import join_names
from semivae.variables import VOID


def simulate(dataset: Dataset, labels: Mapping[str, SimulatedLabel]) -> Dataset:
    """Returns a data set with further labels, made from its true classes y, in train and test.

    Raises:
        DataError: groups that do not hold every class once, or more candidates than classes.
    """
    if not labels:
        return dataset
    named = dict(dataset.labels)
    parts = {"train": dict(dataset.train), "test": dict(dataset.test)}
    for name, spec in labels.items():
        kind = "candidates" if spec.candidates else "classes"
        named[name] = LabelInfo(kind, tuple(spec.groups) if spec.groups is not None else dataset.classes)
        sharing = [other for other, its in labels.items() if spec.one_of and its.one_of == spec.one_of]
        for part, sample in parts.items():
            values = _values(name, spec, sample["y"].numpy(), dataset.classes, part)
            if spec.one_of:
                chosen = _draws(spec.seed, spec.one_of, part, len(values))[:, 0] * len(sharing)
                values[np.floor(chosen).astype(np.int64) != sharing.index(name)] = VOID
            sample[name] = torch.from_numpy(values)
    return replace(dataset, labels=named, train=parts["train"], test=parts["test"])


def _values(
    name: str, spec: SimulatedLabel, y: NDArray[np.int64], classes: tuple[str, ...], part: str
) -> NDArray[np.int64] | NDArray[np.int8]:
    if spec.groups is not None:
        return _coarse(name, spec.groups, classes)[y]
    draws = _draws(spec.seed, name, part, len(y), 2 if spec.candidates is None else len(classes))
    if spec.candidates is not None:
        if spec.candidates >= len(classes):
            raise DataError(f"source.simulate.{name}: of {len(classes)} classes, fewer can be wrong candidates")
        draws = draws.copy()
        draws[np.arange(len(y)), y] = -1.0  # the right one is the first
        sets = np.zeros(draws.shape, np.int8)
        np.put_along_axis(sets, np.argsort(draws, axis=1)[:, : spec.candidates + 1], 1, axis=1)
        return sets
    assert spec.accuracy is not None
    step = 1 if spec.wrong == "next" else 1 + np.floor(draws[:, 1] * (len(classes) - 1)).astype(np.int64)
    return np.where(draws[:, 0] < spec.accuracy, y, (y + step) % len(classes))


def _coarse(name: str, groups: Mapping[str, tuple[str, ...]], classes: tuple[str, ...]) -> NDArray[np.int64]:
    """The coarse class of each class, [classes]."""
    where = f"source.simulate.{name}.groups"
    members = [member for group in groups.values() for member in group]
    if unknown := sorted(set(members) - set(classes)):
        raise DataError(f"{where}: {join_names(unknown)} is no class; the classes are {join_names(classes, 20)}")
    if len(members) != len(classes):
        raise DataError(f"{where}: every class belongs in one group; they hold {len(members)} of {len(classes)}")
    return np.array([next(k for k, group in enumerate(groups.values()) if member in group) for member in classes])


@lru_cache(maxsize=8)
def _draws(seed: int, name: str, part: str, rows: int, count: int = 1) -> NDArray[np.float64]:
    """Numbers in [0, 1), [rows, count]: the SHA-256 of the seed, the name, the part, and the number of the row."""
    blocks = -(-count // 4)  # of four numbers each
    keys = (f"semivae-simulated:{seed}:{name}:{part}:{row}:{block}" for row in range(rows) for block in range(blocks))
    content = b"".join(hashlib.sha256(key.encode()).digest() for key in keys)
    numbers = np.frombuffer(content, ">u8").reshape(rows, 4 * blocks)[:, :count]
    return (numbers >> np.uint64(11)).astype(np.float64) / 2**53
