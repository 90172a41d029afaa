"""Files read without waiting and without surprise: a pipe or a device is refused, and so is a file beyond a limit."""

from __future__ import annotations

import gzip
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from semivae.data.paths import reachable
from semivae.devices import free_memory
from semivae.errors import DataError

TEXT_MEMORY = 10  # bytes of memory that a byte of a table takes, as a list of texts
LONGEST_LINE = 2**24  # characters
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how what Excel calls Unicode text starts
MOST_BYTES = 2**30  # of one image, label or palette file; large data come as arrays, which have limits of their own


def refuse_no_file(path: Path) -> None:
    """Raise a `DataError` where no regular file lies at `path`."""
    if not reachable(path).exists():
        raise DataError(f"there is no file {path.absolute()}")
    if path.is_dir():
        raise DataError(f"{path.absolute()} is a folder; give a file")
    if not path.is_file():
        raise DataError(f"{path.absolute()} is a pipe, a device or a socket; save what it gives as a file")


def open_regular(path: str | Path) -> io.FileIO:
    """A regular file, opened for reading in binary, unbuffered.

    Raises:
        OSError: no such file, one that may not be read, or a pipe, a device or a socket, which could block for ever.
    """
    try:
        stream = open(path, "rb", buffering=0, opener=_without_waiting)  # noqa: SIM115, the caller closes it
    except FileNotFoundError:
        if os.path.islink(path):
            raise FileNotFoundError("a link to a file that is not there") from None
        raise
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(f"{path} is a pipe, a device or a socket, no regular file")
    return stream


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_regular(path: str | Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        OSError: as `open_regular`, or the file is larger.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise OSError(f"{path} has {size:,} bytes; at most {most:,} are read")
        return stream.read()


def read_start(path: str | Path, size: int) -> bytes:
    """The first `size` bytes of a regular file; raises as `open_regular`."""
    with open_regular(path) as stream:
        return stream.read(size)


def open_text(path: str | Path) -> TextIO:
    """A regular file, opened for reading as UTF-8, or UTF-16 where it starts with its mark, line ends as they are.

    Raises:
        OSError: as `open_regular`, or a file whose lines would not fit into memory as Python's texts.
    """
    stream = open_regular(path)
    size, memory = os.fstat(stream.fileno()).st_size, free_memory()
    if size * TEXT_MEMORY > memory:
        stream.close()
        raise OSError(f"{path} has {size:,} bytes and takes {TEXT_MEMORY} times as many in memory; {memory:,} are free")
    buffered = io.BufferedReader(stream)
    marked = buffered.peek(2)[:2] in UTF_16
    return io.TextIOWrapper(buffered, encoding="utf-16" if marked else "utf-8-sig", newline="")


def bounded_lines(stream: TextIO, path: str | Path) -> Iterator[str]:
    """The lines of a text. Raises OSError for one of more than `LONGEST_LINE` characters."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise OSError(f"line {number:,} of {path} has more than {LONGEST_LINE:,} characters")
        yield line


class Bounded(io.BufferedIOBase):
    """A stream that raises ValueError once more than `most` bytes were read from it, for archives."""

    def __init__(self, stream: BinaryIO | io.FileIO | gzip.GzipFile, most: int) -> None:
        self.stream, self.most, self.left = stream, most, most

    def read(self, size: int | None = -1, /) -> bytes:
        content = self.stream.read(-1 if size is None else size)
        self.left -= len(content)
        if self.left < 0:
            raise ValueError(f"it unpacks to more than {self.most:,} bytes")
        return content

    def close(self) -> None:
        self.stream.close()
        super().close()
