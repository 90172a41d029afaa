"""Users' own tables: a .csv file whose rows are examples, with a column for the label."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from semivae.data.dataset import Dataset, listed
from semivae.data.labels import ordered_classes
from semivae.data.ranking import hold_out
from semivae.data.table_encoding import Cells, TableEncoding, fit_encoding, is_missing
from semivae.errors import DataError
from semivae.game.variables import Sample
from semivae.recipe.schema import TableSource

ENDINGS = (".csv", ".tsv", ".txt")
DELIMITERS = (",", ";", "\t")


def read_table(source: TableSource, path: Path, test_path: Path | None) -> Dataset:
    """Read the rows of a .csv or .tsv file. Rows without a label are the unlabelled examples.

    Class names are those in the label's column, in order: numbers by value, texts by alphabet. Where there is no test
    file, `source.test_share` of each class is set aside for it by the hash of the rows' cells; equal rows stay
    together as far as shares allow. How columns become numbers is learnt from the rows that are not for the test.

    Args:
        source: the recipe's section.
        path: its path, made absolute.
        test_path: likewise of `source.test`.

    Returns:
        x is float32 [n, width of the encoding].

    Raises:
        DataError: no such file, no such column, a row of another length, a cell that does not fit its column, or fewer
            than two classes.
    """
    cells = read_cells(path)
    _refuse_unknown(source, cells, path)
    used = {name: column for name, column in cells.items() if name not in source.ignore}
    labels, known = _labels(used, source.label)
    classes = ordered_classes(labels[row] for row in known)
    if not classes:
        raise DataError(f"{path}: no row has a {source.label}; label some rows of at least two classes")
    if len(classes) < 2:
        raise DataError(
            f"{path}: column {source.label} holds only the class {listed(classes)}; at least two are needed"
        )
    numbers = torch.tensor([classes.index(labels[row]) for row in known])
    origin, kept = "given", torch.arange(len(known))
    held = torch.zeros(0, dtype=torch.int64)
    if test_path is None:
        keys = ["\x1f".join(column[row] for column in used.values()) for row in known]
        kept, held = hold_out(numbers, keys, source.test_share)
        origin = f"test split off by hash, {source.test_share:.0%}"
    held_rows = {known[place] for place in held.tolist()}
    seen = _rows(used, [row for row in range(len(labels)) if row not in held_rows])
    encoding, warnings = fit_encoding(seen, source.label, source.categorical, str(path))
    x = torch.from_numpy(encoding.encode(used, str(path)))
    places = torch.tensor(known)
    train, test = ({"x": x[places[part]], "y": numbers[part]} for part in (kept, held))
    if test_path is not None:
        test, lost = _test_part(test_path, encoding, classes)
        warnings += lost
    without = sorted(set(range(len(labels))) - set(known))
    unlabelled = {"x": x[without]} if without else {}
    name = f"table:{path.name}"
    return Dataset(name, classes, train, test, unlabelled, tuple(warnings), origin, encoding=encoding)


def read_rows(path: Path, encoding: TableEncoding) -> tuple[Tensor, list[str]]:
    """Rows of another table, encoded alike: float32 [n, width], and their numbers from 0. A label's column is ignored.

    Raises:
        DataError: no such file, a column is missing, or a cell does not fit its column.
    """
    encoded = encoding.encode(read_cells(path), str(path))
    return torch.from_numpy(encoded), [str(row) for row in range(len(encoded))]


def read_cells(path: Path) -> dict[str, list[str]]:
    """The columns of a file by the names in its first line; cells are separated by comma, semicolon or tab.

    Raises:
        DataError: no such file, no text, no row, names that are missing or double, or a row of another length.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path.absolute()}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            stream.seek(0)
            reader = csv.reader(stream, delimiter=max(DELIMITERS, key=first.count))
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except UnicodeDecodeError as error:
        raise DataError(f"{path.absolute()} is no UTF-8 text; save the table as CSV in UTF-8") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path.absolute()} cannot be read as a table: {error}") from error
    if len(rows) < 2:
        raise DataError(f"{path} holds no rows; the first line names the columns, and a row an example follows")
    names = [name.strip() for name in rows[0][1]]
    if "" in names:
        raise DataError(f"{path}: column {names.index('') + 1} has no name; name every column in the first line")
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: two columns are called {listed(doubles)}; give each its own name")
    for line, row in rows[1:]:
        if len(row) != len(names):
            raise DataError(f"{path}:{line}: {len(row)} cells; the first line names {len(names)} columns")
    return {name: [row[place] for _, row in rows[1:]] for place, name in enumerate(names)}


def _refuse_unknown(source: TableSource, cells: Cells, path: Path) -> None:
    for key, names in (("label", (source.label,)), ("ignore", source.ignore), ("categorical", source.categorical)):
        if missing := [name for name in names if name not in cells]:
            raise DataError(f"{path} has no column {listed(missing)} (source.{key}); it has {listed(list(cells), 12)}")


def _labels(cells: Cells, label: str) -> tuple[list[str], list[int]]:
    """The label of each row, and the rows that have one."""
    labels = [cell.strip() for cell in cells[label]]
    return labels, [row for row, found in enumerate(labels) if not is_missing(found)]


def _rows(cells: Mapping[str, Sequence[str]], rows: Sequence[int]) -> dict[str, list[str]]:
    return {name: [column[row] for row in rows] for name, column in cells.items()}


def _test_part(path: Path, encoding: TableEncoding, classes: tuple[str, ...]) -> tuple[Sample, list[str]]:
    cells = read_cells(path)
    if encoding.label not in cells:
        raise DataError(f"{path} has no column {encoding.label}; it has {listed(list(cells), 12)}")
    labels, known = _labels(cells, encoding.label)
    if not known:
        raise DataError(f"{path}: no row has a {encoding.label}; label some, or leave out source.test")
    if unknown := sorted({labels[row] for row in known} - set(classes)):
        raise DataError(
            f"{path}: column {encoding.label} holds classes that are not in the training rows: {listed(unknown)}; "
            f"those have {listed(classes)}"
        )
    x = torch.from_numpy(encoding.encode(_rows(cells, known), str(path)))
    lost = len(labels) - len(known)
    warnings = [f"{path}: {lost:,} rows without a {encoding.label} are not tested on"] if lost else []
    return {"x": x, "y": torch.tensor([classes.index(labels[row]) for row in known])}, warnings
