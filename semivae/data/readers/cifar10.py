"""CIFAR-10 from its official python layout, as a folder or as the .tar.gz.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from semivae.data.dataset import Dataset, class_label
from semivae.data.formats.array_pickle import read_array_pickle
from semivae.data.formats.downloads import OfficialFile, differs, obtain
from semivae.data.formats.regular_files import Bounded, open_regular, read_regular
from semivae.errors import DataError
from semivae.variables import Sample

FOLDER = "cifar-10-batches-py"
ARCHIVE = OfficialFile(
    "cifar-10-python.tar.gz",
    170_498_071,
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
)
MOST_BYTES, MOST_MEMBERS = 2**29, 1000  # of the archive unpacked; the official one has 187 million, in 9 members
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
    """Reads CIFAR-10 from root/cifar-10-batches-py or its archive: x is uint8 [50000, 3, 32, 32], and 10,000 to test.

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
    return Dataset("cifar10", class_label(CLASSES), _joined(train), _joined(test), warnings=warnings)


def _from_folder(folder: Path) -> dict[str, bytes]:
    missing = [name for name in (*TRAIN, *TEST) if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"CIFAR-10 is not complete: {folder.absolute()} lacks {', '.join(missing)}; unpack {ARCHIVE.name} "
            f"({ARCHIVE.size:,} bytes, {ARCHIVE.urls[0]}) again, or remove the folder"
        )
    try:
        return {name: read_regular(folder / name) for name in (*TRAIN, *TEST)}
    except OSError as error:
        raise DataError(f"CIFAR-10 cannot be read: {error}") from error


def _from_archive(root: Path, *, download: bool) -> dict[str, bytes]:
    (path,) = obtain("CIFAR-10", [ARCHIVE], [root], download=download)
    wanted = {f"{FOLDER}/{name}": name for name in (*TRAIN, *TEST)}
    contents: dict[str, bytes] = {}
    try:
        with open_regular(path) as packed, _plain(packed) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for number, member in enumerate(archive):
                if number > MOST_MEMBERS:
                    raise ValueError(f"it holds more than {MOST_MEMBERS} files")
                if member.isreg() and member.name in wanted and (content := archive.extractfile(member)):
                    contents[wanted[member.name]] = content.read()
        if missing := set(wanted.values()) - set(contents):
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except Exception as error:  # tarfile and gzip raise much, by the byte that is wrong
        raise DataError(
            f"{path} cannot be read ({error}); it has {path.stat().st_size:,} bytes, the official one "
            f"{ARCHIVE.size:,}: delete it and get it again"
        ) from error
    return contents


def _plain(stream: BinaryIO) -> Bounded:
    """An archive without its gzip, which some browsers remove while it is downloaded."""
    packed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    return Bounded(gzip.GzipFile(fileobj=stream) if packed else stream, MOST_BYTES)


def _read_batch(path: Path, content: bytes) -> tuple[npt.NDArray[np.uint8], list[int]]:
    try:
        batch = read_array_pickle(content)
        if not isinstance(batch, dict) or not {"data", "labels"} <= set(batch):
            raise ValueError("it holds no data and labels")
        images, labels = batch["data"], batch["labels"]
    except (ValueError, TypeError, OverflowError) as error:  # what a damaged pickle raises
        raise DataError(f"{path} is no batch of CIFAR-10 that can be read ({error}); get it again") from error
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"{path}: labels are no list of numbers; get it again")
    shape = list(images.shape) if isinstance(images, np.ndarray) else type(images).__name__
    if shape != [len(labels), 3072] or not labels:
        raise DataError(
            f"{path}: data are {shape} and there are {len(labels)} labels; CIFAR-10 has uint8 [n, 3072] and n labels"
        )
    if not 0 <= min(labels) <= max(labels) < len(CLASSES):
        raise DataError(f"{path}: labels run from {min(labels)} to {max(labels)}, not from 0 to 9")
    return images, labels


def _joined(batches: list[tuple[npt.NDArray[np.uint8], list[int]]]) -> Sample:
    images = np.concatenate([images for images, _ in batches]).reshape(-1, 3, 32, 32)
    labels = [label for _, labels in batches for label in labels]
    return {"x": torch.from_numpy(images), "y": torch.tensor(labels)}
