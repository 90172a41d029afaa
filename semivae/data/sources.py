"""From a recipe's `source` to a data set in memory: one line for each data set that semivae knows by name."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path

from semivae.data.dataset import Dataset
from semivae.data.inputs.pixels import binarized
from semivae.data.packed.caching import packed_once
from semivae.data.packed.pictures import Tell
from semivae.data.packed.store import is_packed, read_packed
from semivae.data.paths import data_root as data_root
from semivae.data.paths import resolve
from semivae.data.readers.arrays import read_arrays
from semivae.data.readers.celebamask_hq import read_celebamask_hq
from semivae.data.readers.cifar10 import read_cifar10
from semivae.data.readers.digit_pairs import pair_digits
from semivae.data.readers.digits import read_digits
from semivae.data.readers.folder import read_folder
from semivae.data.readers.masks import read_masks
from semivae.data.readers.mnist import FASHION_MNIST, MNIST, read_idx_family
from semivae.data.readers.svhn import read_svhn
from semivae.data.readers.table import read_table
from semivae.data.readers.turned import turned_dataset
from semivae.data.simulation import simulate
from semivae.errors import DataError
from semivae.recipe.schema import (
    ArraysSource,
    CelebAMaskSource,
    DigitPairsSource,
    FolderSource,
    MasksSource,
    MemorySource,
    Source,
    TableSource,
    TurnedSource,
)
from semivae.text import nearest

LOG = logging.getLogger("semivae")
MOST_NAMES = 10_000  # of a folder, among which a name like one that is missing is looked for


def load_source(source: Source, data_root: Path, *, download: bool = True, tell: Tell = LOG.info) -> Dataset:
    """Read the data that a recipe names.

    Args:
        source: the recipe's section.
        data_root: the folder where data live (see `semivae.data.paths.data_root`).
        download: whether official files that are missing may be downloaded into it.
        tell: called with what takes long, such as the packing of many large pictures (`semivae.data.packed`).

    Raises:
        DataError: data are missing and cannot be downloaded, or cannot be used. Nothing half downloaded is left.
    """
    if isinstance(source, FolderSource):
        place = place_of(source.path, data_root)
        if is_packed(place):
            return read_packed(source, place)
        return packed_once(source, place, data_root, tell) or read_folder(source, place)
    if isinstance(source, ArraysSource):
        return read_arrays(source, place_of(source.path, data_root))
    if isinstance(source, TableSource):
        test = None if source.test is None else place_of(source.test, data_root, "source.test")
        return read_table(source, place_of(source.path, data_root), test)
    if isinstance(source, MasksSource):
        place = place_of(source.path, data_root)
        return read_packed(source, place) if is_packed(place) else read_masks(source, place)
    if isinstance(source, MemorySource):
        raise DataError(
            "the data were given in memory (source: memory), so no file holds them; give them again in Python, as "
            "semivae.load(run, dataset=...) or semivae.train(..., dataset=...)"
        )
    if isinstance(source, CelebAMaskSource):
        return read_celebamask_hq(source, resolve(source.path, data_root))
    if isinstance(source, DigitPairsSource):
        return pair_digits(_built_in(source.of, data_root, download), source)
    if isinstance(source, TurnedSource):
        return turned_dataset(_built_in(source.of, data_root, download), source)
    return simulate(binarized_dataset(_built_in(source.name, data_root, download), source.binarize), source.simulate)


def place_of(path: str, data_root: Path, where: str = "source.path") -> Path:
    """Where a user's own data lie. Raises DataError if nothing is there."""
    place = resolve(path, data_root)
    if not place.exists():
        near = nearest(place.name, _names_beside(place))
        hint = f"; {near} lies there" if near else ""
        raise DataError(
            f"there is no file or folder {place.absolute()} ({where}){hint}; correct it, or give --data-root"
        )
    return place


def _names_beside(place: Path) -> list[str]:
    """What lies in the folder of a path, the first of very many."""
    try:
        with os.scandir(place.parent) as entries:
            return [entry.name for entry in islice(entries, MOST_NAMES)]
    except OSError:
        return []


def binarized_dataset(dataset: Dataset, threshold: float | None) -> Dataset:
    """Returns a data set whose images are black and white, parted at a threshold in [0, 1]; None: as it is."""
    if threshold is None:
        return dataset
    train, test, unlabelled = (
        {name: binarized(array, threshold) if name == "x" else array for name, array in arrays.items()}
        for arrays in (dataset.train, dataset.test, dataset.unlabelled)
    )
    name = f"{dataset.name} binarized at {threshold:g}"
    return replace(dataset, name=name, train=train, test=test, unlabelled=unlabelled)


def _built_in(name: str, data_root: Path, download: bool) -> Dataset:
    match name:
        case "digits":
            return read_digits()
        case "mnist":
            return read_idx_family(MNIST, data_root, download=download)
        case "fashion_mnist":
            return read_idx_family(FASHION_MNIST, data_root, download=download)
        case "cifar10":
            return read_cifar10(data_root, download=download)
        case _:
            return read_svhn(data_root, download=download)
