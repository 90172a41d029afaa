"""SVHN, house numbers from street pictures, cropped to 32 x 32: the official train and test part, never the extra one.

Source: Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011,
http://ufldl.stanford.edu/housenumbers. Non-commercial use.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from semivae.data.dataset import Dataset
from semivae.data.formats.downloads import OfficialFile, differs, obtain
from semivae.errors import DataError
from semivae.variables import Sample

ADDRESS = "http://ufldl.stanford.edu/housenumbers/"
FILES = tuple(
    OfficialFile(name, size, md5, (ADDRESS + name,))
    for name, size, md5 in (
        ("train_32x32.mat", 182_040_794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
        ("test_32x32.mat", 64_275_384, "eb5a983be6a315427106f1b164d9cef3"),
    )
)


def read_svhn(root: Path, *, download: bool) -> Dataset:
    """SVHN from root/svhn or root: x is uint8 [73257, 3, 32, 32] to train on, and 26,032 to test on.

    A file with another checksum than the official one is read, with a warning in `Dataset.warnings`.

    Raises:
        DataError: a file is missing and cannot be downloaded, or cannot be read.
    """
    paths = obtain("SVHN", FILES, [root / "svhn", root], download=download)
    train, test = (_read_mat(path, file.size) for path, file in zip(paths, FILES, strict=True))
    warnings = sum((differs(path, file.md5) for path, file in zip(paths, FILES, strict=True)), ())
    return Dataset("svhn", tuple(str(digit) for digit in range(10)), train, test, warnings=warnings)


def _read_mat(path: Path, size: int) -> Sample:
    """X uint8 [32, 32, 3, n] and y [n, 1] with 10 for zero, as the authors store them."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["X", "y"])
        images, labels = np.asarray(content["X"]), np.asarray(content["y"]).reshape(-1)
    except Exception as error:  # scipy raises a dozen kinds, depending on the byte that is wrong
        raise DataError(
            f"{path} is no .mat file with X and y that can be read ({error or type(error).__name__}); "
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
