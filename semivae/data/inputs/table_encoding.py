"""Columns of a table as numbers, and numbers as columns again.

Numbers are standardised, texts become one column for each category, and a cell that is missing is the mean (or no
category), told by a column of its own where training rows lacked some. What was found on the training rows is kept with
the run, so that other rows are encoded alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from semivae.data.formats.cell_texts import NO_NUMBER_MARK, NOTHING, TEXT, CellStyle
from semivae.data.formats.csv_dialect import why_no_column
from semivae.data.formats.number_looks import ADVICE, look_of
from semivae.data.inputs.columns import Column
from semivae.errors import DataError
from semivae.text import count_of, either, join_names

MOST_DEVIATIONS = 1e9  # a number farther out stands for something else, or for nothing
RAW = 0.25  # of the mean square that is left, if numbers were a table's own; standardised ones would grow
Cells = Mapping[str, Sequence[str]]  # column name -> its cells, row by row


class NumberColumn(BaseModel):
    """A column of numbers: (value - mean) / deviation, then 0 or 1 for a missing one where `may_miss` says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["number"] = "number"
    name: str
    mean: float
    deviation: Annotated[float, Field(gt=0)]
    whole: bool
    may_miss: bool

    @property
    def width(self) -> int:
        return 2 if self.may_miss else 1

    def encode(self, column: Column, what: str) -> NDArray[np.float64]:
        values, kinds = column.numbers.values, column.numbers.kinds
        if (wrong := np.flatnonzero((kinds == TEXT) | np.isinf(values))).size:
            raise DataError(_no_number(column, int(wrong[0]), f"{what}, row {wrong[0]}, column {self.name}"))
        missing = self.missing(column)
        scaled = np.where(missing, 0.0, (values - self.mean) / self.deviation)
        if (far := np.flatnonzero(np.abs(scaled) > MOST_DEVIATIONS)).size:
            raise DataError(
                f"{what}, row {far[0]}, column {self.name}: {column.cells[far[0]].strip()} is {MOST_DEVIATIONS:,.0f} "
                "or more standard deviations from what was learnt; leave the cell empty if that means no value"
            )
        return np.stack([scaled, missing] if self.may_miss else [scaled], axis=1)

    def missing(self, column: Column) -> NDArray[np.bool_]:
        """Where no number is, [n]."""
        kinds = column.numbers.kinds
        return np.isin(kinds, (NOTHING, NO_NUMBER_MARK))

    def gaps(self, column: Column) -> NDArray[np.bool_]:
        """Marks the value of missing cells, and not whether there is one: what fills it is a number."""
        missing = self.missing(column)
        return np.stack([missing, np.zeros_like(missing)] if self.may_miss else [missing], axis=1)

    def decode(self, values: NDArray[np.float64], style: CellStyle) -> list[str]:
        numbers = values[:, 0] * self.deviation + self.mean
        finest = 6 - math.ceil(math.log10(self.deviation))  # decimals that float32 holds of so wide a column
        if 0 <= finest <= 12:
            numbers = numbers.round(finest) + 0.0  # of -0 it makes 0
        shown = [style.written(f"{number:.0f}" if self.whole else f"{number:.6g}") for number in numbers]
        lacking = values[:, 1] > 0.5 if self.may_miss else np.zeros(len(values), bool)
        return ["" if lacks else text for text, lacks in zip(shown, lacking, strict=True)]

    def strange(self, column: Column, what: str) -> str:
        """What a user should know of marks that are read as missing numbers; "" for nothing."""
        marks = marks_of(column)
        return f"{what}, column {self.name}: {marks} is read as a missing number" if marks else ""

    def lacking(self, column: Column, what: str) -> str:
        """What a user should know of missing cells where training had none; "" for nothing."""
        count = int(self.missing(column).sum())
        if self.may_miss or not count:
            return ""
        rows = count_of(count, "row", "rows")
        return (
            f"{what}, column {self.name}: cells are missing in {rows}, as none was in training; they are "
            f"read as the mean there, {self.mean:g}"
        )


