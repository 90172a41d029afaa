"""Arrays in .npz and .npy files, read without running code, and only where they fit into memory."""

from __future__ import annotations

import warnings
import zipfile
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import IO, BinaryIO

from numpy.lib import format as npy

from semivae.data.formats.known_files import HEAD, known_file
from semivae.data.formats.regular_files import read_start, refuse_no_file
from semivae.data.inputs.pixels import Array
from semivae.devices import free_memory
from semivae.errors import DataError
from semivae.text import shortened

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class _ObjectsError(ValueError):
    """Arrays of Python objects are pickles, which could run code."""


def load_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an .npz by name, or the one of an .npy under the name "". Pickled objects are never opened.

    Raises:
        DataError: no such file, not such a file, damaged, larger than the memory that is free, or it holds Python
            objects.
    """
    refuse_no_file(path)
    try:
        with path.open("rb") as stream:
            if zipfile.is_zipfile(stream):
                return _members(stream, path)
            stream.seek(0)
            _refuse_beyond_memory(path.stat().st_size, path)
            return {"": _array(stream, path.stat().st_size)}
    except DataError:
        raise
    except _ObjectsError as error:
        raise DataError(
            f"{path} holds Python objects, which are not opened because they could run code; "
            "save plain arrays, for example strings as np.array(names, dtype=str)"
        ) from error
    except Exception as error:  # numpy and zipfile raise much, by the byte that is wrong
        known = _known(path)
        reason = "it is " + "; ".join(known) if known else shortened(str(error), 200) or type(error).__name__
        raise DataError(f"{path} is no .npy or .npz file that can be read ({reason})") from error


def _known(path: Path) -> tuple[str, str] | None:
    """What a file is that holds no arrays; None for one that begins as such files do, and for an unknown one."""
    with suppress(OSError):
        start = read_start(path, HEAD)
        return None if start.startswith((npy.MAGIC_PREFIX, b"PK")) else known_file(start)
    return None


def _members(stream: BinaryIO, path: Path) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(stream) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        _refuse_beyond_memory(sum(info.file_size for info in members), path)
        for info in members:
            name = info.filename.removesuffix(".npy")
            if name in arrays:
                raise ValueError(f"two arrays are called {name}")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a limit
                raise ValueError("packed in a way that NumPy does not use")
            with archive.open(info) as member:
                arrays[name] = _array(member, info.file_size)
    return arrays


def _refuse_beyond_memory(size: int, path: Path) -> None:
    if size > (memory := free_memory()):
        raise DataError(f"{path} holds arrays of {size:,} bytes, but only {memory:,} bytes of memory are free")


def _array(stream: IO[bytes], size: int) -> Array:
    """One array of a stream of `size` bytes, after its header was found to announce no more than that.

    NumPy makes room for what the header announces before it reads.
    """
    version = npy.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"version {version} of .npy, of arrays with named fields")
    with warnings.catch_warnings():  # of headers that Python 2 wrote, or that are damaged: they are read, or refused
        warnings.simplefilter("ignore")
        shape, _, dtype = HEADERS[version](stream)
    if dtype.hasobject:
        raise _ObjectsError
    count = prod(list(shape))
    if min(shape, default=0) < 0 or (count and not dtype.itemsize):
        raise ValueError(f"an array of shape {list(shape)} and type {dtype}")
    if count * dtype.itemsize > size - stream.tell():
        raise ValueError(f"an array {list(shape)} of {dtype} in {size:,} bytes")
    stream.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array: Array = npy.read_array(stream, allow_pickle=False)
    return array
