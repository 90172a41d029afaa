"""Mask files as segmentation maps: what their pixels say, and which files cannot say it exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps

from semivae.data.formats.levels import BIT_DEPTH, has_frames, orientation_of
from semivae.data.formats.palettes import MOST_CLASSES, Map, Palette, by_colour, class_map, fitted
from semivae.data.formats.preprocessing import Size, contained, fitted_picture
from semivae.data.formats.raster import LARGE, open_raster
from semivae.data.inputs.pixels import Array
from semivae.recipe.folder_source import Fit
from semivae.variables import VOID

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Mask:
    """A mask file, read.

    Attributes:
        numbers: class numbers or `VOID`, int16 [height, width].
        size: width and height of the file's picture, upright.
        colours: of an indexed file, in which colour it shows each number that occurs, void aside.
        orientation: how the file says that the mask lies, 1 for upright.
    """

    numbers: Map
    size: Size
    colours: Mapping[int, Colour] = field(default_factory=dict)
    orientation: int = 1


def decode_map(content: bytes, palette: Palette, height: int, width: int, fit: Fit = "crop") -> Map:
    """The class numbers of a mask file, int16 [height, width]; raises as `decode_mask`."""
    return decode_mask(content, palette, height, width, fit).numbers


def decode_mask(content: bytes, palette: Palette, height: int, width: int, fit: Fit = "crop") -> Mask:
    """A mask file as class numbers or `VOID`, by the nearest pixel, fitted like its image.

    Raises:
        ValueError: a colour or a number that is no class; a file that keeps pixels by and large only; or one with
            transparency that says something else than its colours. The message says which.
    """
    with open_raster(content) as opened:
        _refuse_lossy(opened, content)
        if has_frames(opened):
            raise ValueError("several frames or pages, of which one would be read; save each mask in its own file")
        orientation = orientation_of(opened)
        spread = 1
        if opened.format == "PNG" and opened.mode == "L" and content[BIT_DEPTH] < 8:
            spread = 255 // (2 ** content[BIT_DEPTH] - 1)  # Pillow makes 0, 85, 170, 255 of 0, 1, 2, 3
        ImageOps.exif_transpose(opened, in_place=True)
        image: Image.Image = opened
        size = image.size
        if opened.width * opened.height > LARGE:  # only the pixels that are kept become numbers, of eight bytes each
            image = _shrunk(opened, (width, height), fit)
        _refuse_alpha(image)
        image = _whole(image)
        if _holds_numbers(image, palette):
            numbers = np.asarray(image).astype(np.int64) // spread
            colours = _shown_colours(image, numbers, palette)
        else:
            numbers, colours = _by_pixels(image, palette), {}
    found = class_map(numbers, palette, len(palette.names) or MOST_CLASSES)
    return Mask(fitted(found, height, width, fit), size, colours, orientation)


def _whole(image: Image.Image) -> Image.Image:
    """A mask of floats as bytes, others as they are. Raises ValueError for fractions, as of probabilities."""
    if image.mode != "F":
        return image
    pixels = np.asarray(image)
    wrong = ~np.isfinite(pixels) | (pixels != np.rint(pixels)) | (pixels < 0) | (pixels >= MOST_CLASSES)
    if wrong.any():
        raise ValueError(
            f"pixels such as {pixels[wrong][0]:g}, which are no numbers of classes; save the classes, as PNG"
        )
    return Image.fromarray(pixels.astype(np.uint8))


def _shrunk(image: Image.Image, target: Size, fit: Fit) -> Image.Image:
    if fit == "pad":  # the rest is filled when its pixels are numbers
        return image.resize(contained(image.size, target), Image.Resampling.NEAREST)
    return fitted_picture(image, target, fit, 0, Image.Resampling.NEAREST)


def _refuse_lossy(image: Image.Image, content: bytes) -> None:
    """Raises ValueError for a file whose pixels are not those that were saved."""
    packed = image.info.get("compression") == "jpeg"
    lossy = image.format in ("JPEG", "MPO", "HEIF", "AVIF") or (image.format == "WEBP" and not _is_lossless(content))
    if lossy or packed:
        raise ValueError(
            f"a {'TIFF packed as JPEG' if packed else f'lossy {image.format}'}, which changes pixels, so that classes "
            "appear that nobody drew; save masks as PNG, from the originals"
        )


def _is_lossless(webp: bytes) -> bool:
    """Whether the first chunk with pixels of a WebP file is a lossless one."""
    place = 12
    while place + 8 <= len(webp):
        kind, size = webp[place : place + 4], int.from_bytes(webp[place + 4 : place + 8], "little")
        if kind in (b"VP8L", b"VP8 ", b"ALPH", b"ANMF"):
            return kind == b"VP8L"
        place += 8 + size + size % 2
    return False


def _refuse_alpha(image: Image.Image) -> None:
    """Raises ValueError where alpha differs among pixels of one colour: the mask may lie in either."""
    if image.mode not in ("LA", "PA", "RGBA", "La", "RGBa") or image.getchannel("A").getextrema()[0] == 255:
        return
    pixels = np.asarray(image.convert("RGBA")).astype(np.int64).reshape(-1, 4) @ np.array([2**24, 2**16, 2**8, 1])
    both = np.unique(pixels)
    if len(both) > len(np.unique(both >> 8)):
        raise ValueError(
            "pixels of one colour are transparent in some places and not in others, so that the mask may be in the "
            "colours or in the transparency; save it without transparency"
        )


def _holds_numbers(image: Image.Image, palette: Palette) -> bool:
    """Whether pixels are class numbers: those of grey and indexed masks, unless all colours of the palette are greys,
    of which grey pixels then are one."""
    colours = palette.colours
    greys = colours is not None and bool((colours == colours[:, :1]).all())
    return image.mode == "P" or image.mode.startswith("I") or (image.mode in ("1", "L") and not greys)


def _by_pixels(image: Image.Image, palette: Palette) -> Array:
    """Class numbers of a mask by its colours, -1 where void; without colours in the palette, by its grey."""
    pixels = np.asarray(image.convert("RGB")).astype(np.int64)
    if palette.colours is not None:
        return by_colour(pixels, palette, palette.colours)
    if not (pixels[..., :1] == pixels).all():
        raise ValueError("a colour mask, and no palette says what its colours mean")
    return pixels[..., 0]


def _shown_colours(image: Image.Image, numbers: Array, palette: Palette) -> dict[int, Colour]:
    """Returns the colours in which an indexed mask shows its numbers; nothing where a palette names the classes.

    Raises:
        ValueError: its colours say something else than its numbers, by the palette.
    """
    if image.mode != "P":
        return {}
    if palette.colours is not None:
        _refuse_two_meanings(numbers, np.asarray(image.convert("RGB")).astype(np.int64), palette)
    if palette.names:
        return {}
    table = np.asarray(image.getpalette("RGB") or [], np.int64).reshape(-1, 3)
    found = [number for number in np.unique(numbers).tolist() if number != palette.void and number < len(table)]
    return {number: (int(table[number][0]), int(table[number][1]), int(table[number][2])) for number in found}


def _refuse_two_meanings(numbers: Array, pixels: Array, palette: Palette) -> None:
    """Raises ValueError where an indexed mask's colours, void aside all of the palette, are of other classes than its
    numbers; colours of its own are for viewers, and the numbers count."""
    assert palette.colours is not None
    known = numbers != palette.void
    numbers, pixels = numbers[known], pixels[known]
    try:
        coloured = by_colour(pixels, palette, palette.colours)
    except ValueError:
        return
    wrong = coloured != numbers
    if wrong.any():
        number, place = numbers[wrong][0], coloured[wrong][0]
        meant = "void" if place == VOID else f"class {place}, {palette.names[place]}"
        raise ValueError(
            f"an indexed mask in which number {number} has the colour of {meant}: save it as RGB to go by its colours, "
            "or leave the colours out of the palette to go by its numbers"
        )


class SharedColours:
    """Sees to it that indexed masks show a number in the same colour everywhere: else it may mean different things."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[Colour, str]] = {}

    def add(self, name: str, colours: Mapping[int, Colour]) -> None:
        """Raises ValueError where a mask shows a number in another colour than one before it."""
        for number, colour in colours.items():
            first, other = self._first.setdefault(number, (colour, name))
            if colour != first:
                raise ValueError(
                    f"it shows number {number} as {_written(colour)}, but {other} as {_written(first)}: indexed masks "
                    "with palettes of their own, in which a number may mean different classes. If colours count, save "
                    "them as RGB and list the colours in source.palette; if numbers count, name the classes there, "
                    "without colours"
                )


def _written(colour: Colour) -> str:
    return " ".join(map(str, colour))
