"""From rows of a table to its encoding: which columns are numbers, which are categories, and what looks wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from semivae.data.formats.cell_texts import NUMBER, TEXT, CellStyle
from semivae.data.formats.csv_dialect import parted_otherwise
from semivae.data.formats.look_alikes import twin_doubts
from semivae.data.formats.number_looks import ADVICE, look_of
from semivae.data.inputs.columns import Column
from semivae.data.inputs.table_encoding import CategoryColumn, NumberColumn, TableEncoding, marks_of
from semivae.errors import DataError
from semivae.text import as_yaml, count_of, join_names

MOST_CATEGORIES = 100
NEARLY_NUMBERS = 0.5  # of a column's cells look like numbers: then texts among them are mistakes rather than categories
FAR = 1e4  # times what nine tenths lie from the median: what is standardised by such a number has no spread left
FEW_ROWS = 20  # too few to say that a category occurs once only
Rows = NDArray[np.intp]


def fit_encoding(
    columns: Mapping[str, Column],
    rows: Rows,
    label: str,
    categorical: Sequence[str],
    style: CellStyle,
    what: str,
) -> tuple[TableEncoding, list[str]]:
    """The encoding of some rows, and warnings of columns that say nothing, or may be read otherwise than meant.

    Args:
        columns: all columns that are used but the label's.
        rows: those to learn means, deviations and categories from.
        label: the label's column.
        categorical: columns of numbers that stand for categories.
        style: how cells are written.
        what: names the table in messages.

    Raises:
        DataError: a column of very many different texts, or no column that says anything.
    """
    fitted: list[NumberColumn | CategoryColumn] = []
    idle: list[str] = []
    warnings: list[str] = []
    for name, column in columns.items():
        found = _fitted(name, column, rows, name in categorical, what)
        if found is None:
            idle.append(name)
            continue
        fitted.append(found)
        if isinstance(found, NumberColumn):
            warnings += _number_doubts(found, column, rows, what)
        elif name not in categorical:
            warnings += _category_doubts(found, column, rows, what)
    if not fitted:
        raise DataError(
            f"{what}: no column beside {label} holds two different values, so there is nothing to learn from"
            f"{parted_otherwise([label]) if not columns else ''}"
        )
    if idle:
        warnings.append(f"{what}: columns of one value are left out: {join_names(idle)}")
    return TableEncoding(label=label, columns=tuple(fitted), style=style), warnings


def fit_numbers(rows: NDArray[np.float64], names: Sequence[str], label: str, what: str) -> TableEncoding:
    """Returns the encoding of a table of finite numbers, [n, columns]. Columns of one value are kept, as zeros.

    Raises:
        DataError: numbers that are too large to be compared; `what` names the table.
    """
    columns = [
        _fitted_numbers(name, values, len(values), what)
        or NumberColumn(name=name, mean=float(values[0]), deviation=1.0, whole=False, may_miss=False)
        for name, values in zip(names, rows.T, strict=True)
    ]
    return TableEncoding(label=label, columns=tuple(columns))


def _fitted(
    name: str, column: Column, rows: Rows, categorical: bool, what: str
) -> NumberColumn | CategoryColumn | None:
    kinds = column.numbers.kinds[rows]
    if not categorical and not (kinds == TEXT).any() and (kinds == NUMBER).any():
        if (infinite := rows[np.isinf(column.numbers.values[rows])]).size:
            cell = column.cells[int(infinite[0])].strip()
            raise DataError(
                f"{what}, row {infinite[0]}, column {name}: {cell!r} is no finite number; leave the cell empty if that "
                "means no value"
            )
        return _fitted_numbers(name, column.numbers.values[rows][kinds == NUMBER], len(rows), what)
    counts = column.coded.counts(rows)
    categories = sorted(text for text, count in zip(column.coded.texts, counts, strict=True) if count)
    if len(categories) < 2:
        return None
    if len(categories) > MOST_CATEGORIES:
        advice, examples = _advice(column, counts)
        raise DataError(
            f"{what}: column {name} holds {len(categories):,} different texts, such as "
            f"{join_names(examples or categories, 3)}; at most {MOST_CATEGORIES} can be categories. Leave it out with "
            f"source.ignore: [{as_yaml(name)}], or repair cells that should be numbers ({advice})"
        )
    return CategoryColumn(name=name, categories=tuple(categories))


def _fitted_numbers(name: str, values: NDArray[np.float64], rows: int, what: str) -> NumberColumn | None:
    """The column of some finite numbers, of so many rows; None where all are the same."""
    with np.errstate(over="ignore", invalid="ignore"):  # said below
        mean, deviation = float(values.mean()), float(values.std())
    if values.min() == values.max():
        return None
    if not deviation:  # the squares of numbers as small as 1e-200 are 0
        largest = float(np.abs(values).max())
        deviation = float((values / largest).std()) * largest
    if not deviation:
        return None
    if not math.isfinite(deviation):
        raise DataError(
            f"{what}: column {name} holds numbers up to {np.abs(values).max():g}, too large to be compared; if "
            "they stand for cells that are not known, empty these"
        )
    whole = bool((values == values.round()).all())
    return NumberColumn(name=name, mean=mean, deviation=deviation, whole=whole, may_miss=len(values) < rows)


def _number_doubts(fitted: NumberColumn, column: Column, rows: Rows, what: str) -> list[str]:
    """Warnings of marks that are read as missing, and of numbers that only count the rows."""
    found = []
    if marks := marks_of(column):
        found.append(
            f"{what}: column {fitted.name} is of numbers, and {marks} is read as a missing one; if it is a category, "
            "name the column in source.categorical"
        )
    values = column.numbers.values
    if fitted.whole and len(values) >= FEW_ROWS and bool((np.diff(values) == 1).all()):
        found.append(
            f"{what}: column {fitted.name} counts the rows, {values[0]:.0f}, {values[1]:.0f}, {values[2]:.0f} and so "
            f"on; leave it out with source.ignore: [{as_yaml(fitted.name)}]"
        )
    far = _far_ones(values[rows][column.numbers.kinds[rows] == NUMBER])
    if far.size:
        cells = count_of(far.size, "number lies", "numbers lie")
        found.append(
            f"{what}: column {fitted.name}: {cells} so far from the others that these become nearly equal, such as "
            f"{far[0]:g}; leave a cell empty that stands for no value, or give the logarithm"
        )
    return found


def _far_ones(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the numbers that lie further from the median than nine tenths of them do, by a factor of FAR."""
    away = np.abs(values - np.median(values))
    usual = float(np.quantile(away, 0.9))
    return values[away > FAR * usual] if usual and len(values) >= FEW_ROWS else values[:0]


