"""Users' own images and their masks in folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from semivae.data.dataset import Dataset, map_label
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import is_image, read_pixels, reason_of, upright_size
from semivae.data.formats.palettes import Map, Palette, decode_map, read_palette, refuse_gaps
from semivae.data.paths import resolve
from semivae.data.readers.map_arrays import set_aside
from semivae.errors import DataError
from semivae.recipe.schema import MasksSource
from semivae.text import join_names
from semivae.variables import Sample

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Part:
    """The files of one part (train, val, test), by their names without ending: pairs, and what has no partner.

    Attributes:
        pairs: (name, image file, mask file).
        images: image files without a mask.
        masks: mask files without an image.
    """

    pairs: tuple[tuple[str, str, str], ...]
    images: tuple[str, ...]
    masks: tuple[str, ...]


def read_masks(source: MasksSource, path: Path) -> Dataset:
    """Read train/images and train/masks, optionally val and test likewise and unlabelled/*; or images and masks alone.

    Files of images and masks belong together where their names are equal but for the ending. Where there is no test
    part, `source.test_share` of the pairs is set aside for it by the hash of their names.

    Args:
        source: the recipe's section.
        path: its path, made absolute; a folder or a .zip.

    Returns:
        x is uint8 [n, channels, height, width], s int16 [n, height, width]; rows from val are `Dataset.validation`.

    Raises:
        DataError: no such folder, no pair in it, a file that is no image, or a mask that holds what is no class.
    """
    height, width = source.size if isinstance(source.size, tuple) else (source.size, source.size)
    palette = palette_of(source, path)
    shape = (source.channels, height, width)
    with open_files(path) as files:
        parted = any(folder.split("/")[0] == "train" for folder in files.folders)
        train = part_of(files, "train/" if parted else "")
        val, test = (part_of(files, f"{name}/") if parted else None for name in ("val", "test"))
        if not train.pairs:
            raise DataError(_no_pairs(files, "train/" if parted else ""))
        pairs = [*train.pairs, *(val.pairs if val else ())]
        known = _pairs(files, pairs, palette, shape)
        tested = _pairs(files, test.pairs, palette, shape) if test and test.pairs else None
        lone = [*train.images, *(name for name in files.names if name.startswith("unlabelled/") and is_image(name))]
        unlabelled = {"x": read_pixels(files, lone, shape)} if lone else {}
        alone = {"s": _maps(files, train.masks, palette, shape)} if train.masks else {}
    warnings = _unused(files, val, test)
    validation = torch.arange(len(train.pairs), len(pairs)) if val and val.pairs else None
    origin = "given"
    if tested is None:
        if validation is not None:
            raise DataError(f"{path} has val but no test; add test/images and test/masks, or join val to train")
        known, tested = set_aside(known, [name for name, *_ in pairs], source.test_share)
        origin = f"test split off by hash, {source.test_share:.0%}"
    maps = torch.cat([part["s"].flatten() for part in (known, tested, alone) if part])
    classes = palette.names or _numbered(maps, path)
    return Dataset(
        f"masks:{path.name}", map_label(classes), known, tested, unlabelled, warnings, origin, alone, validation
    )


def palette_of(source: MasksSource, path: Path) -> Palette:
    """The palette that a recipe names, `source.void` included.

    Raises:
        DataError: the file is missing or no palette.
    """
    if source.palette is None:
        return Palette(void=source.void)
    return read_palette(palette_path(source, path), source.void)


def palette_path(source: MasksSource, path: Path) -> Path:
    """Where the palette lies that a recipe names; `path` is the source's."""
    assert source.palette is not None
    return resolve(source.palette, path)


def part_of(files: Files, prefix: str) -> Part:
    """Sort the files below PREFIXimages and PREFIXmasks into pairs and the rest.

    Raises:
        DataError: two files of one folder differ in their endings alone.
    """
    images, masks = _by_name(files, f"{prefix}images/"), _by_name(files, f"{prefix}masks/")
    pairs = tuple((name, file, masks[name]) for name, file in images.items() if name in masks)
    return Part(
        pairs,
        tuple(file for name, file in images.items() if name not in masks),
        tuple(file for name, file in masks.items() if name not in images),
    )


def _by_name(files: Files, prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in files.names:
        if file.startswith(prefix) and is_image(file):
            name = str(PurePosixPath(file.removeprefix(prefix)).with_suffix(""))
            if name in found:
                raise DataError(f"{files.place}: {found[name]} and {file} have the same name; remove one")
            found[name] = file
    return found


def _no_pairs(files: Files, prefix: str) -> str:
    images, masks = (sorted(_by_name(files, f"{prefix}{kind}/").values()) for kind in ("images", "masks"))
    if not images or not masks:
        lacking = " and ".join(f"{prefix}{kind}" for kind, found in (("images", images), ("masks", masks)) if not found)
        return (
            f"{files.place} has no image files in {lacking}; it needs train/images and train/masks, or images and masks"
        )
    return (
        f"{files.place}: no image has a mask of the same name: {join_names(images, 2)} but {join_names(masks, 2)}; "
        "rename"
    )


def _pairs(files: Files, pairs: Sequence[tuple[str, str, str]], palette: Palette, shape: Shape) -> Sample:
    images = read_pixels(files, [image for _, image, _ in pairs], shape)
    maps = _maps(files, [mask for *_, mask in pairs], palette, shape)
    _refuse_other_ratios(files, pairs)
    return {"x": images, "s": maps}


def _refuse_other_ratios(files: Files, pairs: Sequence[tuple[str, str, str]]) -> None:
    """Raise DataError for a mask with another ratio of sides than its image: both are cropped, and would not fit."""
    wrong: list[str] = []
    for _, image, mask in pairs:
        (width, height), (across, down) = (upright_size(files.read(name)) for name in (image, mask))
        if abs(width * down - across * height) > max(width, height, across, down):  # a pixel may go in scaling
            wrong.append(f"{mask} is {across}x{down}, its image {width}x{height}")
    if wrong:
        raise DataError(
            f"{len(wrong):,} of {len(pairs):,} masks in {files.place} have another ratio of sides than their images: "
            f"{join_names(wrong, 3)}. Crop both alike"
        )


def _maps(files: Files, names: Sequence[str], palette: Palette, shape: Shape) -> Tensor:
    maps: list[Map] = []
    broken: list[str] = []
    for name in names:
        try:
            maps.append(decode_map(files.read(name), palette, *shape[1:]))
        except Exception as error:  # ours for a wrong number or colour; Pillow raises much, by the byte that is wrong
            broken.append(f"{name} ({reason_of(error)})")
    if broken:
        raise DataError(
            f"{len(broken):,} of {len(names):,} masks in {files.place} cannot be read: {join_names(broken, 3)}. Repair "
            "them, or say source.palette or source.void"
        )
    return torch.from_numpy(np.stack(maps))


def _numbered(maps: Tensor, path: Path) -> tuple[str, ...]:
    largest = int(maps.max())
    if largest < 1:
        raise DataError(f"{path}: the masks hold one class only, {largest}; at least two are needed")
    names = "source.palette, with their greys where these are not the numbers (`thing 255 255 255`)"
    refuse_gaps(torch.unique(maps[maps >= 0]).tolist(), f"{path}: the masks", names)
    return tuple(str(number) for number in range(largest + 1))


def _unused(files: Files, *parts: Part | None) -> tuple[str, ...]:
    unused = [file for part in parts if part for file in (*part.images, *part.masks)]
    return (f"{len(unused):,} files in {files.place} have no partner: {join_names(unused)}",) if unused else ()
