"""Columns of cells, each read at most once as numbers and once as texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from semivae.data.formats.cell_texts import CellStyle, numbers_of, plain_numbers


@dataclass(frozen=True)
class Numbers:
    """A column as numbers: `values` [n], NaN where there is none, and what each cell is (`cell_texts.NUMBER` ...)."""

    values: NDArray[np.float64]
    kinds: NDArray[np.int8]


@dataclass(frozen=True)
class Coded:
    """A column as texts: the different ones without spaces around them, and which one each cell has, -1 for none."""

    texts: list[str]
    codes: NDArray[np.intp]

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
        places = {cell: place for place, cell in enumerate(dict.fromkeys(self.cells))}
        return list(places), np.fromiter(map(places.__getitem__, self.cells), np.intp, len(self.cells))

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
        return Coded(list(places), np.array(found, np.intp)[codes] if found else codes)
