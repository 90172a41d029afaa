"""Users' own tables: a .csv file whose rows are examples, with a column for the label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.doubts import part_doubts
from semivae.data.formats.cell_texts import MISSING, CellStyle, joined_rows
from semivae.data.formats.csv_cells import read_cells
from semivae.data.formats.csv_dialect import why_no_column
from semivae.data.hashing import hold_out
from semivae.data.inputs.columns import Column
from semivae.data.inputs.further_labels import Cells as LabelCells
from semivae.data.inputs.further_labels import label_column, read_cells_of, spelling_doubts
from semivae.data.inputs.table_encoding import Cells, TableEncoding
from semivae.data.inputs.table_fitting import fit_encoding
from semivae.data.inputs.telling_columns import telling_doubts
from semivae.errors import DataError
from semivae.recipe.schema import TableSource
from semivae.text import count_of, join_names
from semivae.variables import Sample

INDEX = ""  # the name of a first column that has none


def read_table(source: TableSource, path: Path, test_path: Path | None) -> Dataset:
    """Read the rows of a .csv or .tsv file. Rows without a label are the unlabelled examples.

    Class names are those in the label's column, in order: numbers by value, texts by alphabet. Where there is no test
    file, `source.test_share` of each class is set aside for it by the hash of the rows' cells; equal rows stay
    together as far as shares allow. How columns become numbers is learnt from the rows that are not for the test.
    Rows that hold nothing at all are left out, with a warning.

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
    return dataset_of_cells(read_cells(path), source, path, test_path)


def dataset_of_cells(cells: Cells, source: TableSource, path: Path, test_path: Path | None) -> Dataset:
    """Returns the data set that the cells of a table are, as `read_table` does; raises as it does."""
    _refuse_unknown(source, cells, path)
    missing = MISSING if source.missing is None else source.missing
    style = CellStyle(decimal=source.decimal, thousands=source.thousands, missing=missing)
    warnings = []
    if INDEX in cells and INDEX not in source.ignore:
        warnings.append(
            f"{path}: the first column has no name and is left out, as the numbers of rows that pandas writes; name "
            'the column to use it, or write source.ignore: [""]'
        )
    used = {name: column for name, column in cells.items() if name not in (*source.ignore, INDEX)}
    no_input = {source.label, *source.columns.values()}
    columns = {name: Column(column, style) for name, column in used.items() if name not in no_input}
    labels = label_column(source.kinds.get("y", "classes"), Column(used[source.label], style), source.unlabelled or ())
    what = f"{path}: column {source.label}"
    info = labels.info(what)
    warnings += _header_doubts(cells, source.label, info.classes, path)
    warnings += labels.doubts(str(path), source.label, all_said=source.unlabelled is not None)
    known = labels.rows
    values = labels.values(info, what)[known]
    origin, kept = "given", torch.arange(len(known))
    held = torch.zeros(0, dtype=torch.int64)
    if test_path is None:
        keys = joined_rows(list(used.values()), "\x1f")
        kept, held = hold_out(
            labels.groups(values), [keys[row] for row in known.tolist()], source.test_share, info.classes
        )
        origin = f"test split off by hash, {source.test_share:.0%}"
    seen = np.ones(len(labels.codes), np.bool_)
    seen[known[held.numpy()]] = False
    encoding, found = fit_encoding(columns, np.flatnonzero(seen), source.label, source.categorical, style, str(path))
    encoding = encoding.model_copy(update={"unlabelled": source.unlabelled or ()})
    warnings += found
    if info.classes:
        warnings += telling_doubts(columns, known, values.numpy(), source.label, str(path))
    x = torch.from_numpy(encoding.encode(columns, str(path)))
    tested = None if test_path is None else read_cells(test_path)
    beside, beside_tested, further = _further_labels(source, cells, tested or {}, info.classes, path, style)
    every = {"x": x, **beside}
    train, test = (_rows(every, known[part.numpy()]) | {"y": values[part]} for part in (kept, held))
    if test_path is not None and tested is not None:
        test, lost = _test_part(test_path, tested, encoding, info, beside_tested)
        warnings += lost
    without = np.flatnonzero(labels.codes < 0)
    empty = np.logical_and.reduce(list(encoding.missing(columns).values()))
    if count := int(empty[without].sum()):
        first = int(without[empty[without]][0])
        lost_rows = count_of(count, "row holds nothing", "rows hold nothing")
        warnings.append(f"{path}: {lost_rows} (the first is row {first}) and {'is' if count == 1 else 'are'} left out")
        without = without[~empty[without]]
    unlabelled = _rows(every, without) if len(without) else {}
    warnings += spelling_doubts({"y": info} | further, str(path))
    warnings += part_doubts(info.classes, train, test, unlabelled, str(path))
    name = f"table:{path.name}"
    return Dataset(
        name,
        {"y": info} | further,
        train,
        test,
        unlabelled,
        tuple(warnings),
        origin,
        encoding=encoding,
        names=tuple(map(str, known[kept.numpy()].tolist())),
    )


