"""What parts the cells of a text file, and whether it is a table of text at all."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from semivae.data.formats.regular_files import open_regular
from semivae.errors import DataError

DELIMITERS = (",", ";", "\t", "|")
SAMPLE, HEAD = 30, 2**20  # rows that are looked at, within so many characters
NO_TEXT = (  # how files start that are no text, and what to do about them
    (b"PK\x03\x04", "a workbook or an archive; save the sheet as CSV (UTF-8), or unpack the archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV (UTF-8)"),
    (b"\x1f\x8b", "compressed by gzip; unpack it with gunzip"),
    (b"BZh", "compressed by bzip2; unpack it with bunzip2"),
    (b"\xfd7zXZ\x00", "compressed by xz; unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it with unzstd"),
    (b"PAR1", "a Parquet file; call it so (.parquet)"),
    (b"SQLite format 3", "a database; export the table as CSV (UTF-8)"),
    (b"\x93NUMPY", "a NumPy array; call it .npy and use the source arrays"),
    (b"%PDF", "a PDF; save the table as CSV (UTF-8)"),
)


def refuse_no_text(path: Path) -> None:
    """Raises DataError for a file that is known, by its first bytes, to be no text; OSError where it cannot be read."""
    with open_regular(path) as stream:
        start = stream.read(512)
    for mark, what in NO_TEXT:
        if start.startswith(mark):
            raise DataError(f"{path} is {what}")
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        raise DataError(f"{path} is a web page or XML; get the file that the page speaks of, as CSV")


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Attributes:
        delimiter: what parts cells.
        start: where the line that names the columns starts, in characters.
    """

    delimiter: str
    start: int


def dialect_of(text: str) -> Dialect:
    """The dialect of a table: what its line `sep=;` says, else the delimiter by which its first rows agree.

    Quoted cells count as one, whatever they hold. Empty lines before the names are passed over.
    """
    start = _first(text, 0)
    if said := re.compile(r'"?sep=([^\r\n"])"?[,;\t|]*(?:\r\n|\r|\n|$)', re.IGNORECASE).match(text, start):
        return Dialect(said[1], _first(text, said.end()))
    head = text[start : start + HEAD]
    scores = {delimiter: _agreement(head, delimiter) for delimiter in DELIMITERS}
    return Dialect(max(DELIMITERS, key=lambda delimiter: scores[delimiter]), start)


def _first(text: str, start: int) -> int:
    """Where the first line that is not empty starts."""
    blank = re.compile(r"(?:[^\S\r\n]*(?:\r\n|\r|\n))*").match(text, start)
    return start if blank is None else blank.end()


def _agreement(head: str, delimiter: str) -> tuple[float, int]:
    """The share of the first rows that have as many cells as the first, if that are two or more, and how many."""
    widths: list[int] = []
    whole = True
    try:
        for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, strict=True):
            widths += [len(row)] if row else []
            if len(widths) == SAMPLE:
                break
        else:
            widths = widths[:-1] if len(head) == HEAD and len(widths) > 1 else widths  # the last row may be cut
    except csv.Error:  # quotes that this delimiter does not explain
        whole = False
    if not widths or widths[0] < 2:
        return 0.0, 0
    agreeing = sum(width == widths[0] for width in widths) / len(widths)
    return (agreeing if whole else agreeing / 2), widths[0]
