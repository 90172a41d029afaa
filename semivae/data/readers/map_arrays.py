"""Images and their segmentation maps as named arrays in an .npz file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semivae.data.dataset import Dataset, map_label
from semivae.data.doubts import array_doubts, seen_doubts
from semivae.data.formats.palettes import (
    Map,
    Palette,
    class_map,
    fitted,
    refuse_gaps,
    refuse_other_ratio,
    resized_images,
    unseen_classes,
)
from semivae.data.hashing import hold_out
from semivae.data.inputs.pixels import Array, channels_first, pixels_as_bytes
from semivae.errors import DataError
from semivae.recipe.schema import ArraysSource
from semivae.text import join_names

NAMES = ("x", "s", "x_test", "s_test", "x_unlabelled", "s_alone")


def read_map_arrays(source: ArraysSource, path: Path, arrays: Mapping[str, Array]) -> Dataset:
    """Pairs of `x` and `s`, optionally `x_test` and `s_test`, `x_unlabelled`, and maps without images, `s_alone`.

    Where there is no test part, `source.test_share` of the pairs is set aside for it by the hash of the rows' numbers.

    Args:
        source: the recipe's section.
        path: the file, for messages.
        arrays: its arrays, called as in `NAMES`.

    Returns:
        x is uint8 [n, channels, height, width], s int16 [n, height, width].

    Raises:
        DataError: an array is missing, or has a type, shape, length or value that does not fit.
    """
    for given, missing in (("s", "x"), ("x_test", "s_test"), ("s_test", "x_test")):
        if missing not in arrays and given in arrays:
            raise DataError(f"{path} has no array {missing}; it has {join_names(sorted(arrays))}")
    size = _size(source, arrays["x"], path)
    parts = {name: arrays[name] for name in NAMES if name in arrays}
    images = {name: _images(array, f"{path}: {name}", size) for name, array in parts.items() if name[0] == "x"}
    maps = {name: _integers(array, f"{path}: {name}") for name, array in parts.items() if name[0] == "s"}
    classes = source.classes or _numbered(maps, source, path)
    read = {name: _maps(array, f"{path}: {name}", source, len(classes), size) for name, array in maps.items()}
    for name in [name for name in images if name.replace("x", "s", 1) in read]:
        if len(images[name]) != len(read[name.replace("x", "s", 1)]):
            raise DataError(f"{path}: {name} and its maps have different lengths; give one map for each image")
    for name, x in images.items():
        if x.shape[1:] != images["x"].shape[1:]:
            raise DataError(f"{path}: one {name} is {list(x.shape[1:])}, but one x is {list(images['x'].shape[1:])}")
    train, origin = {"x": images["x"], "s": read["s"]}, "given"
    if "x_test" in images:
        test = {"x": images["x_test"], "s": read["s_test"]}
    else:
        kept, held = set_aside([str(row) for row in range(len(read["s"]))], source.test_share)
        train, test = ({name: value[rows] for name, value in train.items()} for rows in (kept, held))
        origin = f"test split off by hash, {source.test_share:.0%}"
    unlabelled = {"x": images["x_unlabelled"]} if "x_unlabelled" in images else {}
    alone = {"s": read["s_alone"]} if "s_alone" in read else {}
    seen = torch.cat([numbers.flatten() for numbers in read.values()])
    warnings = (
        *array_doubts(path, arrays, NAMES),
        *seen_doubts(train, test, unlabelled, str(path)),
        *unseen_classes(seen, classes, f"{path}: {', '.join(read)}"),
    )
    return Dataset(f"arrays:{path.name}", map_label(classes), train, test, unlabelled, warnings, origin, alone)


def set_aside(keys: list[str], share: float) -> tuple[Tensor, Tensor]:
    """Rows of pairs to train on and to test on, by the hash of their keys."""
    return hold_out(torch.zeros(len(keys), dtype=torch.int64), keys, share)


def _size(source: ArraysSource, x: Array, path: Path) -> tuple[int, int]:
    if source.size is None:
        height, width = channels_first(x, f"{path}: x").shape[2:]
        return height, width
    return source.size if isinstance(source.size, tuple) else (source.size, source.size)


def _images(array: Array, what: str, size: tuple[int, int]) -> Tensor:
    if not array.size:
        raise DataError(f"{what} is empty (shape {list(array.shape)})")
    pixels = torch.from_numpy(np.ascontiguousarray(pixels_as_bytes(channels_first(array, what), what)))
    return pixels if tuple(pixels.shape[2:]) == size else resized_images(pixels, size)


def _numbered(maps: Mapping[str, Array], source: ArraysSource, path: Path) -> tuple[str, ...]:
    """Classes called by their numbers, up to the largest that occurs."""
    numbers = {0, *(int(number) for array in maps.values() for number in np.unique(array) if number != source.void)}
    largest = max(numbers)
    if not 0 < largest < 256:
        raise DataError(
            f"{path}: the largest class number in {', '.join(maps)} is {largest}; write the names of the classes as "
            "source.classes, and the number of unknown places as source.void"
        )
    refuse_gaps(sorted(number for number in numbers if number >= 0), f"{path}: {', '.join(maps)}", "source.classes")
    return tuple(str(number) for number in range(largest + 1))


def _integers(array: Array, what: str) -> Array:
    if array.ndim != 3 or not array.size or array.dtype.kind not in "iu":
        raise DataError(
            f"{what} has type {array.dtype} and shape {list(array.shape)}; maps are integers [n, height, width]"
        )
    return array


def _maps(array: Array, what: str, source: ArraysSource, classes: int, size: tuple[int, int]) -> Tensor:
    refuse_other_ratio(array.shape[1:], size)
    palette = Palette(void=source.void)
    rows: list[Map] = []
    for row, numbers in enumerate(array):
        try:
            rows.append(fitted(class_map(numbers, palette, classes), *size))
        except ValueError as error:
            raise DataError(f"{what}, row {row}: {error}; say source.classes, or source.void") from error
    return torch.from_numpy(np.stack(rows))
