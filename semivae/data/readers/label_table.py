"""Users' own images with a table of labels beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from semivae.data.formats.cell_texts import CellStyle
from semivae.data.formats.csv_cells import cells_of
from semivae.data.formats.csv_dialect import why_no_column
from semivae.data.formats.file_trees import Files
from semivae.data.formats.image_files import is_image
from semivae.data.formats.label_files import ordered_classes
from semivae.data.formats.number_labels import number_doubts
from semivae.data.inputs.columns import Column
from semivae.data.inputs.further_labels import UNIT, Cells, read_cells_of
from semivae.data.inputs.table_labels import TableLabels
from semivae.data.readers.parts import Labelled, Layout, Part, composed, parts_in, top_of, unused_files
from semivae.errors import DataError
from semivae.recipe.schema import FolderSource
from semivae.text import count_of, either, join_names
from semivae.variables import VOID


def arrange_by_table(files: Files, source: FolderSource) -> Layout:
    """Sort image files into classes by a table of labels, and into parts by their folders.

    Images that the table does not list, or gives no class, are unlabelled; in parts to validate or test on they are not
    used.

    Raises:
        DataError: no such table or column, a file that is not there or has two labels, fewer than two classes, or a
            cell that is no number where the label is one.
    """
    assert source.labels is not None
    top, tables = _tables(files, source.labels)
    parts = parts_in(files, top)
    images = [name for name in files.names if name.startswith(top) and is_image(name)]
    names, columns = _columns(files, source, tables, images)
    numbers: dict[str, float] = {}
    attributes: dict[str, tuple[int, ...]] = {}
    classes: tuple[str, ...] = ()
    if source.holds_numbers:
        numbers, doubts = _numbers(files, source, names, columns)
        called = dict.fromkeys(numbers, "")
    else:
        called, classes, attributes, doubts = _called(files, source, names, columns)
    further = {
        label: _cell_each(files, names, cells_together(columns, column), join_names(one_or_more(column)))
        for label, column in source.columns.items()
    }
    members: dict[Part, Labelled] = {"train": [], "val": [], "test": []}
    unlabelled, unused = [], []
    for name in images:
        part: Part = next((part for part, folder in parts.items() if name.startswith(folder)), "train")
        label = called.get(name)
        if part == "unlabelled" or (part == "train" and label is None):
            unlabelled.append(name)
        elif label is None:
            unused.append(name)
        else:
            members[part].append((name, label))
    if not numbers:
        classes = classes or _classes(files, source.labels, members)
    used = {*(name for part in members.values() for name, _ in part), *unlabelled, *tables.values()}
    advice = f"an image in a part to validate or test on needs a label in {source.labels}"
    return Layout(
        top,
        classes,
        members["train"],
        members["val"] or None,
        members["test"] or None,
        unlabelled,
        (
            *doubts,
            *_unlisted(source.labels, sorted(set(unlabelled) - set(names))),
        ),
        unused_files(files, used, advice),
        further,
        attributes,
        numbers,
    )


def _tables(files: Files, called: str) -> tuple[str, dict[str, str]]:
    """Where the structure starts, and the tables there, by the folder that each lies in.

    Raises:
        DataError: there is none.
    """
    called = PurePosixPath(called).as_posix()
    for top in ("", top_of(files)):
        folders = [top, *parts_in(files, top).values()]
        found = {folder: f"{folder}{called}" for folder in folders if f"{folder}{called}" in files.names}
        if found:
            return top, found
    tables = [name for name in files.names if PurePosixPath(name).suffix.lower() in (".csv", ".tsv")]
    has = f"it has {join_names(tables)}" if tables else "it holds no .csv or .tsv file"
    raise DataError(f"{files.place} has no file {called} (source.labels), nor have its parts; {has}")


def _columns(
    files: Files, source: FolderSource, tables: Mapping[str, str], images: Sequence[str]
) -> tuple[list[str], dict[str, list[str]]]:
    """The image file, and the cells of all columns that hold labels, in each row of all tables.

    Raises:
        DataError: a table without the columns, or with a file that is not there.
    """
    known = {composed(name): name for name in images}
    names: list[str] = []
    wanted = dict.fromkeys(one_or_more(source.label_column), "label_column")
    wanted |= {column: f"columns.{name}" for name, given in source.columns.items() for column in one_or_more(given)}
    cells: dict[str, list[str]] = {column: [] for column in wanted}
    lacking: list[str] = []
    for folder, table in tables.items():
        path = files.place / table
        try:
            columns = cells_of(files.read(table), path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as a table of labels: {error}") from error
        for column, key in {source.file_column: "file_column", **wanted}.items():
            if column not in columns:
                has = f"it has {join_names(list(columns), 12)}{_why_no_column(column, list(columns))}"
                raise DataError(f"{path} has no column {column} (source.{key}); {has}")
        for written in columns[source.file_column]:
            name = composed(PurePosixPath(written.strip().replace("\\", "/")).as_posix())
            found = known.get(f"{composed(folder)}{name}")
            lacking += [written or "(an empty cell)"] if found is None else []
            names.append(found or "")
        for column, found_cells in cells.items():
            found_cells += columns[column]
    if lacking:
        no = either(len(lacking), "is no image", "are no images")
        raise DataError(
            f"{len(lacking):,} of {len(names):,} files that {source.labels} names {no} in {files.place}: "
            f"{join_names(lacking)}{_elsewhere(lacking[0], images)}"
        )
    return names, cells


def _why_no_column(wanted: str, columns: Sequence[str]) -> str:
    """A hint where another column is probably meant, or the first line names none."""
    if any(is_image(part) for name in columns for part in name.split()):
        return "; the first line seems to be a row: add a line of names above it"
    return why_no_column(wanted, columns)


def _elsewhere(lacking: str, images: Sequence[str]) -> str:
    """A hint where a file of almost this name is there; names on the web may have a query behind them."""
    last = PurePosixPath(re.split("[?#]", lacking.strip().replace("\\", "/"))[0]).name.casefold()
    near = [name for name in images if last in (_last(name), PurePosixPath(name).stem.casefold())]
    if not near:
        return ""
    return f"; there is {near[0]}: write names relative to the table, with their ending, in the same capitals"


def _last(name: str) -> str:
    return PurePosixPath(name).name.casefold()


def one_or_more(column: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the columns that a label has."""
    return (column,) if isinstance(column, str) else tuple(column)


