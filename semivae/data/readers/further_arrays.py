"""Further labels among the arrays of an .npz: `c`, `c_test` and `c_unlabelled` beside x, x_test and x_unlabelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from semivae.data.dataset import LabelInfo
from semivae.data.formats.number_labels import are_numbers, number_values
from semivae.data.inputs.further_labels import Cells, candidates_of, read_cells_of, texts_of
from semivae.data.inputs.pixels import Array
from semivae.data.readers.attribute_arrays import attribute_values, names_of_attributes
from semivae.errors import DataError
from semivae.recipe.schema import ArraysSource
from semivae.recipe.sources import PARTS_OF_ARRAYS
from semivae.variables import VOID, Sample


def add_further_labels(
    source: ArraysSource,
    arrays: Mapping[str, Array],
    parts: tuple[Sample, Sample, Sample],
    classes: tuple[str, ...],
    path: Path,
) -> dict[str, LabelInfo]:
    """Adds the further labels to the examples that are there of train, test and unlabelled, and returns what they are.

    A part that lacks the array does not know the label.

    Raises:
        DataError: an array has another length, type or value than its kind of label.
    """
    labels: dict[str, LabelInfo] = {}
    there = [(part, sample) for part, sample in zip(PARTS_OF_ARRAYS, parts, strict=True) if sample]
    for name in source.further:
        for part in PARTS_OF_ARRAYS:
            _refuse_length(name, part, arrays, dict(there), path)
        given = [arrays.get(f"{name}{part}") for part, _ in there]
        lengths = [len(sample["x"]) for _, sample in there]
        what, kind = f"{path}: {name}", source.kinds.get(name, "classes")
        if kind == "numbers" or (name not in source.kinds and are_numbers(arrays[name])):
            labels[name] = LabelInfo("numbers")
            values = _numbers(given, lengths, what)
        elif kind in MATRICES and arrays[name].ndim == 2:
            entries = classes if kind == "candidates" else names_of_attributes(name, arrays, path)
            labels[name] = LabelInfo(kind, entries)
            rows = [_matrix(kind, array, count, entries, what) for array, count in zip(given, lengths, strict=True)]
            values = torch.cat(rows)
        else:
            texts = [[""] * count if array is None else texts_of(array, what)
                     for array, count in zip(given, lengths, strict=True)]  # fmt: skip
            values, labels[name] = read_cells_of(kind, Cells(name, what, list(chain(*texts)), classes))
        for (_, sample), own in zip(there, torch.split(values, lengths), strict=True):
            sample[name] = own
    return labels


def _refuse_length(
    name: str, part: str, arrays: Mapping[str, Array], samples: Mapping[str, Sample], path: Path
) -> None:
    array = arrays.get(f"{name}{part}")
    if array is None:
        return
    if part not in samples:
        raise DataError(f"{path} has {name}{part}, but no x{part} that it could belong to")
    if array.ndim == 0 or len(array) != len(samples[part]["x"]):
        raise DataError(
            f"{path}: {name}{part} is {list(array.shape)}, but x{part} has {len(samples[part]['x']):,} examples; give "
            "one entry for each"
        )


def _matrix(kind: str, array: Array | None, count: int, entries: tuple[str, ...], what: str) -> Tensor:
    """A row of entries for each example, int8 [count, entries]; all are unknown where the array is not there."""
    if array is None:
        return torch.full((count, len(entries)), VOID, dtype=torch.int8)
    values = MATRICES[kind](array, entries, what)
    if values.shape[1] != len(entries):
        raise DataError(f"{what} is {list(values.shape)}, but there are {len(entries)} {kind}; give a column for each")
    return values


def _attributes(array: Array, entries: tuple[str, ...], what: str) -> Tensor:
    return attribute_values(array, what)


MATRICES: Mapping[str, Callable[[Array, tuple[str, ...], str], Tensor]] = {
    "candidates": candidates_of,
    "attributes": _attributes,
}


def _numbers(given: Sequence[Array | None], lengths: Sequence[int], what: str) -> Tensor:
    """The numbers of all examples, float32 [n] or [n, K]; NaN for those of a part without the array."""
    read = [None if array is None else number_values(array, what) for array in given]
    shapes = {values.shape[1:] for values in read if values is not None}
    if len(shapes) > 1:
        raise DataError(f"{what}: the arrays of its parts have different shapes; give all of one")
    shape = next(iter(shapes))
    return torch.cat(
        [
            torch.full((count, *shape), torch.nan) if values is None else values
            for values, count in zip(read, lengths, strict=True)
        ]
    )
