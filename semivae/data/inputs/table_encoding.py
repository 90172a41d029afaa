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

from semivae.errors import DataError
from semivae.text import join_names

MOST_DEVIATIONS = 1e9  # a number farther out stands for something else, or for nothing
MISSING = {"", "na", "n/a", "nan", "null", "?"}  # of a cell, in whatever case; none may well be a class
MOST_CATEGORIES = 100
NEARLY_ALL = 0.9  # of a column's cells, that look like numbers: the others are mistakes rather than categories
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

    def encode(self, cells: Sequence[str], what: str) -> NDArray[np.float64]:
        values = np.array([_number(cell, f"{what}, row {row}, column {self.name}") for row, cell in enumerate(cells)])
        missing = np.isnan(values)
        scaled = np.where(missing, 0.0, (values - self.mean) / self.deviation)
        if (far := np.flatnonzero(np.abs(scaled) > MOST_DEVIATIONS)).size:
            raise DataError(
                f"{what}, row {far[0]}, column {self.name}: {cells[far[0]].strip()} is {MOST_DEVIATIONS:,.0f} or more "
                "standard deviations from what was learnt; leave the cell empty if that means no value"
            )
        return np.stack([scaled, missing] if self.may_miss else [scaled], axis=1)

    def gaps(self, cells: Sequence[str]) -> NDArray[np.bool_]:
        """Of missing cells the value, and not whether there is one: what fills it is a number."""
        missing = np.array([is_missing(cell) for cell in cells])
        return np.stack([missing, np.zeros_like(missing)] if self.may_miss else [missing], axis=1)

    def decode(self, values: NDArray[np.float64]) -> list[str]:
        numbers = values[:, 0] * self.deviation + self.mean
        shown = [f"{number:.0f}" if self.whole else f"{number:.6g}" for number in numbers]
        lacking = values[:, 1] > 0.5 if self.may_miss else np.zeros(len(values), bool)
        return ["" if lacks else text for text, lacks in zip(shown, lacking, strict=True)]


