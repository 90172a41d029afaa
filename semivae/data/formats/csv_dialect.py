"""What parts the cells of a text file, and whether it is a table of text at all."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semivae.data.formats.cell_texts import CellStyle
from semivae.data.formats.known_files import HEAD as HEAD_OF_FILE
from semivae.data.formats.known_files import known_file
from semivae.data.formats.regular_files import read_start
from semivae.errors import DataError
from semivae.text import nearest

DELIMITERS = (",", ";", "\t", "|")
OTHERS = "^~:#!\x01\x1f"  # signs that part cells where a line `sep=` says so
INSTEAD = "write commas or tabs in their place"
SAMPLE, HEAD = 30, 2**20  # rows that are looked at, within so many characters


def refuse_no_text(path: Path) -> None:
    """Raises DataError for a file that is known, by its first bytes, to be no text; OSError where it cannot be read."""
    refuse_known(read_start(path, HEAD_OF_FILE), path)


def refuse_known(start: bytes, path: Path) -> None:
    """Raises DataError for a file that is known, by its first bytes, to be something else than a table of text."""
    if start and (known := known_file(start)):
        raise DataError(f"{path} is {known[0]}; {known[1]}")


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
        lines = io.StringIO(head, newline="")
        for row in csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True):
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


def why_no_column(wanted: str, names: Sequence[str]) -> str:
    """A hint, with a semicolon before it, on why a table has no column `wanted`; "" if nothing is seen.

    Another separator, a row in the place of the names, or a name that is nearly the wanted one.
    """
    if parted := parted_otherwise(names, wanted):
        return parted
    if look_like_a_row(names):
        return "; the first line seems to be a row: add a line of names above it"
    near = nearest(wanted, names)
    return f"; did you mean {near}?" if near else ""


def look_like_a_row(names: Sequence[str]) -> bool:
    """Whether most names of columns are numbers."""
    return 2 * sum(CellStyle().number(name) is not None for name in names) > len(names)


def parted_otherwise(names: Sequence[str], wanted: str = "") -> str:
    """A hint, with a semicolon before it, where a table has one column, whose name seems to be several; else "".

    Args:
        names: of all its columns.
        wanted: a column that should be there; "" for any.
    """
    if len(names) != 1:
        return ""
    for sign in OTHERS:
        parts = [part.strip() for part in names[0].split(sign)]
        if len(parts) > 1 and all(parts) and (wanted in parts or not wanted):
            instead = f"write the line sep={sign} above the names" if sign.isprintable() else INSTEAD
            return f"; if cells are parted by {sign!r}, {instead}"
    if wanted in names[0].split():
        return f"; if cells are parted by spaces, {INSTEAD}"
    return ""
