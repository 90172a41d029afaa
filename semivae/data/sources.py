"""From a recipe's `source` to a data set in memory: one line for each data set that semivae knows by name."""

from __future__ import annotations

from pathlib import Path

from semivae.data.arrays import read_arrays
from semivae.data.cifar10 import read_cifar10
from semivae.data.dataset import Dataset
from semivae.data.digits import read_digits
from semivae.data.folder import read_folder
from semivae.data.idx import FASHION_MNIST, MNIST, read_idx_family
from semivae.data.roots import data_root as data_root
from semivae.data.roots import resolve
from semivae.data.svhn import read_svhn
from semivae.recipe.schema import ArraysSource, FolderSource, Source


def load_source(source: Source, data_root: Path, *, download: bool = True) -> Dataset:
    """Read the data that a recipe names.

    Args:
        source: the recipe's section.
        data_root: the folder where data live (see `semivae.data.data_root`).
        download: whether official files that are missing may be downloaded into it.

    Raises:
        DataError: data are missing and cannot be downloaded, or cannot be used. Nothing half downloaded is left.
    """
    if isinstance(source, FolderSource):
        return read_folder(source, resolve(source.path, data_root))
    if isinstance(source, ArraysSource):
        return read_arrays(source, resolve(source.path, data_root))
    match source.name:
        case "digits":
            return read_digits()
        case "mnist":
            return read_idx_family(MNIST, data_root, download=download)
        case "fashion_mnist":
            return read_idx_family(FASHION_MNIST, data_root, download=download)
        case "cifar10":
            return read_cifar10(data_root, download=download)
        case "svhn":
            return read_svhn(data_root, download=download)