class CategoryColumn(BaseModel):
    """A column of texts: 1 in the place of its category, 0 in the others; all 0 where it is missing or another."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["category"] = "category"
    name: str
    categories: Annotated[tuple[str, ...], Field(min_length=2)]

    @property
    def width(self) -> int:
        return len(self.categories)

    def encode(self, cells: Sequence[str], what: str) -> NDArray[np.float64]:
        found = np.array([cell.strip() for cell in cells])
        return np.stack([found == category for category in self.categories], axis=1).astype(np.float64)

    def gaps(self, cells: Sequence[str]) -> NDArray[np.bool_]:
        """Of missing cells all places."""
        missing = np.array([is_missing(cell) for cell in cells])
        return np.repeat(missing[:, None], self.width, axis=1)

    def decode(self, values: NDArray[np.float64]) -> list[str]:
        return [self.categories[place] for place in values.argmax(axis=1)]


Column = Annotated[NumberColumn | CategoryColumn, Field(discriminator="kind")]


class TableEncoding(BaseModel):
    """How the rows of a table are the model's vectors, and the other way round.

    Attributes:
        label: name of the label's column.
        columns: the others that are used, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    label: str
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]

    def encode(self, cells: Cells, what: str) -> NDArray[np.float32]:
        """Rows as float32 [n, width]; columns that the encoding does not know are left out.

        Raises:
            DataError: a column is missing, or a cell of numbers holds none; `what` names the table.
        """
        if missing := [column.name for column in self.columns if column.name not in cells]:
            raise DataError(f"{what} has no column {join_names(missing)}; it has {join_names(list(cells), 12)}")
        parts = [column.encode(cells[column.name], what) for column in self.columns]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def encode_with_gaps(self, cells: Cells, what: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """`encode` for cells that are to be filled: no number is told to be missing, and where gaps are, [n, width].

        Raises:
            DataError: as `encode`.
        """
        encoded = self.encode(cells, what)
        gaps = np.concatenate([column.gaps(cells[column.name]) for column in self.columns], axis=1)
        for column, end in zip(self.columns, np.cumsum([column.width for column in self.columns]), strict=True):
            if isinstance(column, NumberColumn) and column.may_miss:
                encoded[:, end - 1] = 0.0
        return encoded, gaps

    def decode(self, values: NDArray[np.float32]) -> dict[str, list[str]]:
        """Vectors [n, width] as the cells of each column, in the table's own units."""
        ends = np.cumsum([column.width for column in self.columns])
        parts = np.split(values.astype(np.float64), ends[:-1], axis=1)
        return {column.name: column.decode(part) for column, part in zip(self.columns, parts, strict=True)}


def fit_encoding(cells: Cells, label: str, categorical: Sequence[str], what: str) -> tuple[TableEncoding, list[str]]:
    """The encoding of some rows, and warnings of columns that tell nothing and are left out.

    Args:
        cells: the rows to learn means, deviations and categories from; the label's column may be among them.
        label: the label's column.
        categorical: columns of numbers that stand for categories.
        what: names the table in messages.

    Raises:
        DataError: a column of very many different texts, or no column that tells anything.
    """
    columns: list[NumberColumn | CategoryColumn] = []
    idle: list[str] = []
    warnings: list[str] = []
    for name, column in cells.items():
        if name == label:
            continue
        found = _fitted(name, column, name in categorical, what)
        if found is None:
            idle.append(name)
        else:
            columns.append(found)
            if isinstance(found, CategoryColumn) and name not in categorical:
                warnings += _nearly_numbers(found, column, what)
    if not columns:
        raise DataError(
            f"{what}: no column beside {label} holds two different values, so there is nothing to learn from"
        )
    if idle:
        warnings.append(f"{what}: columns of one value are left out: {join_names(idle)}")
    return TableEncoding(label=label, columns=tuple(columns)), warnings


def _fitted(name: str, cells: Sequence[str], categorical: bool, what: str) -> NumberColumn | CategoryColumn | None:
    present = [cell.strip() for cell in cells if not is_missing(cell)]
    if len(set(present)) < 2:
        return None
    if not categorical and all(_is_number(cell) for cell in present):
        values = np.array([_number(cell, f"{what}, column {name}") for cell in present])
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            mean, deviation = float(values.mean()), float(values.std())
        if not deviation:
            return None
        if not math.isfinite(deviation):
            raise DataError(
                f"{what}: column {name} holds numbers up to {np.abs(values).max():g}, too large to be compared; if "
                "they stand for cells that are not known, empty these"
            )
        whole = bool((values == values.round()).all())
        may_miss = len(present) < len(cells)
        return NumberColumn(name=name, mean=mean, deviation=deviation, whole=whole, may_miss=may_miss)
    categories = sorted(set(present))
    if len(categories) > MOST_CATEGORIES:
        raise DataError(
            f"{what}: column {name} holds {len(categories):,} different texts, such as {join_names(categories, 3)}; at "
            f"most {MOST_CATEGORIES} can be categories. Leave it out with source.ignore: [{name}], or repair cells "
            "that should be numbers (3.5, with a point)"
        )
    return CategoryColumn(name=name, categories=tuple(categories))


def _nearly_numbers(column: CategoryColumn, cells: Sequence[str], what: str) -> list[str]:
    """A warning where nearly all cells of a column of categories are numbers, but for a comma or a few texts."""
    present = [cell.strip() for cell in cells if not is_missing(cell)]
    texts = [cell for cell in present if not _is_number(cell)]
    if sum(_is_number(cell.replace(",", ".")) for cell in present) < NEARLY_ALL * len(present):
        return []
    return [
        f"{what}: column {column.name} is taken for {len(column.categories):,} categories, not for numbers, because of "
        f"cells such as {join_names(texts, 3)}; write numbers as 3.5, with a point, and empty what is none, or "
        "name the column in source.categorical"
    ]


def is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, where: str) -> float:
    """The number in a cell; NaN where it is missing."""
    if is_missing(cell):
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise DataError(f"{where}: {cell.strip()!r} is no finite number")
    return value