def cells_together(columns: Mapping[str, Sequence[str]], column: str | Sequence[str]) -> list[str]:
    """Returns the cells of a column, or those of several, joined as `Cells` takes them; "" where all are empty."""
    if isinstance(column, str):
        return list(columns[column])
    rows = zip(*(columns[name] for name in column), strict=True)
    return [UNIT.join(row) if any(cell.strip() for cell in row) else "" for row in rows]


def _called(
    files: Files, source: FolderSource, names: Sequence[str], columns: Mapping[str, Sequence[str]]
) -> tuple[dict[str, str], tuple[str, ...], dict[str, tuple[int, ...]], list[str]]:
    """The class of each image that has one, or its attributes with their names, and what is odd about the column."""
    column, marks = source.label_column, source.unlabelled or ()
    if isinstance(column, str) and not source.holds_attributes:
        labels = TableLabels(Column(columns[column], CellStyle()), marks)
        doubts = labels.doubts(f"{files.place}/{source.labels}", column, source.unlabelled is not None)
        return _one_each(files, names, labels), (), {}, doubts
    several = () if isinstance(column, str) else column
    what = f"{files.place}/{source.labels}"
    values, info = read_cells_of(
        "attributes", Cells("y", what, cells_together(columns, column), (), CellStyle(), marks, several)
    )
    vectors: dict[str, tuple[int, ...]] = {}
    for name, vector in zip(names, map(tuple, values.tolist()), strict=True):
        if vectors.setdefault(name, vector) != vector:
            raise DataError(f"{files.place}: {name} stands in {source.labels} twice, with different attributes")
    known = {name: "" for name, vector in vectors.items() if any(value != VOID for value in vector)}
    if not known:
        raise DataError(f"{what} gives no image an attribute; label some")
    return known, info.classes, vectors, []


def _numbers(
    files: Files, source: FolderSource, names: Sequence[str], columns: Mapping[str, Sequence[str]]
) -> tuple[dict[str, float], list[str]]:
    """The number of each image that has one, and what is odd about the column. Raises DataError for one with two."""
    assert isinstance(source.label_column, str)
    what = f"{files.place}/{source.labels}: column {source.label_column}"
    cells = Cells("y", what, columns[source.label_column], (), CellStyle(), source.unlabelled or ())
    values, _ = read_cells_of("numbers", cells)
    found: dict[str, float] = {}
    for name, number in zip(names, values.tolist(), strict=True):
        if not math.isnan(number) and found.setdefault(name, number) != number:
            raise DataError(
                f"{files.place}: {name} has {found[name]:g} and {number:g} in column {source.label_column}; give it one"
            )
    return found, number_doubts(values, what)


def _one_each(files: Files, names: Sequence[str], labels: TableLabels) -> dict[str, str]:
    """The class of each image that has one. Raises DataError for an image with two."""
    found: dict[str, str] = {}
    for name, code in zip(names, labels.codes.tolist(), strict=True):
        if code < 0:
            continue
        label = labels.called[labels.texts[code]]
        if found.setdefault(name, label) != label:
            raise DataError(f"{files.place}: {name} is labelled {found[name]} and {label}; give it one label")
    return found


def _cell_each(files: Files, names: Sequence[str], cells: Sequence[str], column: str) -> dict[str, str]:
    """What a column says of each image, as it is written. Raises DataError where it says two things of one."""
    found: dict[str, str] = {}
    for name, cell in zip(names, cells, strict=True):
        written = cell.strip()
        if written and found.setdefault(name, written) != written:
            raise DataError(f"{files.place}: {name} has {found[name]} and {written} in column {column}; give it one")
    return found


def _classes(files: Files, table: str, members: Mapping[Part, Labelled]) -> tuple[str, ...]:
    """The classes to train on. Raises DataError for fewer than two, or where other parts have more."""
    classes = ordered_classes(label for _, label in members["train"])
    if len(classes) < 2:
        has = f"only the class {classes[0]}" if classes else "no class"
        raise DataError(f"{table} gives images to train on in {files.place} {has}; at least two are needed")
    for part in ("val", "test"):
        if unknown := ordered_classes({label for _, label in members[part]} - set(classes)):
            raise DataError(
                f"{table} gives images in the part {part} of {files.place} classes that train has not: "
                f"{join_names(unknown)}; train has {join_names(classes)}"
            )
    return classes


def _unlisted(table: str, names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    found = count_of(len(names), "image file is", "image files are")
    return (f"{found} not listed in {table} and used as unlabelled: {join_names(names)}",)
