"""The pictures of a data set at the size of a feature network, some at a time, so that memory stays flat."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import read_pixels
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.inputs.images import Images
from semivae.data.inputs.pixels import as_model_values
from semivae.errors import DataError

PARTS = ("train", "unlabelled", "test")  # in this order, rows of features lie on disk


class Pictures(Protocol):
    """All pictures of a data set, part by part (`PARTS`)."""

    def __len__(self) -> int: ...

    def read(self, rows: range) -> Tensor:
        """Returns some of them, bytes or floats in [0, 1], [n, channels, height, width]."""
        ...


class FilePictures:
    """Pictures in files, which are decoded when they are asked for.

    Args:
        files: where they lie.
        names: the file of each.
        preprocessing: size and fit.
    """

    def __init__(self, files: Files, names: Sequence[str], preprocessing: Preprocessing) -> None:
        self.files, self.names, self.preprocessing = files, names, preprocessing

    def __len__(self) -> int:
        return len(self.names)

    def read(self, rows: range) -> Tensor:
        return read_pixels(self.files, self.names[rows.start : rows.stop], self.preprocessing)


class ArrayPictures:
    """Pictures in memory, which are scaled when they are asked for, as those of new arrays are.

    Args:
        arrays: [n, channels, height, width] each, one after the other.
        preprocessing: size and fit.
    """

    def __init__(self, arrays: Sequence[Tensor], preprocessing: Preprocessing) -> None:
        self.arrays, self.inputs = arrays, Images(preprocessing.shape, preprocessing=preprocessing)

    def __len__(self) -> int:
        return sum(len(array) for array in self.arrays)

    def read(self, rows: range) -> Tensor:
        found, start = [], 0
        for array in self.arrays:
            part = array[max(rows.start - start, 0) : max(rows.stop - start, 0)]
            if len(part):
                found.append(self.inputs.read(part).values)
            start += len(array)
        return torch.cat([as_model_values(part) for part in found])


@contextmanager
def pictures_of(dataset: Dataset, how: Preprocessing) -> Iterator[Pictures]:
    """All pictures of a data set at another size: from their files where it has some, else from its arrays.

    Raises:
        DataError: its examples are no pictures.
    """
    if len(dataset.shape) != 3:
        raise DataError(f"features are made of pictures, but {dataset.name} holds rows of a table; remove features")
    if dataset.files is None:
        yield ArrayPictures([part["x"] for part in _parts(dataset)], how)
        return
    names = [name for part, count in counts_of(dataset).items() for name in dataset.files.names[part][:count]]
    with open_files(dataset.files.place) as files:
        yield FilePictures(files, names, how)


def counts_of(dataset: Dataset) -> dict[str, int]:
    """How many pictures each part holds, in the order of `PARTS`."""
    return {name: len(part["x"]) if part else 0 for name, part in zip(PARTS, _all_parts(dataset), strict=True)}


def pictures_digest(dataset: Dataset) -> str:
    """SHA-256 (hex) of all pictures as x has them, and of their files' names; labels play no part."""
    total = hashlib.sha256()
    for name, part in zip(PARTS, _all_parts(dataset), strict=True):
        if part:
            x = part["x"].contiguous().numpy()
            total.update(f"{name} {x.dtype} {x.shape}".encode())
            total.update(x.data)
        for file in dataset.files.names[name] if dataset.files is not None else ():
            total.update(f"{file}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _all_parts(dataset: Dataset) -> tuple[dict[str, Tensor], ...]:
    return dataset.train, dataset.unlabelled, dataset.test


def _parts(dataset: Dataset) -> list[dict[str, Tensor]]:
    return [part for part in _all_parts(dataset) if part and len(part["x"])]
