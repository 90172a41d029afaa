"""Users' own tables: a .csv file whose rows are examples, with a column for the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from semivae.data.dataset import Dataset, class_label
from semivae.data.formats.csv_cells import read_cells
from semivae.data.formats.label_files import ordered_classes
from semivae.data.hashing import hold_out
from semivae.data.inputs.table_encoding import Cells, TableEncoding, fit_encoding, is_missing
from semivae.errors import DataError
from semivae.recipe.schema import TableSource
from semivae.text import join_names
from semivae.variables import Sample


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
            f"{path}: column {source.label} holds only the class {join_names(classes)}; at least two are needed"
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
    return Dataset(name, class_label(classes), train, test, unlabelled, tuple(warnings), origin, encoding=encoding)


def _labels(cells: Cells, label: str) -> tuple[list[str], list[int]]:
    """The label of each row, and the rows that have one."""
    labels = [cell.strip() for cell in cells[label]]
    return labels, [row for row, found in enumerate(labels) if not is_missing(found)]


def _rows(cells: Mapping[str, Sequence[str]], rows: Sequence[int]) -> dict[str, list[str]]:
    return {name: [column[row] for row in rows] for name, column in cells.items()}


def _test_part(path: Path, encoding: TableEncoding, classes: tuple[str, ...]) -> tuple[Sample, list[str]]:
    cells = read_cells(path)
    if encoding.label not in cells:
        raise DataError(f"{path} has no column {encoding.label}; it has {join_names(list(cells), 12)}")
    labels, known = _labels(cells, encoding.label)
    if not known:
        raise DataError(f"{path}: no row has a {encoding.label}; label some, or leave out source.test")
    if unknown := sorted({labels[row] for row in known} - set(classes)):
        raise DataError(
            f"{path}: column {encoding.label} holds classes that are not in the training rows: {join_names(unknown)}; "
            f"those have {join_names(classes)}"
        )
    x = torch.from_numpy(encoding.encode(_rows(cells, known), str(path)))
    lost = len(labels) - len(known)
    warnings = [f"{path}: {lost:,} rows without a {encoding.label} are not tested on"] if lost else []
    return {"x": x, "y": torch.tensor([classes.index(labels[row]) for row in known])}, warnings


def _refuse_unknown(source: TableSource, cells: Cells, path: Path) -> None:
    for key, names in (("label", (source.label,)), ("ignore", source.ignore), ("categorical", source.categorical)):
        if missing := [name for name in names if name not in cells]:
            raise DataError(
                f"{path} has no column {join_names(missing)} (source.{key}); it has {join_names(list(cells), 12)}"
            )
