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

from semivae.data.dataset import Dataset, class_label
from semivae.data.formats.downloads import OfficialFile, differs, obtain
from semivae.data.formats.regular_files import read_regular
from semivae.errors import DataError

BYTES = 0x08  # the IDX type code of unsigned bytes
MOST_BYTES = 2**28  # of a file; the largest official one has 47 million


@dataclass(frozen=True)
class IdxFamily:
    """A data set in MNIST's four files; `unpacked` are the SHA-256 of the files without .gz."""

    name: str
    title: str
    folder: str
    classes: tuple[str, ...]
    files: tuple[OfficialFile, ...]
    unpacked: tuple[str, ...]


def _files(addresses: tuple[str, ...], rows: tuple[tuple[str, int, str], ...]) -> tuple[OfficialFile, ...]:
    """The files of `rows` (name without -ubyte.gz, size, SHA-256) under each of `addresses`."""
    return tuple(
        OfficialFile(f"{name}-ubyte.gz", size, sha256, tuple(f"{address}{name}-ubyte.gz" for address in addresses))
        for name, size, sha256 in rows
    )


MNIST = IdxFamily(
    "mnist",
    "MNIST",
    "MNIST/raw",
    tuple(str(digit) for digit in range(10)),
    _files(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        (
            (
                "train-images-idx3",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            ("train-labels-idx1", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (
                "t10k-images-idx3",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            ("t10k-labels-idx1", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
    ),
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

FASHION_MNIST = IdxFamily(
    "fashion_mnist",
    "Fashion-MNIST",
    "FashionMNIST/raw",
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    _files(
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        (
            (
                "train-images-idx3",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            ("train-labels-idx1", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (
                "t10k-images-idx3",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            ("t10k-labels-idx1", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
    ),
    (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
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
    for path, sha256 in zip(paths, family.unpacked, strict=True):
        content = _unpacked(path)
        warnings += differs(path, sha256, content)
        arrays.append(parse_idx(path, content))
    for images, labels, path in ((arrays[0], arrays[1], paths[0]), (arrays[2], arrays[3], paths[2])):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or labels.max() >= len(family.classes):
            raise DataError(
                f"{path} holds {list(images.shape)} and its labels {list(labels.shape)}, up to "
                f"{int(labels.max())}; these are not the files of {family.title}: get them again"
            )
    return Dataset(
        family.name,
        class_label(family.classes),
        train={"x": arrays[0].unsqueeze(1), "y": arrays[1].long()},
        test={"x": arrays[2].unsqueeze(1), "y": arrays[3].long()},
        warnings=warnings,
    )


def _unpacked(path: Path) -> bytes:
    try:
        if path.suffix != ".gz":
            return read_regular(path, MOST_BYTES)
        with gzip.open(path) as stream:
            content = stream.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); delete it and get it again") from error
    if len(content) > MOST_BYTES:
        raise DataError(f"{path} unpacks to more than {MOST_BYTES:,} bytes; delete it and get it again")
    return content


def parse_idx(path: Path, content: bytes) -> Tensor:
    """The uint8 tensor in the bytes of an IDX file: two zeros, type, number of axes, sizes (big-endian), values.

    Raises:
        DataError: the bytes are no such file, or end too early; names `path`.
    """
    axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * axes
    if content[:3] != bytes((0, 0, BYTES)) or axes not in (1, 2, 3) or len(content) < start:
        raise DataError(f"{path} is not an IDX file of bytes; delete it and get it again")
    sizes = [int(size) for size in np.frombuffer(content, ">u4", axes, offset=4)]
    if len(content) - start != prod(sizes) or not prod(sizes):
        raise DataError(
            f"{path} announces {sizes} but holds {len(content) - start:,} bytes of values, not {prod(sizes):,}; "
            "delete it and get it again"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(sizes).copy())
