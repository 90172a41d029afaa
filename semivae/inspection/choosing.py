"""From a bare path to the kind of source that a template would have: folder, masks, arrays or table."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from semivae.data.formats.csv_cells import PARQUET, cells_of, read_cells
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import is_image
from semivae.data.formats.known_files import HEAD as START
from semivae.data.formats.known_files import known_file
from semivae.data.formats.npz import load_arrays
from semivae.data.formats.number_labels import are_numbers
from semivae.data.formats.regular_files import read_start
from semivae.data.packed.store import is_packed, source_of
from semivae.data.paths import reachable
from semivae.data.readers.masks import part_of
from semivae.data.readers.parts import folders_in, parts_in, top_of
from semivae.errors import DataError
from semivae.inspection.label_folders import label_folders
from semivae.inspection.unused import unused
from semivae.text import count_of, join_names

LABELS = ("label", "labels", "class", "target", "y", "species", "category", "diagnosis", "outcome", "type", "kind")
TABLES = (".csv", ".tsv", ".txt", *PARQUET)
HEAD = 2**16  # bytes of a table in which the names of its columns are looked for
PALETTES = ("palette.txt", "classes.txt", "labels.txt")


@dataclass(frozen=True)
class Choice:
    """The source that fits a path.

    Attributes:
        template: the recipe to start from.
        source: its section `source`.
        reason: why, in words that follow "source folder (...)".
    """

    template: str
    source: Mapping[str, object]
    reason: str


def choose(path: Path, column: str | None = None) -> Choice:
    """Looks at a path, and says which kind of source it is.

    Args:
        path: a folder, a .zip, a table or an .npz.
        column: the one that holds the class, of a table or of one beside images, or the folder of the label y among
            several; None: by its name.

    Raises:
        DataError: nothing is there, or nothing that is read, or no table has this column.
    """
    if not reachable(path).exists():
        raise DataError(f"there is no file or folder {path.absolute()}, nor a recipe of this name")
    suffix = path.suffix.lower()
    if is_packed(path):
        source = source_of(path)
        template = "attributes" if isinstance(source.get("label_column"), list) else source["name"]
        return Choice(template, {**source, "path": str(path.absolute())}, "packed data")
    if path.is_dir() or suffix == ".zip":
        return _of_files(path, column)
    if suffix in (".npz", ".npy"):
        if column is not None:
            raise DataError(f"{path.absolute()} holds arrays and no columns; leave --label {column} out")
        return _of_arrays(path)
    if suffix in TABLES:
        return _of_table(path, column)
    raise DataError(
        f"{path.absolute()} is no data that are read{_what_it_is(path)}: give a folder or .zip of images, a table "
        "(.csv, .tsv), or an .npz"
    )


def _what_it_is(path: Path) -> str:
    """Words on a file that is neither a table, an archive nor arrays by its ending; "" if nothing is known of it."""
    with suppress(OSError):
        known = known_file(read_start(path, START))
        return f" (it is {known[0]}; {known[1]})" if known else ""
    return ""


def _of_files(path: Path, column: str | None) -> Choice:
    here = {"path": str(path.absolute())}
    with open_files(path) as files:
        top = top_of(files)
        parts = parts_in(files, top)
        train = parts.get("train", top)
        inside = folders_in(files, train)
        if column is None and {"images", "masks"} <= set(inside):
            palette = next((name for name in PALETTES if name in files.names), None)
            named = {"palette": palette} if palette else {}
            seen = f", with {palette}" if palette else ""
            pairs = len(part_of(files, train).pairs)
            reason = f"folders images and masks, {count_of(pairs, 'pair', 'pairs')} of one name{seen}"
            return Choice("masks", {"name": "masks", **here, **named}, reason)
        for table in (name for name in files.names if name.rpartition("/")[0] in ("", train.rstrip("/"))):
            if (column is not None or len(inside) < 2) and (columns := _label_columns(files, table, column)):
                keys = {"labels": PurePosixPath(table).name, "file_column": columns[0], "label_column": columns[1]}
                several = not isinstance(columns[1], str)
                what = f"images with the table of {'attributes' if several else 'labels'} {table}"
                return Choice("attributes" if several else "folder", {"name": "folder", **here, **keys}, what)
        if labelled := label_folders(files, top, column):
            listed = ", ".join(f"{label}: {folder}" for label, folder in labelled.items())
            reason = f"folders that each sort images by a label, {listed}; --label FOLDER names another y"
            return Choice("folder", {"name": "folder", **here, "folders": labelled}, reason)
        if not any(map(is_image, files.names)):
            held = [
                f"{join_names(rest.names, 2)} ({rest.reason}{': ' if rest.advice else ''}{rest.advice})"
                for rest in unused(files, ())[:3]
            ]
            others = f"; it holds {', '.join(held)}" if held else ""
            raise DataError(f"{path.absolute()} holds no image files (.png, .jpg and so on){others}")
    if column is not None:
        raise DataError(
            f"{path.absolute()} holds no table with a column {column} and one of files, such as file_name, nor several "
            f"folders of labels, one called {column}; correct --label, or leave it out to take the folders for classes"
        )
    what = f"folders of images, parts {', '.join(parts)}" if parts else "folders of images, one a class"
    return Choice("folder", {"name": "folder", **here}, what)


def _of_arrays(path: Path) -> Choice:
    arrays = load_arrays(path)
    template = "masks" if "s" in arrays and "y" not in arrays else "folder"
    if template == "folder" and "x" in arrays and arrays["x"].ndim == 2:
        template = "table"
    if "y" in arrays and are_numbers(arrays["y"]):
        template = "table_numbers" if template == "table" else "arrays_numbers"
    held = join_names([f"{name} {list(array.shape)}" for name, array in arrays.items() if name]) or "one without a name"
    return Choice(template, {"name": "arrays", "path": str(path.absolute())}, f"arrays: {held}")


def _label_columns(files: Files, table: str, wanted: str | None) -> tuple[str, str | list[str]] | None:
    """The columns of files and of classes, or else of attributes, in a table of labels; None where it has none."""
    if PurePosixPath(table).suffix.lower() not in (".csv", ".tsv"):
        return None
    try:
        cells = cells_of(files.read(table), files.place / table)
    except (DataError, OSError, ValueError):  # no table of labels
        return None
    names = list(cells)
    of_files = [name for name in names if name.lower() in ("file_name", "filename", "file", "image", "path", "name")]
    usual = [name for known in LABELS for name in names if name.lower() == known]
    labels = usual if wanted is None else [name for name in names if name == wanted]
    if of_files and labels:
        return of_files[0], labels[0]
    if wanted is not None:
        return None
    bits = [name for name in names if {cell.strip() for cell in cells[name]} - {""} == {"0", "1"}]
    return (of_files[0], bits) if of_files and len(bits) > 1 else None


def _of_table(path: Path, wanted: str | None) -> Choice:
    names = [name for name in _column_names(path) if name]
    if wanted is not None:
        column, why = wanted, "as asked for"
    elif known := [name for usual in LABELS for name in names if name.lower() == usual]:
        column, why = known[0], "by its name"
    else:
        column, why = names[-1], "as the last column; name another with --label"
    source = {"name": "table", "path": str(path.absolute()), "label": column}
    return Choice("table", source, f"a table; {column} is taken for the label, {why}")


def _column_names(path: Path) -> list[str]:
    """The names of a table's columns; of a long text from its beginning, so that it is read once only, later."""
    if path.suffix.lower() not in PARQUET and path.stat().st_size > HEAD:
        with path.open("rb") as stream:
            head = stream.read(HEAD).rpartition(b"\n")[0]
        try:
            return list(cells_of(head, path))
        except DataError:  # cut within quotes, or UTF-16: the whole file says
            pass
    return list(read_cells(path))
