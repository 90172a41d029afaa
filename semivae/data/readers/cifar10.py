"""CIFAR-10 from its official python layout, as a folder or as the .tar.gz.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from semivae.data.dataset import Dataset
from semivae.data.formats.downloads import OfficialFile, differs, obtain
from semivae.errors import DataError
from semivae.variables import Sample

FOLDER = "cifar-10-batches-py"
ARCHIVE = OfficialFile(
    "cifar-10-python.tar.gz",
    170_498_071,
    "c58f30108f718f92721af3b95e74349a",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
)
TRAIN = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST = {"test_batch": "40351d587109b95175f43aff81a1287e"}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_cifar10(root: Path, *, download: bool) -> Dataset:
    """CIFAR-10 from root/cifar-10-batches-py or the archive in root: x is uint8 [50000, 3, 32, 32], and 10,000 to test.

    A file with another checksum than the official one is read, with a warning in `Dataset.warnings`.

    Raises:
        DataError: a file is missing and cannot be downloaded, or cannot be read.
    """
    folder = root / FOLDER
    contents = _from_folder(folder) if folder.is_dir() else _from_archive(root, download=download)
    warnings: tuple[str, ...] = ()
    for name, md5 in {**TRAIN, **TEST}.items():
        warnings += differs(folder / name, md5, contents[name])
    train, test = (
        [_read_batch(folder / name, contents[name]) for name in names] for names in (tuple(TRAIN), tuple(TEST))
    )
    return Dataset("cifar10", CLASSES, _joined(train), _joined(test), warnings=warnings)


def _from_folder(folder: Path) -> dict[str, bytes]:
    missing = [name for name in (*TRAIN, *TEST) if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"CIFAR-10 is not complete: {folder.absolute()} lacks {', '.join(missing)}; unpack {ARCHIVE.name} "
            f"({ARCHIVE.size:,} bytes, {ARCHIVE.urls[0]}) again, or remove the folder"
        )
    try:
        return {name: (folder / name).read_bytes() for name in (*TRAIN, *TEST)}
    except OSError as error:
        raise DataError(f"CIFAR-10 cannot be read: {error}") from error


def _from_archive(root: Path, *, download: bool) -> dict[str, bytes]:
    (path,) = obtain("CIFAR-10", [ARCHIVE], [root], download=download)
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for name in (*TRAIN, *TEST):
                member = archive.extractfile(f"{FOLDER}/{name}")
                contents[name] = member.read() if member else b""
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read ({error}); it has {path.stat().st_size:,} bytes, the official one "
            f"{ARCHIVE.size:,}: delete it and get it again"
        ) from error
    return contents


class _ArraysOnly(pickle.Unpickler):
    """Opens pickles of dicts, lists and arrays; a pickle that names anything else could run code, and is refused."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {"_reconstruct", "ndarray", "encode"}
        if name == "dtype" and module == "numpy":
            return _dtype
        if name in allowed and module in {"numpy", "numpy.core.multiarray", "numpy._core.multiarray", "_codecs"}:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which has no place in an array")


def _dtype(name: str, *_: object) -> np.dtype[Any]:
    return np.dtype(name)  # the old files pass 0 and 1 for flags, which new numpy warns about


def _read_batch(path: Path, content: bytes) -> tuple[npt.NDArray[np.uint8], list[int]]:
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        images, labels = np.asarray(batch["data"]), [int(label) for label in batch["labels"]]
    except Exception as error:  # a damaged pickle can raise almost anything
        reason = error or type(error).__name__
        raise DataError(f"{path} is no batch of CIFAR-10 that can be read ({reason}); get it again") from error
    if images.dtype != np.uint8 or images.shape != (len(labels), 3072) or not labels:
        raise DataError(
            f"{path}: data are {images.dtype} {list(images.shape)} and there are {len(labels)} labels; "
            "CIFAR-10 has uint8 [n, 3072] and n labels"
        )
    if not 0 <= min(labels) <= max(labels) < len(CLASSES):
        raise DataError(f"{path}: labels run from {min(labels)} to {max(labels)}, not from 0 to 9")
    return images, labels


def _joined(batches: list[tuple[npt.NDArray[np.uint8], list[int]]]) -> Sample:
    images = np.concatenate([images for images, _ in batches]).reshape(-1, 3, 32, 32)
    labels = [label for _, labels in batches for label in labels]
    return {"x": torch.from_numpy(images), "y": torch.tensor(labels)}
