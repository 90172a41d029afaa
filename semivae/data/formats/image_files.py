"""Image files as pixels of one size."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from semivae.data.formats.file_trees import Files
from semivae.data.formats.raster import KINDS, LARGE, open_header, open_raster
from semivae.errors import DataError
from semivae.text import join_names

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
THREADS_PAY = 50_000  # bytes of a file from which on threads are faster
MOST_AVERAGED = 128  # pixels a side that become one; with more Pillow's `reduce` divides too coarsely, white gets grey
BAND = 4_000_000  # pixels of a large picture that are averaged at once


def is_image(name: str) -> bool:
    """Whether a file's name ends like an image's."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def decode_image(content: bytes, channels: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """The pixels of an image file, resized (shorter side) and centre-cropped: uint8 [channels, height, width].

    The picture is turned as its EXIF orientation says; transparency is dropped; 16-bit grey becomes 8-bit. A JPEG of
    four times the size or more is decoded at a fraction of its own, and a picture of many megapixels is averaged before
    it is resized; both keep at least twice the size.

    Raises:
        ValueError: 32-bit pixels, of which nobody says what is white; or more pixels than are decoded.
        OSError, SyntaxError and more: Pillow's, for what is no image.
    """
    needed = 2 * max(height, width)
    with open_raster(content, needed) as opened:
        if opened.mode == "F" or (opened.mode == "I" and opened.format == "TIFF"):
            raise ValueError("32-bit pixels, which have no white; save them with 8 or 16 bits")
        factor = min(min(opened.size) // needed, MOST_AVERAGED)
        if factor > 1 and opened.width * opened.height > LARGE:
            image = _averaged(opened, channels, factor, height, width)
        else:
            ImageOps.exif_transpose(opened, in_place=True)
            image = _eight_bits(opened, channels)
            if image.size != (width, height):
                image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
        pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _eight_bits(image: Image.Image, channels: int) -> Image.Image:
    """An image as one byte of grey, or three of colour, a pixel."""
    if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion would cut everything above 255 off
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:  # without this Pillow warns
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")


def _averaged(image: Image.Image, channels: int, factor: int, height: int, width: int) -> Image.Image:
    """A large image, averaged to 1/`factor` of its sides, then resized, cropped and turned upright.

    It is averaged band by band: a second copy of it, in another mode, would not fit into memory.
    """
    image.load()  # turns a TIFF
    across, down = image.size
    small = Image.new("L" if channels == 1 else "RGB", (-(-across // factor), -(-down // factor)))
    rows = max(1, BAND // (across * factor)) * factor
    for top in range(0, down, rows):
        band = image.crop((0, top, across, min(top + rows, down)))
        small.paste(_eight_bits(band, channels).reduce(factor), (0, top // factor))
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    size = (height, width) if orientation >= 5 else (width, height)
    scale = min(across / size[0], down / size[1]) / factor
    left, upper = (across / factor - scale * size[0]) / 2, (down / factor - scale * size[1]) / 2
    box = (left, upper, left + scale * size[0], upper + scale * size[1])  # its last row and column may be half full
    small = small.resize(size, Image.Resampling.BICUBIC, box)
    small.getexif()[ExifTags.Base.Orientation] = orientation
    ImageOps.exif_transpose(small, in_place=True)
    return small


def upright_size(content: bytes) -> tuple[int, int]:
    """Width and height of an image file, turned as its EXIF orientation says."""
    with open_header(content) as opened:
        width, height = opened.size
        if isinstance(opened, TiffImagePlugin.TiffImageFile):  # some versions of Pillow have turned its size already
            width, height = opened.tag_v2[ExifTags.Base.ImageWidth], opened.tag_v2[ExifTags.Base.ImageLength]
        lies = opened.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    return (height, width) if lies else (width, height)


def read_pixels(files: Files, names: Sequence[str], shape: tuple[int, int, int]) -> Tensor:
    """The images `names` as uint8 [n, channels, height, width], in that order.

    Raises:
        DataError: some files cannot be read as images; names the first five and says how many.
    """
    pixels = np.empty((len(names), *shape), np.uint8)

    def fill(row: int) -> str | None:
        try:
            pixels[row] = decode_image(files.read(names[row]), *shape)
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and more, by the byte that is wrong
            return f"{names[row]} ({reason_of(error)})"
        return None

    with ThreadPoolExecutor() as threads:
        # photographs decode in parallel; with small pictures the interpreter's lock makes threads slower than none
        rows = threads.map(fill, range(len(names))) if _threads_pay(files, names) else map(fill, range(len(names)))
        broken = [message for message in rows if message is not None]
    if broken:
        raise DataError(
            f"{len(broken):,} of {len(names):,} image files in {files.place} cannot be read: {join_names(broken)}. "
            "Repair or remove them"
        )
    return torch.from_numpy(pixels)


def _threads_pay(files: Files, names: Sequence[str]) -> bool:
    try:
        return len(files.read(names[0])) > THREADS_PAY
    except Exception:  # named with the others when its turn comes
        return False


def reason_of(error: Exception) -> str:
    """Why a file could not be read, in words for its user."""
    if isinstance(error, UnidentifiedImageError):
        return f"not a {KINDS} image"
    return str(error) or type(error).__name__
