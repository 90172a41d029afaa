"""SVHN, house numbers from street pictures, cropped to 32 x 32: the official train and test part, never the extra one.

Source: Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011,
http://ufldl.stanford.edu/housenumbers. Non-commercial use.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from semivae.data.dataset import Dataset, class_label
from semivae.data.formats.downloads import OfficialFile, differs, obtain
from semivae.data.formats.mat import load_mat
from semivae.errors import DataError
from semivae.variables import Sample

ADDRESSES = ("https://ufldl.stanford.edu/housenumbers/", "http://ufldl.stanford.edu/housenumbers/")
FILES = tuple(
    OfficialFile(name, size, sha256, tuple(address + name for address in ADDRESSES))
    for name, size, sha256 in (
        ("train_32x32.mat", 182_040_794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
        ("test_32x32.mat", 64_275_384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
    )
)


def read_svhn(root: Path, *, download: bool) -> Dataset:
    """Reads SVHN from root/svhn or root: x is uint8 [73257, 3, 32, 32] to train on, and 26,032 to test on.

    A file with another checksum than the official one is read, with a warning in `Dataset.warnings`.

    Raises:
        DataError: a file is missing and cannot be downloaded, or cannot be read.
    """
    paths = obtain("SVHN", FILES, [root / "svhn", root], download=download)
    warnings: tuple[str, ...] = ()
    parts: list[Sample] = []
    for path, file in zip(paths, FILES, strict=True):
        warning = differs(path, file.sha256)
        warnings += warning
        parts.append(_read_mat(path, file.size, known=not warning))
    train, test = parts
    return Dataset("svhn", class_label(tuple(str(digit) for digit in range(10))), train, test, warnings=warnings)


def _read_mat(path: Path, size: int, *, known: bool) -> Sample:
    """Reads X, uint8 [32, 32, 3, n], and y, [n, 1] with 10 for zero, as the authors store them (`known`)."""
    try:
        content = load_mat(path, ("X", "y"), known=known)
        images, labels = content["X"], content["y"].reshape(-1)
    except ValueError as error:
        raise DataError(
            f"{path} is no .mat file with X and y that can be read ({error}); "
            f"it has {path.stat().st_size:,} bytes, the official one {size:,}: delete it and get it again"
        ) from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape != (32, 32, 3, len(labels)) or not len(labels):
        raise DataError(
            f"{path}: X is {images.dtype} {list(images.shape)} and y has {len(labels)} values; "
            "SVHN has uint8 [32, 32, 3, n] and n labels"
        )
    if not np.isin(labels, np.arange(11)).all():
        raise DataError(f"{path}: y holds values that are not in 1 to 10 (10 stands for zero)")
    return {
        "x": torch.from_numpy(np.ascontiguousarray(images.transpose(3, 2, 0, 1))),
        "y": torch.from_numpy(labels.astype(np.int64) % 10),
    }