def _header_doubts(cells: Cells, label: str, classes: Sequence[str], path: Path) -> list[str]:
    """A warning where the first line seems to be a row: the label is called as one of its classes is, or names are
    numbers in no order, unlike those of a spectrum.
    """
    names = [name for name in cells if name not in (label, INDEX)]
    numbers = [float(name) for name in names if CellStyle().number(name) is not None]
    ordered = numbers == sorted(numbers) or numbers == sorted(numbers, reverse=True)
    if label not in classes and (ordered or 2 * len(numbers) <= len(names)):
        return []
    return [
        f"{path}: the first line names the columns, and calls them {join_names([*names, label], 3)}; if it is a row, "
        "write a line of names above it"
    ]


def _rows(sample: Sample, rows: NDArray[np.intp]) -> Sample:
    return {name: values[torch.from_numpy(rows)] for name, values in sample.items()}


def _further_labels(
    source: TableSource, cells: Cells, tested: Cells, classes: tuple[str, ...], path: Path, style: CellStyle
) -> tuple[Sample, Sample, dict[str, LabelInfo]]:
    """Reads further labels of all rows of a table, and of a second one to test on, which may lack them."""
    first, second, labels = {}, {}, {}
    for name, column in source.columns.items():
        texts = [*cells[column], *tested.get(column, [""] * len(next(iter(tested.values()), ())))]
        what = f"{path}: column {column}"
        said = LabelCells(name, what, texts, classes, style, source.unlabelled or ())
        values, labels[name] = read_cells_of(source.kinds.get(name, "classes"), said)
        first[name], second[name] = values[: len(cells[column])], values[len(cells[column]) :]
    return first, second, labels


def _test_part(
    path: Path, cells: Cells, encoding: TableEncoding, info: LabelInfo, further: Sample
) -> tuple[Sample, list[str]]:
    if encoding.label not in cells:
        raise DataError(f"{path} has no column {encoding.label}; it has {join_names(list(cells), 12)}")
    labels = label_column(info.kind, Column(cells[encoding.label], encoding.style), encoding.unlabelled)
    if not len(labels.rows):
        raise DataError(f"{path}: no row has a {encoding.label}; label some, or leave out source.test")
    values = labels.values(info, f"{path}: column {encoding.label}")
    columns = encoding.read(cells, str(path))
    x = torch.from_numpy(encoding.encode(columns, str(path)))
    lost = len(labels.codes) - len(labels.rows)
    rows = count_of(lost, "row has", "rows have")
    warnings = [f"{path}: {rows} no {encoding.label} and {'is' if lost == 1 else 'are'} not tested on"] if lost else []
    sample = {"x": x, "y": values, **further}
    return _rows(sample, labels.rows), warnings + encoding.doubts(columns, str(path))


def _refuse_unknown(source: TableSource, cells: Cells, path: Path) -> None:
    asked = (
        ("label", (source.label,)),
        ("columns", tuple(source.columns.values())),
        ("ignore", source.ignore),
        ("categorical", source.categorical),
    )
    for key, names in asked:
        if key != "ignore" and INDEX in names:
            raise DataError(f"{path}: source.{key} names a column without a name; give it a name in the first line")
        if missing := [name for name in names if name not in cells and name != INDEX]:
            hint = why_no_column(missing[0], list(cells))
            raise DataError(
                f"{path} has no column {join_names(missing)} (source.{key}); it has {join_names(list(cells), 12)}{hint}"
            )
