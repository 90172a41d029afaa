"""Segmentation maps as files and arrays: class numbers or colours, void, and one size for all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from semivae.data.formats.preprocessing import fitted_picture
from semivae.data.formats.regular_files import UTF_16, read_regular
from semivae.data.inputs.pixels import Array
from semivae.errors import DataError
from semivae.recipe.folder_source import Fit
from semivae.text import join_names
from semivae.variables import VOID

Map = npt.NDArray[np.int16]
MOST_KINDS = 6  # different numbers with gaps, from which on they look like the greys of smoothed edges
MOST_CLASSES = 256
MOST_BYTES = 2**20  # of a palette file
COLOURS = (
    (0, 0, 0), (160, 82, 45), (255, 203, 164), (30, 90, 220), (40, 170, 70), (214, 40, 57), (250, 190, 40),
    (120, 60, 180), (0, 170, 190), (240, 120, 200), (110, 110, 110), (170, 200, 60), (255, 130, 0), (90, 50, 20),
    (180, 180, 255), (0, 90, 60), (200, 0, 120), (255, 255, 150), (60, 60, 120), (150, 220, 200),
)  # fmt: skip


@dataclass(frozen=True)
class Palette:
    """What the pixels of masks mean.

    Attributes:
        names: class names by number; empty where only the masks themselves tell how many there are.
        colours: their colours in colour masks, uint8 [classes, 3]; None where masks hold class numbers.
        void: the class number that stands for "not known", or None.
        void_colour: the colour that does, or None.
    """

    names: tuple[str, ...] = ()
    colours: npt.NDArray[np.uint8] | None = None
    void: int | None = None
    void_colour: tuple[int, int, int] | None = None


HEXADECIMAL = re.compile(r"^\s*([^\s,#]+)[\s,]+#([0-9A-Fa-f]{6})(?=\s|$)")  # a class and its colour, no comment


def shown_colours(classes: int) -> npt.NDArray[np.uint8]:
    """Colours to show classes in, uint8 [classes, 3]: distinct for the first 20."""
    return np.array([COLOURS[number % len(COLOURS)] for number in range(classes)], dtype=np.uint8)


def read_palette(path: Path, void: int | None = None) -> Palette:
    """Read a palette: one class a line, in the order of the numbers, `NAME`, `NAME RED GREEN BLUE` or `NAME #RRGGBB`.

    A line `void RED GREEN BLUE` gives the colour of unknown places and has no number. `#` starts a comment.

    Raises:
        DataError: no such file, a line of another form, colours for some classes only, or fewer than two classes.
    """
    try:
        content = read_regular(path, MOST_BYTES)
        lines = content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path.absolute()} is no UTF-8 text; save the palette in UTF-8") from error
    except OSError as error:
        raise DataError(f"{path.absolute()} cannot be read as a palette: {error.strerror or error}") from error
    names: list[str] = []
    colours: list[tuple[int, int, int]] = []
    void_colour = None
    for number, line in enumerate(lines, start=1):
        line = HEXADECIMAL.sub(lambda found: " ".join([found[1], *map(str, bytes.fromhex(found[2]))]), line)
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        colour = _colour(words[1:], f"{path}:{number}")
        if words[0] == "void":
            void_colour = colour
            continue
        names.append(words[0])
        colours += [colour] if colour else []
    if len(names) < 2 or len(set(names)) != len(names):
        raise DataError(f"{path} names {join_names(names) or 'no class'}; at least two different classes are needed")
    if colours and len(colours) != len(names):
        raise DataError(f"{path} gives colours to {len(colours)} of {len(names)} classes; give one to each, or to none")
    if len(set(colours)) != len(colours) or void_colour in colours:
        raise DataError(f"{path} gives one colour to two classes; give each its own")
    return Palette(tuple(names), np.array(colours, np.uint8) if colours else None, void, void_colour)


def _colour(words: Sequence[str], where: str) -> tuple[int, int, int] | None:
    if not words:
        return None
    if len(words) != 3 or not all(re.fullmatch("[0-9]{1,3}", word) and int(word) < 256 for word in words):
        raise DataError(
            f"{where}: write NAME, or NAME RED GREEN BLUE with numbers from 0 to 255, a name without spaces"
        )
    red, green, blue = map(int, words)
    return red, green, blue


def by_colour(pixels: Array, palette: Palette, colours: npt.NDArray[np.uint8]) -> Array:
    """Class numbers, -1 where void, of colours [..., 3]. Raises ValueError for one that is not in the palette."""
    code = _codes(pixels)
    known = _codes(colours.astype(np.int64))
    order = np.argsort(known)
    place = order[np.searchsorted(known[order], code).clip(max=len(known) - 1)]
    voids = [palette.void_colour, None if palette.void is None else (palette.void,) * 3]
    void_codes = [_codes(np.array(colour)) for colour in voids if colour is not None]
    is_void = (known[place] != code) & np.isin(code, void_codes)
    unknown = (known[place] != code) & ~is_void
    if unknown.any():
        red, green, blue = pixels[unknown][0]
        raise ValueError(f"colour {red} {green} {blue} is not in the palette")
    return np.where(is_void, VOID, place)


def _codes(colours: Array) -> Array:
    """One number for each colour, [...] of [..., 3]."""
    codes: Array = colours.astype(np.int64) @ np.array([65536, 256, 1])
    return codes


def class_map(numbers: Array, palette: Palette, classes: int) -> Map:
    """Class numbers of any integer type as int16, the void number as `VOID`.

    Raises:
        ValueError: a number that is neither a class nor void.
    """
    numbers = numbers.astype(np.int64)  # bytes could not hold VOID
    void = np.zeros(numbers.shape, bool) if palette.void is None else numbers == palette.void
    void |= numbers == VOID
    bad = ~void & ((numbers < 0) | (numbers >= classes))
    if bad.any():
        raise ValueError(f"{numbers[bad][0]} is no class; the classes are 0 to {classes - 1}")
    return np.where(void, VOID, numbers).astype(np.int16)


def fitted(numbers: Map, height: int, width: int, fit: Fit = "crop") -> Map:
    """A map at another size, fitted like its image, by the nearest pixel; what `pad` leaves free is `VOID`."""
    if numbers.shape == (height, width):
        return numbers
    image = Image.fromarray(numbers.astype(np.int32))
    return np.asarray(fitted_picture(image, (width, height), fit, VOID, Image.Resampling.NEAREST)).astype(np.int16)


def resized_images(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes uint8 images [n, channels, height, width], bilinear with antialiasing; the sides' ratio stays.

    Raises:
        DataError: the ratio would change.
    """
    refuse_other_ratio(tuple(images.shape[2:]), size)
    parts = [
        interpolate(part.float(), size, mode="bilinear", antialias=True, align_corners=False).round().clamp(0, 255)
        for part in torch.split(images, 256)
    ]
    return torch.cat([part.to(torch.uint8) for part in parts])


