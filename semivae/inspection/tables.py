"""Tables: columns by kind, with what looks wrong about each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from semivae.data.formats.cell_texts import MISSING, NUMBER, TEXT, CellStyle
from semivae.data.formats.csv_cells import read_cells
from semivae.data.inputs.columns import Column
from semivae.data.inputs.table_encoding import Cells
from semivae.data.inputs.table_fitting import FEW_ROWS, MOST_CATEGORIES
from semivae.data.readers.table import INDEX, dataset_of_cells
from semivae.errors import DataError
from semivae.inspection.counting import counted
from semivae.inspection.duplicates import duplicates
from semivae.inspection.facts import ColumnFacts, Duplicates
from semivae.inspection.in_memory import examples_of
from semivae.inspection.report import DataReport
from semivae.inspection.result import Inspected
from semivae.recipe.schema import SplitSpec, TableSource
from semivae.text import as_yaml

EXAMPLES = 3
NEARLY_ALL = 0.95  # of the rows: a column of so many different texts names them


def inspect_table(
    source: TableSource, path: Path, test: Path | None, spec: SplitSpec | None, chosen: str = ""
) -> Inspected:
    """Finds what a table holds.

    Args:
        source: the recipe's section.
        path: its path, made absolute.
        test: likewise of `source.test`.
        spec: which labels are shown; None: all.
        chosen: why the source is read as a table.

    Raises:
        DataError: no such file, or no table.
    """
    cells = read_cells(path)
    missing = MISSING if source.missing is None else source.missing
    style = CellStyle(decimal=source.decimal, thousands=source.thousands, missing=missing)
    facts = tuple(_facts(name, column, source, style) for name, column in cells.items())
    mistakes = [f"{path}: column {fact.name}: {fact.remark}" for fact in facts if fact.kind == "refused"]
    dataset = None
    try:
        dataset = dataset_of_cells(_without_refused(cells, facts), source, path, test)
    except DataError as error:
        mistakes.append(str(error))
    count = None if dataset is None else counted(dataset, spec)
    report = DataReport(
        place=str(path),
        kind="table",
        chosen=chosen,
        parts=count.parts if count else {},
        classes=count.classes if count else {},
        further=count.further if count else {},
        numbers=count.numbers if count else {},
        columns=facts,
        duplicates=Duplicates() if dataset is None else duplicates(examples_of(dataset)),
        mistakes=(*mistakes, *(count.mistakes if count else ())),
        warnings=() if dataset is None else dataset.warnings,
    )
    return Inspected(report, None if any(fact.kind == "refused" for fact in facts) else dataset)


def _without_refused(cells: Cells, facts: tuple[ColumnFacts, ...]) -> Cells:
    """The columns that can be read, so that what is wrong with the others does not hide further mistakes."""
    refused = {fact.name for fact in facts if fact.kind == "refused"}
    return {name: column for name, column in cells.items() if name not in refused}


def _facts(name: str, cells: Sequence[str], source: TableSource, style: CellStyle) -> ColumnFacts:
    column = Column(cells, style)
    coded = column.coded
    lacking, distinct = int((coded.codes < 0).sum()), len(coded.texts)
    counts = coded.counts()
    examples = tuple(coded.texts[place] for place in np.argsort(-counts, kind="stable")[:EXAMPLES])
    common = (lacking, distinct, examples)
    if name == source.label or name in source.columns.values():
        return ColumnFacts(name, "label", *common)
    if name in source.ignore or name == INDEX:
        return ColumnFacts(name, "ignored", *common)
    if distinct < 2:
        return ColumnFacts(name, "constant", *common, remark="one value, which says nothing" if distinct else "empty")
    kinds = column.numbers.kinds
    if name not in source.categorical and not (kinds == TEXT).any() and (kinds == NUMBER).any():
        return _of_numbers(name, column, common)
    rows = len(cells)
    single = distinct > NEARLY_ALL * (rows - lacking) and rows >= FEW_ROWS
    remark = "nearly every row has its own, as names and numbers of rows have" if single else ""
    if distinct > MOST_CATEGORIES:
        remark = f"{distinct:,} different texts, of which at most {MOST_CATEGORIES} can be categories"
        remark += f"; leave it out with source.ignore: [{as_yaml(name)}], or repair cells that should be numbers"
        return ColumnFacts(name, "refused", *common, remark=remark)
    return ColumnFacts(name, "categories", *common, remark=remark)


def _of_numbers(name: str, column: Column, common: tuple[int, int, tuple[str, ...]]) -> ColumnFacts:
    numbers = column.numbers
    values = numbers.values[numbers.kinds == NUMBER]
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(values).all():
        cell = column.cells[int(np.flatnonzero(np.isinf(numbers.values))[0])].strip()
        return ColumnFacts(name, "refused", *common, low, high, f"{cell} is no finite number; leave the cell empty")
    if low == high:
        return ColumnFacts(name, "constant", *common, low, high, "one value, which says nothing")
    remark = ""
    whole = bool((values == values.round()).all())
    if whole and len(values) >= FEW_ROWS and len(values) == len(numbers.values) and bool((np.diff(values) == 1).all()):
        remark = "counts the rows"
    elif whole and common[1] == len(values) >= FEW_ROWS and low >= 0:
        remark = "a whole number of its own in each row, as numbers of rows or persons are"
    elif whole and 2 < common[1] <= 12 < len(values) / 4 and low >= 0:
        remark = "few whole numbers: if they stand for categories, name the column in source.categorical"
    return ColumnFacts(name, "numbers", *common, low, high, remark)
