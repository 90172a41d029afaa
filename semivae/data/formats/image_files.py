"""Image files in a folder or in a .zip: their names, and their pixels at one size."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from semivae.errors import DataError
from semivae.text import join_names

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
LARGE = 50_000  # bytes of a file from which on threads pay
LEFT_BY_SYSTEMS = {"__MACOSX", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Files:
    """What lies in a folder or a .zip, hidden files left out.

    Attributes:
        place: the folder or the .zip, for messages.
        names: every file, relative to the place, with slashes, sorted.
        folders: every folder, likewise.
        read: the bytes of a file by its name.
    """

    place: Path
    names: tuple[str, ...]
    folders: tuple[str, ...]
    read: Callable[[str], bytes]


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """The files in `path`, a folder or a .zip file.

    Raises:
        DataError: there is no such folder or .zip file, or it cannot be read.
    """
    if path.is_dir():
        yield _in_folder(path)
    elif path.suffix.lower() == ".zip" and path.is_file():
        try:
            archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise DataError(f"{path} is no .zip file that can be read ({error}); get it again") from error
        with archive:
            yield _listing(path, [info.filename for info in archive.infolist()], archive.read)
    elif path.exists():
        raise DataError(f"{path.absolute()} is neither a folder nor a .zip file")
    else:
        raise DataError(f"there is no folder {path.absolute()}")


def _in_folder(path: Path) -> Files:
    names: list[str] = []
    for place, folders, files in os.walk(path, followlinks=True):
        real = os.path.realpath(place)  # a link to a folder above would lead round for ever
        folders[:] = [name for name in folders if not _hidden(name) and not _leads_up(os.path.join(place, name), real)]
        inside = Path(place).relative_to(path)
        names += [(inside / name).as_posix() + "/" for name in folders]
        names += [(inside / name).as_posix() for name in files]
    return _listing(path, names, lambda name: (path / name).read_bytes())


def _listing(place: Path, entries: Sequence[str], read: Callable[[str], bytes]) -> Files:
    """`entries` as a .zip lists them: folders end in a slash, and need not be listed at all."""
    entries = [entry for entry in entries if not any(_hidden(part) for part in entry.split("/"))]
    names = [entry for entry in entries if not entry.endswith("/")]
    folders = {entry.rstrip("/") for entry in entries if entry.endswith("/")}
    folders |= {str(parent) for entry in entries for parent in PurePosixPath(entry).parents}
    return Files(place, tuple(sorted(names)), tuple(sorted(folders - {"."})), read)


def _leads_up(folder: str, real: str) -> bool:
    """Whether a folder is a link to the one that it lies in, whose real path is `real`, or to one above."""
    target = os.path.realpath(folder)
    return os.path.islink(folder) and os.path.commonpath([target, real]) == target


def _hidden(part: str) -> bool:
    return part.startswith(".") or part in LEFT_BY_SYSTEMS


def is_image(name: str) -> bool:
    """Whether a file's name ends like an image's."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def decode_image(content: bytes, channels: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """The pixels of an image file, resized (shorter side) and centre-cropped: uint8 [channels, height, width].

    The picture is turned as its EXIF orientation says; transparency is dropped; 16-bit grey becomes 8-bit.

    Raises:
        ValueError: 32-bit pixels, of which nobody says what is white.
        OSError, SyntaxError and more: Pillow's, for what is no image.
    """
    with Image.open(io.BytesIO(content)) as opened:
        if opened.mode == "F" or (opened.mode == "I" and opened.format == "TIFF"):
            raise ValueError("32-bit pixels, which have no white; save them with 8 or 16 bits")
        image: Image.Image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion would cut everything above 255 off
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        if image.mode == "P" and "transparency" in image.info:  # without this Pillow warns
            image = image.convert("RGBA")
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
        pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def upright_size(content: bytes) -> tuple[int, int]:
    """Width and height of an image file, turned as its EXIF orientation says."""
    with Image.open(io.BytesIO(content)) as opened:
        width, height = opened.size
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
        rows = threads.map(fill, range(len(names))) if _large(files, names) else map(fill, range(len(names)))
        broken = [message for message in rows if message is not None]
    if broken:
        raise DataError(
            f"{len(broken):,} of {len(names):,} image files in {files.place} cannot be read: {join_names(broken)}. "
            "Repair or remove them"
        )
    return torch.from_numpy(pixels)


def _large(files: Files, names: Sequence[str]) -> bool:
    try:
        return len(files.read(names[0])) > LARGE
    except Exception:  # named with the others when its turn comes
        return False


def reason_of(error: Exception) -> str:
    """Why a file could not be read, in words for its user."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return str(error) or type(error).__name__
