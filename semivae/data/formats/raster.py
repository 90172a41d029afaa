"""Image files of strangers, opened: raster formats alone, and their size is checked before a pixel is decoded."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib import import_module
from importlib.util import find_spec

# each plugin registers its format; only these are ever asked, whatever a file is called
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from semivae.data.formats.known_files import HEAD, known_file
from semivae.data.formats.png import refuse_short

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
KINDS = "PNG, JPEG, BMP, GIF, TIFF, WebP or PNM"
HEIF_FORMATS = ("HEIF", "AVIF")  # read where the extra `heic` is installed
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"}
HEIF_ADVICE = "a HEIC or AVIF image, which pip install 'semivae[heic]' lets semivae read"
MOST_PIXELS = 400_000_000  # decoded at once: 1.6 GB of memory
MOST_PIXELS_WEBP = 100_000_000  # its decoder, and those of HEIC and AVIF, hold four copies
MOST_PIXELS_JPEG = 4 * MOST_PIXELS  # where it is decoded at a half of its sides or less
MOST_PIXELS_SCANS = 200_000_000  # of a progressive JPEG, whose decoder holds six bytes a pixel whatever the scale
MOST_PIXELS_READ = 20 * MOST_PIXELS_SCANS  # in all of its scans: an empty one is short in the file, not in time
LARGE = 32_000_000  # pixels from which on pictures are decoded one at a time
TIFF_COMPRESSIONS = {
    "raw", "tiff_ccitt", "group3", "group4", "tiff_lzw", "jpeg", "tiff_adobe_deflate", "tiff_raw_16", "packbits",
    "tiff_deflate", "lzma", "zstd",
}  # fmt: skip
TIFF_SMALL, TIFF_RATIO = 2**26, 2000  # bytes of pixels that any TIFF may hold, and how many a byte of a larger one
TIFF_STRIP = 2**30  # bytes that are unpacked beside the picture
_one_at_a_time = threading.RLock()


class NoImageError(UnidentifiedImageError):
    """A file of none of `FORMATS`; the message says what it is, if its first bytes do."""

    def __init__(self, content: bytes) -> None:
        known = known_file(content[:HEAD])
        super().__init__(f"not a {KINDS} image" + (f" but {known[0]}: {known[1]}" if known else ""))


@contextmanager
def open_raster(content: bytes, needed: int | None = None) -> Iterator[Image.Image]:
    """An image file, opened and its size checked; only a PNG is decoded already.

    Pillow's own limit is not asked: it stops pictures of 180 million pixels, which microscopes and telescopes take.

    Args:
        content: the file's bytes.
        needed: a JPEG is decoded at 1/2, 1/4 or 1/8 of its sides while the shorter one keeps so many pixels.

    Raises:
        ValueError: more pixels than are decoded, a TIFF that unpacks to much more than it holds, a PNG that lacks
            rows, or a HEIC or AVIF image where what reads them is not installed.
        UnidentifiedImageError: none of `FORMATS`.
        OSError, SyntaxError and more: Pillow's, for what is damaged.
    """
    with open_header(content) as image:
        given = image.size
        if needed is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
            image.draft(None, (needed, needed))
        _refuse_large(image, given, content)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            _refuse_swelling(image, len(content))
        # Pillow's plugin for TIFF asks its limit while decoding
        with _alone(None) if _pixels(image.size) > LARGE else nullcontext():
            if isinstance(image, PngImagePlugin.PngImageFile):
                refuse_short(image, content)
            yield image


@contextmanager
def _alone(limit: int | None) -> Iterator[None]:
    """One picture at a time, and with another limit of Pillow's, which warns above it and refuses above twice it."""
    with _one_at_a_time:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limit
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _frames_checked() -> Iterator[None]:
    """Lets the plugin for GIF, which checks the size of each frame, refuse all that is not decoded anyway."""
    with _alone(MOST_PIXELS), warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
        yield


