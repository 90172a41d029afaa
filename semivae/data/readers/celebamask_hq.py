"""CelebAMask-HQ in its official layout: 30,000 faces, each with a mask file for every part that it shows.

Source: Lee et al., MaskGAN, CVPR 2020, https://github.com/switchablenorms/CelebAMask-HQ (non-commercial research).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from semivae.data.dataset import Dataset, map_label
from semivae.data.formats.file_trees import Files
from semivae.data.formats.image_files import read_pixels
from semivae.data.formats.npz import load_arrays
from semivae.data.formats.palettes import Map, fitted
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.formats.raster import open_raster
from semivae.data.formats.regular_files import read_regular
from semivae.errors import DataError
from semivae.files import whole_file
from semivae.recipe.schema import CelebAMaskSource

# later parts lie over earlier ones, as the authors merge them (their Data_preprocessing/g_mask.py)
PARTS = (
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip", "l_lip",
    "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
CLASSES = ("background", *PARTS)
IMAGES, ANNOTATIONS, MAPPING = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno", "CelebA-HQ-to-CelebA-mapping.txt"
A_FOLDER = 2000  # images whose masks lie in one folder
FIRST_VALIDATION, FIRST_TEST = 162_771, 182_638  # CelebA's own parts, by the number of the original (counted from 1)
WHERE = "https://github.com/switchablenorms/CelebAMask-HQ"


def read_celebamask_hq(source: CelebAMaskSource, path: Path) -> Dataset:
    """The official 24,183 images to train on, 2,993 to validate on (`Dataset.validation`), 2,824 to test on.

    Merging 30,000 images takes long, so what was read is kept beside the data as `semivae-SIZE.npz` where the folder
    can be written, and taken from there the next time.

    Args:
        source: the recipe's section.
        path: the folder CelebAMask-HQ, made absolute.

    Returns:
        x is uint8 [n, 3, size, size], s int16 [n, size, size] with 19 classes.

    Raises:
        DataError: a file or folder of the layout is missing, or a file cannot be read.
    """
    originals = read_mapping(path)
    images, maps = _kept(path, source.size, len(originals)) or _read(path, source.size, len(originals))
    x, s = torch.from_numpy(images), torch.from_numpy(maps).to(torch.int16)
    numbers = torch.tensor(originals)
    train = torch.nonzero(numbers < FIRST_VALIDATION).flatten()
    validation = torch.nonzero((numbers >= FIRST_VALIDATION) & (numbers < FIRST_TEST)).flatten()
    test = torch.nonzero(numbers >= FIRST_TEST).flatten()
    known = torch.cat([train, validation])
    if not len(train) or not len(test):
        raise DataError(f"{path / MAPPING} names {len(train)} training and {len(test)} test images; get it again")
    return Dataset(
        "celebamask_hq",
        map_label(CLASSES),
        {"x": x[known], "s": s[known]},
        {"x": x[test], "s": s[test]},
        validation=torch.arange(len(train), len(known)),
    )


def read_mapping(path: Path) -> list[int]:
    """The number in CelebA of every image, in order; the file has a line `idx orig_idx orig_file`, then one an image.

    Raises:
        DataError: the file or one of the two folders is missing, or a line is another.
    """
    missing = [name for name in (IMAGES, ANNOTATIONS, MAPPING) if not (path / name).exists()]
    if missing:
        raise DataError(
            f"CelebAMask-HQ is not complete: {path.absolute()} lacks {', '.join(missing)}; get CelebAMask-HQ.zip from "
            f"{WHERE} (it cannot be downloaded by a program) and unpack it there"
        )
    try:
        lines = read_regular(path / MAPPING).decode("utf-8", errors="replace").splitlines()[1:]
    except OSError as error:
        raise DataError(f"{path / MAPPING} cannot be read: {error}") from error
    originals: list[int] = []
    for words in filter(None, (line.split() for line in lines)):
        if len(words) != 3 or words[0] != str(len(originals)) or not re.fullmatch("[0-9]{1,9}", words[1]):
            raise DataError(f"{path / MAPPING}:{len(originals) + 2}: expected `{len(originals)} NUMBER FILE`")
        originals.append(int(words[1]))
    return originals


def merged_map(files: Sequence[tuple[int, bytes]], size: int) -> Map:
    """Merges part masks (class number, file content) into one map: later ones lie over earlier ones."""
    whole: Map | None = None
    for number, content in files:
        with open_raster(content) as opened:
            mask = np.asarray(opened.convert("L")) != 0
        whole = np.zeros(mask.shape, np.int16) if whole is None else whole
        whole[mask] = number
    return np.zeros((size, size), np.int16) if whole is None else fitted(whole, size, size)


def _read(path: Path, size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    def one(row: int) -> Map:
        folder = path / ANNOTATIONS / str(row // A_FOLDER)
        names = [(number, folder / f"{row:05}_{part}.png") for number, part in enumerate(PARTS, start=1)]
        try:
            return merged_map([(number, read_regular(file)) for number, file in names if file.is_file()], size)
        except Exception as error:  # Pillow raises much, by the byte that is wrong
            raise DataError(f"a mask of {row:05} in {folder} cannot be read: {error}") from error

    names = [f"{IMAGES}/{row}.jpg" for row in range(count)]
    files = Files(path, tuple(names), (), lambda name: read_regular(path / name))
    images = read_pixels(files, names, Preprocessing(3, size, size)).numpy()
    with ThreadPoolExecutor() as threads:
        maps = np.stack(list(threads.map(one, range(count)))).astype(np.uint8)
    _keep(path, size, images, maps)
    return images, maps


def _file(path: Path, size: int) -> Path:
    return path / f"semivae-{size}.npz"


def _kept(path: Path, size: int, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        kept = load_arrays(_file(path, size))
        images, maps = kept["x"], kept["s"]
    except (DataError, KeyError):  # not there, or damaged: it is made again
        return None
    shapes = images.shape == (count, 3, size, size) and maps.shape == (count, size, size)
    whole = shapes and images.dtype == maps.dtype == np.uint8 and maps.max() < len(CLASSES)
    return (images, maps) if whole else None


def _keep(path: Path, size: int, images: np.ndarray, maps: np.ndarray) -> None:
    with contextlib.suppress(OSError), whole_file(_file(path, size)) as scratch:  # costs time, not the run
        np.savez(scratch, x=images, s=maps)
