"""Image files as pixels of one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from semivae.data.formats.file_trees import Files
from semivae.data.formats.levels import Levels, orientation_of
from semivae.data.formats.preprocessing import Preprocessing, Size, filled_part, fitted_picture, shown_part
from semivae.data.formats.raster import HEIF_ADVICE, KINDS, LARGE, NoImageError, open_header, open_raster, reads_heif
from semivae.errors import DataError
from semivae.text import by_reason

SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".webp", ".pbm", ".pgm", ".ppm", ".pnm",
}  # fmt: skip
HEIF_SUFFIXES = {".heic", ".heif", ".hif", ".avif"}
THREADS_PAY = 50_000  # bytes of a file from which on threads are faster
MOST_AVERAGED = 128  # pixels a side that become one; with more Pillow's `reduce` divides too coarsely, white gets grey
BAND = 4_000_000  # pixels of a large picture that are averaged at once

AT_A_TIME = 512  # pictures in memory, where something is made of them

Kept = TypeVar("Kept")
Use = Callable[[Tensor], Tensor]


def is_image(name: str) -> bool:
    """Whether a file's name ends like that of an image that is read."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in SUFFIXES or (suffix in HEIF_SUFFIXES and reads_heif())


def why_no_image(name: str) -> str:
    """Why a file is not read as an image, by its name."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in HEIF_SUFFIXES:
        return HEIF_ADVICE
    return f"{suffix} is no ending of an image that is read" if suffix else "it has no ending, such as .png"


@dataclass(frozen=True)
class Picture:
    """A picture as an example, and what it was as a file.

    Attributes:
        pixels: uint8 [channels, height, width].
        size: width and height of the file's picture, upright.
        levels: what its pixels were.
    """

    pixels: npt.NDArray[np.uint8]
    size: Size
    levels: Levels


def decode_picture(content: bytes, preprocessing: Preprocessing) -> Picture:
    """An image file as an example.

    The picture is turned as its EXIF orientation says. A JPEG of four times the size or more is decoded at a fraction
    of its own, and a picture of many megapixels is averaged before it is resized; both keep at least twice the size.

    Raises:
        ValueError: pixels of which nobody says what is white; a picture that cannot be told from the background; or
            more pixels than are decoded.
        OSError, SyntaxError and more: Pillow's, for what is no image.
    """
    target = preprocessing.width, preprocessing.height
    needed = 2 * max(target)
    with open_raster(content, needed) as opened:
        levels = Levels.of(opened, content, preprocessing)
        given = open_header(content).size if opened.format in ("JPEG", "MPO") else opened.size  # before it is shrunk
        size = _upright(opened, given)
        factor = min(min(opened.size) // needed, MOST_AVERAGED)
        if factor > 1 and opened.width * opened.height > LARGE:
            image = _averaged(opened, factor, preprocessing, levels)
        else:
            ImageOps.exif_transpose(opened, in_place=True)
            image = levels.eight_bits(opened)
            background = (preprocessing.level,) * preprocessing.channels
            image = fitted_picture(image, target, preprocessing.fit, background, Image.Resampling.BICUBIC)
        levels.refuse_invisible()
        pixels = np.asarray(image, dtype=np.uint8)
    pixels = pixels[None] if preprocessing.channels == 1 else pixels.transpose(2, 0, 1)
    return Picture(pixels, size, levels)


def decode_image(content: bytes, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """The pixels of an image file, uint8 [channels, height, width]; raises as `decode_picture`."""
    return decode_picture(content, preprocessing).pixels


def _averaged(image: Image.Image, factor: int, preprocessing: Preprocessing, levels: Levels) -> Image.Image:
    """A large image, averaged to 1/`factor` of its sides, then resized, fitted and turned upright.

    It is averaged band by band: a second copy of it, in another mode, would not fit into memory.
    """
    image.load()  # turns a TIFF
    across, down = image.size
    small = Image.new(preprocessing.mode, (-(-across // factor), -(-down // factor)))
    rows = max(1, BAND // (across * factor)) * factor
    for top in range(0, down, rows):
        band = image.crop((0, top, across, min(top + rows, down)))
        small.paste(levels.eight_bits(band).reduce(factor), (0, top // factor))
    orientation = orientation_of(image)
    lies = orientation >= 5
    target = preprocessing.width, preprocessing.height
    upright = image.size[::-1] if lies else image.size
    x, y, end, bottom = filled_part(upright, target, preprocessing.fit)
    # in averaged pixels, of which the last row and column may be half full
    part = shown_part(image.size, target[::-1] if lies else target, preprocessing.fit)
    left, upper, right, lower = (side / factor for side in part)
    size = (bottom - y, end - x) if lies else (end - x, bottom - y)
    small = small.resize(size, Image.Resampling.BICUBIC, (left, upper, right, lower))
    small.getexif()[ExifTags.Base.Orientation] = orientation
    ImageOps.exif_transpose(small, in_place=True)
    fitted = Image.new(preprocessing.mode, target, (preprocessing.level,) * preprocessing.channels)
    fitted.paste(small, (x, y))
    return fitted


def _upright(opened: Image.Image, size: Size) -> Size:
    """The size of an image that was just opened, turned as its EXIF orientation says; a PNG is decoded for it."""
    if isinstance(opened, TiffImagePlugin.TiffImageFile):  # some versions of Pillow have turned its size already
        size = opened.tag_v2[ExifTags.Base.ImageWidth], opened.tag_v2[ExifTags.Base.ImageLength]
    return size[::-1] if orientation_of(opened) >= 5 else size


@dataclass
class Pictures:
    """Image files that were read.

    Attributes:
        pixels: uint8 [n, channels, height, width], of those that can be read.
        names: n names, in the order in which they were asked for.
        sizes: width and height of each in its file, upright.
        levels: what the pixels of each were.
        unreadable: names of the others, with the reasons.
    """

    pixels: Tensor
    names: list[str]
    sizes: list[Size]
    levels: list[Levels]
    unreadable: dict[str, str] = field(default_factory=dict)


ADVICE = "Repair or remove them"


def read_pictures(
    files: Files,
    names: Sequence[str],
    preprocessing: Preprocessing,
    *,
    skip: bool = False,
    advice: str = ADVICE,
    use: Use | None = None,
) -> Pictures:
    """The images `names`, in that order; with `skip` those that can be read.

    Args:
        files: where they lie.
        names: of the files.
        preprocessing: what becomes of each.
        skip: leave out those that cannot be read.
        advice: what to do about those.
        use: makes of pictures, uint8 [n, channels, height, width], what is kept of them, [n, ...]; it is called on some
            of them at a time, so that no more than those are in memory.

    Raises:
        DataError: some files cannot be read as images, or with `skip` all of them; names the first five and says how
            many.
    """
    step = AT_A_TIME if use is not None else max(1, len(names))
    found: list[tuple[Size, Levels] | str] = []
    parts: list[Tensor] = []
    for start in range(0, max(1, len(names)), step):
        pixels, met = _some_pictures(files, names[start : start + step], preprocessing)
        found += met
        parts.append(use(pixels) if use is not None and len(pixels) else pixels)
    unreadable = {name: one for name, one in zip(names, found, strict=True) if isinstance(one, str)}
    kept = [(name, *one) for name, one in zip(names, found, strict=True) if not isinstance(one, str)]
    if unreadable and (not skip or not kept):
        raise DataError(f"{unreadable_text(files.place, unreadable, len(names))}. {advice}")
    whole = torch.cat([part for part in parts if len(part)]) if len(parts) > 1 else parts[0]
    return Pictures(
        whole, [name for name, _, _ in kept], [size for _, size, _ in kept], [levels for *_, levels in kept], unreadable
    )


def _some_pictures(
    files: Files, names: Sequence[str], preprocessing: Preprocessing
) -> tuple[Tensor, list[tuple[Size, Levels] | str]]:
    """The pixels of those that can be read, and of each its size and levels, or why it cannot."""
    pixels = np.empty((len(names), *preprocessing.shape), np.uint8)

    def keep(row: int, picture: Picture) -> tuple[Size, Levels]:
        pixels[row] = picture.pixels
        return picture.size, picture.levels

    met = each_picture(files, names, preprocessing, keep)
    kept = [row for row, one in enumerate(met) if not isinstance(one, str)]
    return torch.from_numpy(pixels if len(kept) == len(names) else pixels[kept]), met


def each_picture(
    files: Files, names: Sequence[str], preprocessing: Preprocessing, use: Callable[[int, Picture], Kept]
) -> list[Kept | str]:
    """What `use` makes of each picture and its row, in order, or why it cannot be read; the pixels are not kept."""

    def made(row: int) -> Kept | str:
        try:
            picture = decode_picture(files.read(names[row]), preprocessing)
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and more, by the byte that is wrong
            return reason_of(error)
        return use(row, picture)

    with ThreadPoolExecutor() as threads:
        # photographs decode in parallel; with small pictures the interpreter's lock makes threads slower than none
        rows = threads.map(made, range(len(names))) if _threads_pay(files, names) else map(made, range(len(names)))
        return list(rows)


def unreadable_text(place: Path, unreadable: Mapping[str, str], count: int) -> str:
    """Names the first five of the files that cannot be read for each reason, of `count`."""
    return f"{len(unreadable):,} of {count:,} image files in {place} cannot be read: {by_reason(unreadable)}"


def read_pixels(files: Files, names: Sequence[str], preprocessing: Preprocessing) -> Tensor:
    """The images `names` as uint8 [n, channels, height, width], in that order; raises as `read_pictures`."""
    return read_pictures(files, names, preprocessing).pixels


def _threads_pay(files: Files, names: Sequence[str]) -> bool:
    try:
        return len(files.read(names[0])) > THREADS_PAY
    except Exception:  # named with the others when its turn comes
        return False


def reason_of(error: Exception) -> str:
    """Why a file could not be read, in words for its user."""
    if isinstance(error, UnidentifiedImageError) and not isinstance(error, NoImageError):
        return f"not a {KINDS} image"
    if (
        isinstance(error, OSError) and error.strerror
    ):  # without the number, and without the file, which is named already
        return error.strerror
    return str(error) or type(error).__name__