def open_header(content: bytes) -> Image.Image:
    """An image file, opened for what its header says, whatever its size: by the first of `FORMATS` that takes it.

    Raises:
        UnidentifiedImageError: none does.
        ValueError: a HEIC or AVIF image, and what reads them is not installed.
    """
    formats: tuple[str, ...] = FORMATS
    if content[4:8] == b"ftyp" and content[8:12] in HEIF_BRANDS:
        if not reads_heif():
            raise ValueError(HEIF_ADVICE)
        formats = HEIF_FORMATS
    for name in formats:
        factory, accepts = Image.OPEN[name]
        if accepts is not None and accepts(content[:16]) is not True:
            continue
        try:
            with _frames_checked() if name == "GIF" else nullcontext():
                return factory(io.BytesIO(content), "")
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # checked by their plugins
            most = MOST_PIXELS_WEBP if name == "WEBP" else MOST_PIXELS
            raise ValueError(f"more pixels than are decoded ({most:,}); scale it down") from error
        except (SyntaxError, IndexError, TypeError, struct.error) as error:  # the plugin finds it to be none
            raise UnidentifiedImageError(str(error)) from error
    raise NoImageError(content)


@cache
def reads_heif() -> bool:
    """Whether HEIC and AVIF images are read, which asks for a package of its own."""
    if find_spec("pillow_heif") is None:
        return False
    import_module("pillow_heif").register_heif_opener()
    import_module("PIL.AvifImagePlugin")
    return all(name in Image.OPEN for name in HEIF_FORMATS)


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _refuse_large(image: Image.Image, given: tuple[int, int], content: bytes) -> None:
    """Raises ValueError for an image that would take too much memory or time; `given` is its size in the file."""
    most = MOST_PIXELS_WEBP if image.format in ("WEBP", *HEIF_FORMATS) else MOST_PIXELS
    most_given, scans = (MOST_PIXELS_JPEG if image.size != given else most), 0
    if image.format in ("JPEG", "MPO", "TIFF"):
        scans = content.count(b"\xff\xda") - image.info.get("exif", b"").count(b"\xff\xda")  # not of a thumbnail
        if scans > 1:
            most_given = MOST_PIXELS_SCANS
    if image.format in HEIF_FORMATS:
        given = max([given, *_coded_sizes(content)], key=_pixels)  # of which a smaller part may be shown
    if _pixels(image.size) > most or _pixels(given) > most_given:
        raise ValueError(
            f"{given[0]:,} x {given[1]:,} pixels, {_pixels(given) // 10**6:,} million; up to "
            f"{min(most, most_given) // 10**6:,} million are decoded: scale it down or cut it into tiles"
        )
    if scans > 1 and scans * _pixels(given) > MOST_PIXELS_READ:
        raise ValueError(f"{scans:,} scans of {given[0]:,} x {given[1]:,} pixels; save the JPEG again, not progressive")


def _coded_sizes(content: bytes) -> list[tuple[int, int]]:
    """The sizes that the boxes `ispe` in the head of a HEIC or AVIF file announce."""
    place = 0
    while place + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"meta":
            head = content[place : place + size] if size > 1 else content[place:]
            boxes = head.split(b"ispe")[1:]
            return [struct.unpack_from(">4xII", box) for box in boxes if len(box) >= 12]
        if size < 8:  # a long box, or one to the end of the file: no head that a decoder would look for here
            break
        place += size
    return []


def _refuse_swelling(image: TiffImagePlugin.TiffImageFile, size: int) -> None:
    """Raises ValueError for a TIFF whose pixels are out of proportion to its `size`, or packed in a rare way."""
    packed = str(image.info.get("compression", "raw"))
    if packed not in TIFF_COMPRESSIONS:
        raise ValueError(f"a TIFF packed as {packed}, which is not read; save it as PNG")
    tags = image.tag_v2
    tile = int(tags.get(TiffImagePlugin.TILEWIDTH, 0)) * int(tags.get(TiffImagePlugin.TILELENGTH, 0))
    bits = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)) * max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    unpacked = max(_pixels(image.size), tile) * bits // 8
    rows = min(image.height, int(tags.get(TiffImagePlugin.ROWSPERSTRIP, image.height)))
    if packed != "raw" and max(rows * image.width, tile) * bits // 8 > TIFF_STRIP:
        raise ValueError(f"a TIFF in one strip or tile of more than {TIFF_STRIP:,} bytes; save it in smaller ones")
    if unpacked > TIFF_SMALL and unpacked > TIFF_RATIO * size:
        raise ValueError(f"a TIFF of {size:,} bytes that unpacks to {unpacked:,}; save it as PNG")
