"""What the text of a cell means: nothing, a number, or a text."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

# Of a cell, in whatever case. None may well be a class or a category, so it stands for nothing among numbers only.
MISSING = (
    *("na", "n/a", "nan", "nat", "null", "?", "<na>"),
    *("#n/a", "#na", "#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"),  # Excel's
)
NO_NUMBER = {
    *("none", "-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "*", "missing", "unknown", "not available"),
    *("n.a.", "n. a.", "n.d.", "nd", "k.a."),
}
INFINITE = {"inf", "infinity"}
GROUPING = {"comma": "[,]", "point": "[.]", "space": "[ \u00a0\u202f]", "apostrophe": "['\u2019]"}
Thousands = Literal["comma", "point", "space", "apostrophe"]

NUMBER, NOTHING, NO_NUMBER_MARK, TEXT = range(4)  # what a cell of a column of numbers is


class QuickCells(Sequence[str]):
    """Cells of a column for which some questions are answered faster than one by one."""

    @abstractmethod
    def distinct(self) -> tuple[list[str], NDArray[np.intp]]:
        """The different cells in the order in which they come first, and which of them each cell is, [n]."""

    @abstractmethod
    def numbers(self, style: CellStyle) -> tuple[NDArray[np.float64], NDArray[np.int8]] | None:
        """What `plain_numbers` says of the cells."""

    @abstractmethod
    def joined(self, columns: Sequence[Sequence[str]], separator: str) -> list[str] | None:
        """The cells of each row of some columns in one text; None where that is no faster."""


class CellStyle(BaseModel):
    """How cells are written.

    Attributes:
        decimal: what parts whole numbers from fractions.
        thousands: what stands between groups of three digits; None where nothing may.
        missing: texts that mean a missing cell, in whatever case; an empty cell always does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    decimal: Literal["point", "comma"] = "point"
    thousands: Thousands | None = None
    missing: tuple[str, ...] = MISSING

    def is_missing(self, cell: str) -> bool:
        """Whether a cell is empty or holds a mark of a missing one."""
        return cell.strip().lower() in _marks(self.missing)

    def number(self, cell: str) -> float | None:
        """The number that a cell holds, infinity too; None if it holds none. A number has ASCII digits and no `_`."""
        text = cell.strip().replace("\u2212", "-")
        if text.lower().lstrip("+-") in INFINITE:
            return math.inf
        if not _grammar(self.decimal, self.thousands).fullmatch(text):
            return None
        if self.thousands is not None:
            text = re.sub(GROUPING[self.thousands], "", text)
        return float(text.replace(",", ".") if self.decimal == "comma" else text)

    def written(self, text: str) -> str:
        """A number as Python writes it, as cells have it."""
        return text.replace(".", ",") if self.decimal == "comma" else text


@lru_cache
def _marks(missing: tuple[str, ...]) -> frozenset[str]:
    return frozenset({"", *(mark.strip().lower() for mark in missing)})


@lru_cache
def spellings(missing: tuple[str, ...]) -> frozenset[str]:
    """The marks of missing cells in every case, for a quick search."""
    short = [mark for mark in _marks(missing) if len(mark) <= 8]
    return frozenset("".join(each) for mark in short for each in product(*({c, c.upper()} for c in mark)))


@lru_cache
def _grammar(decimal: str, thousands: str | None) -> re.Pattern[str]:
    point = "[.]" if decimal == "point" else ","
    whole = r"\d+" if thousands is None else rf"(?:\d{{1,3}}(?:{GROUPING[thousands]}\d{{3}})+|\d+)"
    return re.compile(rf"[+-]?(?:{whole}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def plain_numbers(cells: Sequence[str], style: CellStyle) -> tuple[NDArray[np.float64], NDArray[np.int8]] | None:
    """What `numbers_of` gives, quickly, for cells that hold finite numbers with a decimal point or are missing.

    None if there is any other cell; the result is then `numbers_of`'s to find.
    """
    if style.decimal != "point":
        return None
    if isinstance(cells, QuickCells):
        return cells.numbers(style)
    present, lacking = list(filter(None, cells)), {""}  # most missing cells are empty
    if present and style.number(present[0]) is None and not style.is_missing(present[0]):
        return None  # of texts, all would be looked at for nothing
    found = _plain_floats(present)
    if found is None and (missing := spellings(style.missing).intersection(present)):
        present, lacking = [cell for cell in present if cell not in missing], {"", *missing}
        found = _plain_floats(present)
    if found is None:
        return None
    if len(present) == len(cells):
        return found, np.zeros(len(cells), np.int8)
    kinds = np.fromiter(map(lacking.__contains__, cells), np.int8, len(cells))  # NUMBER is 0, NOTHING 1
    values = np.full(len(cells), math.nan)
    values[kinds == NUMBER] = found
    return values, kinds


def distinct_cells(cells: Sequence[str]) -> tuple[list[str], NDArray[np.intp]]:
    """The different cells in the order in which they come first, and which of them each cell is, [n]."""
    if isinstance(cells, QuickCells):
        return cells.distinct()
    places = {cell: place for place, cell in enumerate(dict.fromkeys(cells))}
    return list(places), np.fromiter(map(places.__getitem__, cells), np.intp, len(cells))


def joined_rows(columns: Sequence[Sequence[str]], separator: str) -> list[str]:
    """The cells of each row in one text."""
    first = columns[0]
    quick = first.joined(columns, separator) if isinstance(first, QuickCells) else None
    return list(map(separator.join, zip(*columns, strict=True))) if quick is None else quick


def _plain_floats(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Finite numbers with a decimal point, ASCII digits and no `_`; None if a cell is anything else."""
    joined = "\n".join(cells)
    if "_" in joined or not joined.isascii():  # float() takes 1_2 for 12, and digits of other scripts
        return None
    try:
        found = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None


def numbers_of(cells: Sequence[str], style: CellStyle) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """What cells are in a column of numbers.

    Returns:
        Values [n], NaN where there is none; and for each NUMBER (of which infinity is one), NOTHING, NO_NUMBER_MARK or
        TEXT, [n].
    """
    values, kinds = np.full(len(cells), math.nan), np.zeros(len(cells), np.int8)
    for place, cell in enumerate(cells):
        number = style.number(cell)
        if number is not None:
            values[place] = number
        elif style.is_missing(cell):
            kinds[place] = NOTHING
        else:
            kinds[place] = NO_NUMBER_MARK if cell.strip().lower() in NO_NUMBER else TEXT
    return values, kinds