class CategoryColumn(BaseModel):
    """A column of texts: 1 in the place of its category, 0 in the others; all 0 where it is missing or another."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["category"] = "category"
    name: str
    categories: Annotated[tuple[str, ...], Field(min_length=2)]

    @property
    def width(self) -> int:
        return len(self.categories)

    def encode(self, column: Column, what: str) -> NDArray[np.float64]:
        places = {category: place for place, category in enumerate(self.categories)}
        known = np.array([places.get(text, -1) for text in column.coded.texts] + [-1])  # the last is of missing cells
        found = known[column.coded.codes]
        encoded = np.zeros((len(found), self.width))
        rows = np.flatnonzero(found >= 0)
        encoded[rows, found[rows]] = 1.0
        return encoded

    def missing(self, column: Column) -> NDArray[np.bool_]:
        """Where no text is, [n]."""
        return column.coded.codes < 0

    def gaps(self, column: Column) -> NDArray[np.bool_]:
        """Marks all places of missing cells."""
        return np.repeat(self.missing(column)[:, None], self.width, axis=1)

    def decode(self, values: NDArray[np.float64], style: CellStyle) -> list[str]:
        return [self.categories[place] for place in values.argmax(axis=1)]

    def strange(self, column: Column, what: str) -> str:
        """What a user should know of texts that were not among the training rows; "" for nothing."""
        known = set(self.categories)
        counts = {
            text: int(count)
            for text, count in zip(column.coded.texts, column.coded.counts(), strict=True)
            if text not in known
        }
        if not counts:
            return ""
        texts, known_texts = join_names(sorted(counts)), join_names(self.categories, 8)
        rows = count_of(sum(counts.values()), "row holds a text", "rows hold texts")
        return (
            f"{what}, column {self.name}: {rows} of no training row and "
            f"{either(sum(counts.values()), 'is', 'are')} read as none of its categories: {texts}; those are "
            f"{known_texts}"
        )

    def lacking(self, column: Column, what: str) -> str:
        """Returns "": a missing text belongs to no category, in training as here."""
        return ""


FittedColumn = Annotated[NumberColumn | CategoryColumn, Field(discriminator="kind")]


class TableEncoding(BaseModel):
    """How the rows of a table are the model's vectors, and the other way round.

    Attributes:
        label: name of the label's column.
        columns: the others that are used, in order.
        style: how cells are written.
        unlabelled: texts in the label's column that mean no label, beside those that mean a missing cell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    label: str
    columns: Annotated[tuple[FittedColumn, ...], Field(min_length=1)]
    style: CellStyle = CellStyle()
    unlabelled: tuple[str, ...] = ()

    def read(self, cells: Cells, what: str) -> dict[str, Column]:
        """The columns that the encoding knows, for the methods below; `what` names the table.

        Raises:
            DataError: a column is missing.
        """
        if missing := [column.name for column in self.columns if column.name not in cells]:
            hint = why_no_column(missing[0], list(cells))
            raise DataError(f"{what} has no column {join_names(missing)}; it has {join_names(list(cells), 12)}{hint}")
        return {column.name: Column(cells[column.name], self.style) for column in self.columns}

    def encode(self, columns: Mapping[str, Column], what: str) -> NDArray[np.float32]:
        """Rows as float32 [n, width]; columns that the encoding does not know are left out.

        Raises:
            DataError: a cell of numbers holds none; `what` names the table.
        """
        parts = [column.encode(columns[column.name], what) for column in self.columns]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def encode_with_gaps(
        self, columns: Mapping[str, Column], what: str
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Encodes cells to be filled, without marking numbers as missing; returns also where gaps are, [n, width].

        Raises:
            DataError: as `encode`.
        """
        encoded = self.encode(columns, what)
        gaps = np.concatenate([column.gaps(columns[column.name]) for column in self.columns], axis=1)
        for column, end in zip(self.columns, np.cumsum([column.width for column in self.columns]), strict=True):
            if isinstance(column, NumberColumn) and column.may_miss:
                encoded[:, end - 1] = 0.0
        return encoded, gaps

    def decode(self, values: NDArray[np.float32]) -> dict[str, list[str]]:
        """Vectors [n, width] as the cells of each column, in the table's own units."""
        ends = np.cumsum([column.width for column in self.columns])
        parts = np.split(values.astype(np.float64), ends[:-1], axis=1)
        return {column.name: column.decode(part, self.style) for column, part in zip(self.columns, parts, strict=True)}

    def encode_numbers(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers [n, columns], none of them missing, as the model's vectors; for tables of numbers alone."""
        means, deviations = self._scales()
        return (rows - means) / deviations

    def decode_numbers(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Vectors [n, width] in the table's own units, rounded where the column holds whole numbers alone."""
        means, deviations = self._scales()
        whole = np.array([isinstance(column, NumberColumn) and column.whole for column in self.columns])
        rows = values * deviations + means
        return np.where(whole, rows.round(), rows)

    def looks_raw(self, rows: NDArray[np.float64]) -> bool:
        """Whether numbers [n, width] are rather a table's own than the model's: encoding brings them nearer to 0."""
        if any(isinstance(column, CategoryColumn) or column.may_miss for column in self.columns):
            return False  # then the table has another width
        return bool(np.square(self.encode_numbers(rows)).mean() < RAW * np.square(rows).mean())

    def _scales(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        numbers = [column for column in self.columns if isinstance(column, NumberColumn)]
        return np.array([column.mean for column in numbers]), np.array([column.deviation for column in numbers])

    def missing(self, columns: Mapping[str, Column]) -> dict[str, NDArray[np.bool_]]:
        """Where cells are missing, [n], by column."""
        return {column.name: column.missing(columns[column.name]) for column in self.columns}

    def strange(self, columns: Mapping[str, Column], what: str) -> list[str]:
        """What a user should know of cells that are read otherwise than the training rows were."""
        return [text for column in self.columns if (text := column.strange(columns[column.name], what))]

    def doubts(self, columns: Mapping[str, Column], what: str) -> list[str]:
        """Returns warnings of `strange`, of cells that are missing where training lacked none, and of empty rows."""
        found = self.strange(columns, what)
        found += [text for column in self.columns if (text := column.lacking(columns[column.name], what))]
        empty = np.flatnonzero(np.logical_and.reduce(list(self.missing(columns).values())))
        if empty.size:
            rows = join_names([str(row) for row in empty.tolist()])
            found.append(
                f"{what}: all cells that were learnt from are missing in row {rows}; what is said of it is said of a "
                "row of which nothing is known"
            )
        return found


def marks_of(column: Column) -> str:
    """Texts that stand for no number in a column of numbers, and in how many rows; "" if there are none."""
    kinds = column.numbers.kinds
    rows = np.flatnonzero(kinds == NO_NUMBER_MARK)
    if not rows.size:
        return ""
    texts = sorted({column.cells[row].strip() for row in rows.tolist()})
    return f"{join_names(texts)} (in {rows.size:,} {'row' if rows.size == 1 else 'rows'})"


def _no_number(column: Column, row: int, where: str) -> str:
    """The message on a cell that holds no number, and what it may stand for."""
    cell = column.cells[row].strip()
    look = look_of(cell, column.style)
    # columns are fitted already, so that another setting of the source is one of another training
    advice = f"; {ADVICE[look]}".replace("write source.", "train with source.") if look in ADVICE else ""
    return f"{where}: {cell!r} is no finite number{advice}"
