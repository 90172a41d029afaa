"""Data that a program gives in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from semivae.data.dataset import Dataset, class_label
from semivae.data.formats.frame_cells import is_missing
from semivae.data.inputs.pixels import Array
from semivae.data.readers.arrays import dataset_of_arrays
from semivae.errors import DataError
from semivae.recipe.schema import ArraysSource

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from semivae.data.inputs.table_encoding import TableEncoding

    GivenData = Dataset | Mapping[str, ArrayLike | Tensor]


def dataset_in_memory(given: GivenData) -> Dataset:
    """Returns a data set as it is, or the one that named arrays are.

    Args:
        given: a `Dataset`, or arrays by name as a source `arrays` has them: `x` and `y` (or `s`, maps),
            and, if there are any, `x_test`, `y_test` and `x_unlabelled`. Without them a fifth of each class is for the
            test.

    Raises:
        DataError: neither, or an array is missing or does not fit.
    """
    if isinstance(given, Dataset):
        return given
    if not isinstance(given, Mapping):
        raise DataError(
            f"dataset is a {type(given).__name__}; give a semivae.data.dataset.Dataset, or arrays by name such as "
            "{'x': images, 'y': labels, 'x_unlabelled': more}"
        )
    arrays = {}
    for name, value in given.items():
        try:
            arrays[str(name)] = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        except ValueError as error:
            raise DataError(f"dataset: {name} is no regular array: {error}") from error
        arrays[str(name)] = _plain(arrays[str(name)], f"dataset: {name}")
    found = dataset_of_arrays(arrays, ArraysSource(name="arrays", path="dataset"), Path("dataset"))
    return replace(found, name="data in memory")


def dataset_without_test(
    x: Tensor, y: Tensor, classes: tuple[str, ...], unlabelled: Tensor, encoding: TableEncoding | None = None
) -> Dataset:
    """Returns a data set all of whose examples are to train on; nothing is set aside for a test.

    Args:
        x: labelled examples, [n, ...], as readers return them.
        y: their classes, int64 [n].
        classes: the classes' names.
        unlabelled: further examples, [m, ...]; m may be 0.
        encoding: how the columns of a table became the numbers in `x`.
    """
    return Dataset(
        "data in memory",
        class_label(classes),
        train={"x": x, "y": y},
        test={"x": x[:0], "y": y[:0]},
        unlabelled={"x": unlabelled} if len(unlabelled) else {},
        test_origin="none",
        encoding=encoding,
    )


def _plain(array: Array, what: str) -> Array:
    """An array of Python objects as one of texts, of truths or of numbers, as pandas keeps these; others as they are.

    Raises:
        DataError: objects of another kind; `what` names the array.
    """
    if array.dtype != object:
        return array
    lacking = np.array([is_missing(value) for value in array.flat], dtype=np.bool_).reshape(array.shape)
    known = array[~lacking]
    if known.size and all(isinstance(value, bool | int | float | np.number | np.bool_) for value in known):
        return np.array(
            np.where(lacking, np.nan, array).tolist()
        )  # of truths and whole numbers alone it makes no floats
    if lacking.any():
        raise DataError(f"{what} lacks values; examples without a label belong in x_unlabelled")
    if all(isinstance(value, str) for value in known):
        return array.astype(np.str_)
    raise DataError(f"{what} holds Python objects; give numbers, or texts as np.array(names, dtype=str)")
