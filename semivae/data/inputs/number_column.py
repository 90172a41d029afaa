"""The label's column of a table where the label is a number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from semivae.data.dataset import LabelInfo
from semivae.data.formats.cell_texts import NUMBER, TEXT
from semivae.data.formats.number_labels import hold_out_groups, number_doubts, number_values
from semivae.data.formats.number_looks import ADVICE, look_of
from semivae.data.inputs.columns import Column
from semivae.errors import DataError

OF_LABELS = {  # what to do about labels by what they look like
    **{look: ADVICE[look] for look in ("money", "percent", "unit")},
    **dict.fromkeys(("decimal comma", "thousands", "decimal comma, thousands", "thousands apart"), ADVICE[""]),
    "date": "write a number, such as days",
}


class NumberColumn:
    """The numbers of a table's rows, as `semivae.data.inputs.table_labels.TableLabels` has their classes.

    Args:
        column: the label's column.
        unlabelled: texts that mean no label, in whatever case, beside those that mean a missing cell.

    Attributes:
        texts, codes: the different texts, and which of them each row has, int [n]; -1 for no label.
        rows: int [known], the rows that have a label.
        called: what each text is called: as it is written.
    """

    def __init__(self, column: Column, unlabelled: Sequence[str]) -> None:
        coded = column.coded
        marks = {mark.strip().lower() for mark in unlabelled}
        marked = np.array([text.lower() in marks for text in coded.texts] + [True])[coded.codes]
        self.column, self.texts = column, coded.texts
        self.codes: NDArray[np.intp] = np.where(marked, -1, coded.codes)
        self.called = {text: text for text in self.texts}
        self._numbers = column.numbers
        self.rows: NDArray[np.intp] = np.flatnonzero((self.codes >= 0) & (self._numbers.kinds == NUMBER))
        self._wrong = np.flatnonzero((self.codes >= 0) & (self._numbers.kinds == TEXT))
        self.codes[np.setdiff1d(np.arange(len(self.codes)), self.rows)] = -1

    def info(self, what: str) -> LabelInfo:
        """What is known of the label; `what` names the table and its column.

        Raises:
            DataError: a cell is no number, or no row has one.
        """
        if len(self._wrong):
            row = int(self._wrong[0])
            cell = str(self.column.cells[row]).strip()
            look = look_of(cell, self.column.style) or ""
            raise DataError(
                f"{what} holds numbers as labels, but {cell!r} in row {row} is none; "
                f"{OF_LABELS.get(look, 'correct it')}, or name it in source.unlabelled if it means no label"
            )
        if not len(self.rows):
            raise DataError(f"{what}: no row has a number; label some rows")
        return LabelInfo("numbers")

    def values(self, info: LabelInfo, what: str) -> Tensor:
        """The number of each row, float32 [n]; NaN for no label. Raises DataError for one that is not finite."""
        values = np.full(len(self.codes), np.nan)
        values[self.rows] = self._numbers.values[self.rows]
        if (endless := np.flatnonzero(np.isinf(values))).size:
            cell = str(self.column.cells[int(endless[0])]).strip()
            raise DataError(
                f"{what}, row {endless[0]}: {cell!r} is no finite number; empty the cell if it is not known"
            )
        return number_values(values, what)

    def groups(self, values: Tensor) -> Tensor:
        """Groups of rows with known numbers, int64 [known], of each of which a share is set aside for testing."""
        return hold_out_groups(values)

    def doubts(self, what: str, label: str, all_said: bool) -> list[str]:
        """Warnings of numbers that look like classes, or that float32 cannot tell apart."""
        if len(self._wrong) or not len(self.rows):
            return []
        return number_doubts(self.values(LabelInfo("numbers"), what), f"{what}: column {label}")
