"""MNIST and Fashion-MNIST from their official IDX files, plain or as .gz.

Sources: LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist (also the format);
Xiao, Rasul and Vollgraf 2017, https://github.com/zalandoresearch/fashion-mnist.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.formats.downloads import OfficialFile, differs, obtain
from semivae.errors import DataError

BYTES = 0x08  # the IDX type code of unsigned bytes


@dataclass(frozen=True)
class IdxFamily:
    """A data set in MNIST's four files; `unpacked` are the MD5 checksums of the files without .gz."""

    name: str
    title: str
    folder: str
    classes: tuple[str, ...]
    files: tuple[OfficialFile, ...]
    unpacked: tuple[str, ...]


def _files(addresses: tuple[str, ...], rows: tuple[tuple[str, int, str], ...]) -> tuple[OfficialFile, ...]:
    return tuple(OfficialFile(name, size, md5, tuple(a + name for a in addresses)) for name, size, md5 in rows)


MNIST = IdxFamily(
    "mnist",
    "MNIST",
    "MNIST/raw",
    tuple(str(digit) for digit in range(10)),
    _files(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        (
            ("train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            ("train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
            ("t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
            ("t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
    ),
    (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
)

FASHION_MNIST = IdxFamily(
    "fashion_mnist",
    "Fashion-MNIST",
    "FashionMNIST/raw",
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    _files(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        (
            ("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            ("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
            ("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
            ("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ),
    (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
)


def read_idx_family(family: IdxFamily, root: Path, *, download: bool) -> Dataset:
    """Read `family` from root/`family.folder`: x is uint8 [60000, 1, 28, 28] to train on, and 10,000 to test on.

    Raises:
        DataError: a file is missing and cannot be downloaded, cannot be read, or does not fit its partner.
    """
    paths = obtain(family.title, family.files, [root / family.folder], download=download)
    arrays: list[Tensor] = []
    warnings: tuple[str, ...] = ()
    for path, md5 in zip(paths, family.unpacked, strict=True):
        content = _unpacked(path)
        warnings += differs(path, md5, content)
        arrays.append(parse_idx(path, content))
    for images, labels, path in ((arrays[0], arrays[1], paths[0]), (arrays[2], arrays[3], paths[2])):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or labels.max() >= len(family.classes):
            raise DataError(
                f"{path} holds {list(images.shape)} and its labels {list(labels.shape)}, up to "
                f"{int(labels.max())}; these are not the files of {family.title}: get them again"
            )
    return Dataset(
        family.name,
        family.classes,
        train={"x": arrays[0].unsqueeze(1), "y": arrays[1].long()},
        test={"x": arrays[2].unsqueeze(1), "y": arrays[3].long()},
        warnings=warnings,
    )


def _unpacked(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); delete it and get it again") from error


def parse_idx(path: Path, content: bytes) -> Tensor:
    """The uint8 tensor in the bytes of an IDX file: two zeros, type, number of axes, sizes (big-endian), values.

    Raises:
        DataError: the bytes are no such file, or end too early; names `path`.
    """
    axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * axes
    if content[:3] != bytes((0, 0, BYTES)) or not axes or len(content) < start:
        raise DataError(f"{path} is not an IDX file of bytes; delete it and get it again")
    sizes = [int(size) for size in np.frombuffer(content, ">u4", axes, offset=4)]
    if len(content) - start != prod(sizes) or not prod(sizes):
        raise DataError(
            f"{path} announces {sizes} but holds {len(content) - start:,} bytes of values, not {prod(sizes):,}; "
            "delete it and get it again"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(sizes).copy())