def _category_doubts(fitted: CategoryColumn, column: Column, rows: Rows, what: str) -> list[str]:
    """Warnings where categories may be meant as numbers, where most occur once, and where they differ in case only."""
    counts = column.coded.counts(rows)
    looks = _looks(column, counts)
    like_numbers = sum(count for look, count in looks.items() if look)
    total = int(counts.sum())
    once = int((counts == 1).sum())
    single = total >= FEW_ROWS and once > total / 2
    few = len(fitted.categories) <= 10 and not single
    if like_numbers >= NEARLY_NUMBERS * total and not (few and set(looks) <= {"unit", "date", None}):
        advice, examples = _advice(column, counts)
        return [
            f"{what}: column {fitted.name} is taken for {len(fitted.categories):,} categories, not for numbers, "
            f"because of cells such as {join_names(examples, 3)}; {advice}, or name the column in source.categorical"
        ]
    if single:
        return [
            f"{what}: column {fitted.name} holds {len(fitted.categories):,} different texts, of which {once:,} occur "
            f"once, so little can be learnt from it; leave it out with source.ignore: [{as_yaml(fitted.name)}]"
        ]
    return twin_doubts(fitted.categories, f"{what}: column {fitted.name}: ", "categories")


def _looks(column: Column, counts: NDArray[np.intp]) -> Counter[str | None]:
    """How many cells look like what (`look_of`)."""
    looks: Counter[str | None] = Counter()
    for text, count in zip(column.coded.texts, counts.tolist(), strict=True):
        if count:
            looks[look_of(text, column.style)] += count
    return looks


def _advice(column: Column, counts: NDArray[np.intp]) -> tuple[str, list[str]]:
    """What to do about a column of texts that may be meant as numbers, and some of its cells that are none."""
    looks = _looks(column, counts)
    del looks["number"]
    odd = {look: count for look, count in looks.items() if look is not None}
    most = max(odd, key=lambda look: odd[look]) if odd else ""
    texts = [text for text, count in zip(column.coded.texts, counts, strict=True) if count]
    examples = [text for text in texts if look_of(text, column.style) == (most or None)]
    return ADVICE[most], examples
