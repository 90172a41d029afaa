"""Columns of cells, each read at most once as numbers and once as texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from semivae.data.formats.cell_texts import CellStyle, distinct_cells, numbers_of, plain_numbers


@dataclass(frozen=True)
class Numbers:
    """A column as numbers: `values` [n], NaN where there is none, and what each cell is (`cell_texts.NUMBER` ...)."""

    values: NDArray[np.float64]
    kinds: NDArray[np.int8]


@dataclass(frozen=True)
class Coded:
    """A column as texts.

    Attributes:
        texts: the different ones, without spaces around them.
        codes: which of them each cell has, [n]; -1 where it is missing.
        marks: texts of missing cells, but for the empty one.
    """

    texts: list[str]
    codes: NDArray[np.intp]
    marks: list[str]

    def counts(self, rows: NDArray[np.intp] | slice = slice(None)) -> NDArray[np.intp]:
        """How often each text occurs in some rows, [len(texts)]."""
        codes = self.codes[rows]
        return np.bincount(codes[codes >= 0], minlength=len(self.texts))


class Column:
    """The cells of a column.

    Args:
        cells: as they are in the file, row by row.
        style: how they are written.
    """

    def __init__(self, cells: Sequence[str], style: CellStyle) -> None:
        self.cells, self.style = cells, style

    def __len__(self) -> int:
        return len(self.cells)

    @cached_property
    def _distinct(self) -> tuple[list[str], NDArray[np.intp]]:
        return distinct_cells(self.cells)

    @cached_property
    def numbers(self) -> Numbers:
        """The cells as numbers."""
        quick = plain_numbers(self.cells, self.style)
        if quick is not None:
            return Numbers(*quick)
        texts, codes = self._distinct
        values, kinds = numbers_of(texts, self.style)
        return Numbers(values[codes], kinds[codes])

    @cached_property
    def coded(self) -> Coded:
        """The cells as texts."""
        texts, codes = self._distinct
        places: dict[str, int] = {}
        found = [-1 if self.style.is_missing(text) else places.setdefault(text.strip(), len(places)) for text in texts]
        marks = sorted({text.strip() for text, place in zip(texts, found, strict=True) if place < 0} - {""})
        return Coded(list(places), np.array(found, np.intp)[codes] if found else codes, marks)