def refuse_gaps(numbers: Sequence[int], what: str, names: str) -> None:
    """Raise DataError where most of the numbers up to the largest are no class of any place: one may stand for void.

    Args:
        numbers: the different ones that occur, sorted.
        what: holds them, for the message.
        names: where a recipe names the classes, which settles how many there are.
    """
    if 2 * len(numbers) <= numbers[-1]:
        smoothed = ""
        if len(numbers) > MOST_KINDS:
            smoothed = ". If edges were smoothed when masks were scaled, scale the originals by the nearest pixel"
        raise DataError(
            f"{what} hold the numbers {join_names([str(number) for number in numbers], 8)}, and most classes up to "
            f"{numbers[-1]} never occur. If {numbers[-1]} stands for places that are not known, say source.void: "
            f"{numbers[-1]}; else number the classes 0, 1, ..., or name them all in {names}{smoothed}"
        )


def unseen_classes(maps: Tensor, classes: Sequence[str], what: str) -> tuple[str, ...]:
    """A warning of classes that are at no place of any map, or nothing.

    Args:
        maps: class numbers of any shape, `VOID` among them.
        classes: their names.
        what: holds the maps, for the message.
    """
    counts = torch.bincount(maps[maps >= 0].long(), minlength=len(classes)).tolist()
    unseen = [f"{number} ({name})" if name != str(number) else name
              for number, (name, count) in enumerate(zip(classes, counts, strict=True)) if not count]  # fmt: skip
    if not unseen:
        return ()
    first = "; if their numbers start at 1, subtract 1" if not counts[0] else ""
    return (f"{what} show no place of class {join_names(unseen)}, so that it is never learnt{first}",)


def refuse_other_ratio(given: tuple[int, ...], size: tuple[int, int]) -> None:
    if given[0] * size[1] != given[1] * size[0]:
        raise DataError(
            f"source.size {list(size)}: the arrays' images are {list(given)}, another ratio of sides; crop them first"
        )
