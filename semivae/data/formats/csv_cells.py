"""Tables as text: the cells of a .csv or .tsv file, row by row as they are."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from semivae.data.formats.arrow_tables import LARGE, has_arrow, quick_cells, read_parquet
from semivae.data.formats.cell_texts import QuickCells
from semivae.data.formats.csv_dialect import dialect_of, look_like_a_row, refuse_known, refuse_no_text
from semivae.data.formats.known_files import HEAD
from semivae.data.formats.regular_files import (
    LONGEST_LINE,
    TEXT_MEMORY,
    UTF_16,
    bounded_lines,
    open_text,
    refuse_no_file,
)
from semivae.devices import free_memory
from semivae.errors import DataError
from semivae.text import count_of, either, join_names

MOST_COLUMNS = 100_000
MARK, DOS_END = "\ufeff", "\x1a"  # what some programs write at the beginning, twice where files are joined, and the end
PARQUET = (".parquet", ".pq")
Rows = list[tuple[int, list[str]]]  # of each the line on which it starts, and its cells


def read_cells(path: Path) -> dict[str, Sequence[str]]:
    """The columns of a .csv, .tsv or .parquet file by their names, all cells as they are.

    Cells are separated by commas, semicolons, tabs or |, or by what a line `sep=;` before the names says. The first
    column may lack a name, as pandas writes its index: it is called "". Separators that end every line are left out.
    Every line below the names is a row, but for empty ones at the end: row 0 is the first.

    Raises:
        DataError: no such file, no text, no row, names that are missing or double, quotes that do not match, a row of
            another length, or an empty line among the rows.
    """
    refuse_no_file(path)
    if path.suffix.lower() in PARQUET:
        return read_parquet(path)
    try:
        with open_text(path) as stream:
            refuse_no_text(path)
            text = stream.read()
        return _columns(text, path)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.absolute()} is no UTF-8 text; save the table as CSV in UTF-8. A file of an older Windows is "
            f"converted by: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > new.csv"
        ) from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path.absolute()} cannot be read as a table: {error}") from error


def cells_of(content: bytes, path: Path) -> dict[str, Sequence[str]]:
    """Reads cells as `read_cells`, from the content of a file; `path` names it in messages."""
    if len(content) * TEXT_MEMORY > (memory := free_memory()):
        raise DataError(
            f"{path} has {len(content):,} bytes and takes {TEXT_MEMORY} times as many in memory; {memory:,} are free"
        )
    refuse_known(content[:HEAD], path)
    try:
        return _columns(content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig"), path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text; save the table as CSV in UTF-8") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error


def _columns(text: str, path: Path) -> dict[str, Sequence[str]]:
    if "\0" in text:
        raise DataError(f"{path} holds zero bytes, so it is no text, or UTF-16 without a mark; save it in UTF-8")
    text = text.lstrip(MARK).rstrip(DOS_END)
    dialect = dialect_of(text)
    before = len(re.findall(r"\r\n|\r|\n", text[: dialect.start]))  # lines above the names
    text = text[dialect.start :]
    spaced = '"' in text and re.search(f'{re.escape(dialect.delimiter)} +"', text) is not None
    quick = quick_cells(text, dialect.delimiter) if len(text) >= LARGE and has_arrow() and not spaced else None
    names, columns = quick or _slow_cells(text, dialect.delimiter, before, path, spaced)
    names = [name.strip().strip(MARK) for name in names]
    while len(names) > 1 and not names[-1] and not any(map(str.strip, columns[-1])):
        names.pop()
        columns.pop()
    _refuse_names(names, path)
    _refuse_repeated(names, columns, path)
    return dict(zip(names, columns, strict=True))


def _slow_cells(
    text: str, delimiter: str, before: int, path: Path, spaced: bool = False
) -> tuple[list[str], list[Sequence[str]]]:
    """Names and columns; `before` is the number of lines above the names, `spaced` whether spaces lie before quotes."""
    if '"' in text:
        names, cells = _regular(_quoted_rows(text, delimiter, before, path, spaced), path)
    else:
        names, cells = _plain_cells(text, delimiter, before, path)
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{path} has {len(names):,} columns; up to {MOST_COLUMNS:,} are read")
    return names, [cells[place :: len(names)] for place in range(len(names))]


def _plain_cells(text: str, delimiter: str, before: int, path: Path) -> tuple[list[str], list[str]]:
    """Names and cells, row after row, of a text without quotes, in which each line is a row."""
    lines = (text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text).split("\n")
    spaces = " \t".replace(delimiter, "")
    while lines and not lines[-1].strip(spaces):
        lines.pop()
    longest = max(map(len, lines), default=0)
    if longest > LONGEST_LINE:
        number = before + 1 + next(place for place, line in enumerate(lines) if len(line) == longest)
        raise OSError(f"line {number:,} of {path} has more than {LONGEST_LINE:,} characters")
    widths = {line.count(delimiter) for line in lines}
    if len(widths) != 1 or widths == {0} or len(lines) < 2 or longest > csv.field_size_limit():
        rows = [line.split(delimiter) if line.strip(spaces) else [] for line in lines]
        return _regular(list(enumerate(rows, before + 1)), path)
    names = lines[0].split(delimiter)
    return names, delimiter.join(lines).split(delimiter)[len(names) :]


def _quoted_rows(text: str, delimiter: str, before: int, path: Path, spaced: bool) -> Rows:
    """Rows of a text with quotes, in which cells may hold separators and ends of lines."""
    lines = bounded_lines(io.StringIO(text, newline=""), path)
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=spaced)
    rows: Rows = []
    start = 0
    try:
        for row in reader:
            blank = not row or (len(row) == 1 and not row[0].strip() and rows and len(rows[0][1]) > 1)
            rows.append((before + start + 1, [] if blank else row))
            start = reader.line_num
    except csv.Error as error:
        if "field limit" in str(error):
            raise
        raise DataError(
            f"{path}:{before + start + 1}: the quotes of the row that starts here do not match ({error}); write a "
            "quote within a cell twice, and put quotes around the whole cell"
        ) from error
    while rows and not rows[-1][1]:
        rows.pop()
    return rows


def _above(names: Sequence[str]) -> str:
    """What to do where the first line is no line of names, as a comment or a title is none."""
    return "; remove the lines above the names" if _is_comment(names) or len(names) == 1 else ""


def _odd_row(row: Sequence[str]) -> str:
    """What to do about a row of another length than the names, where that can be seen."""
    if _is_comment(row):
        return "; if it is a comment, remove it"
    if any(cell.lstrip().startswith("'") for cell in row) and any(cell.rstrip().endswith("'") for cell in row):
        return "; cells are put between double quotes: write them in place of the single ones"
    return ""


def _is_comment(names: Sequence[str]) -> bool:
    return names[0].lstrip().startswith(("#", "//", "%"))


def _regular(rows: Rows, path: Path) -> tuple[list[str], list[str]]:
    """Names and cells, row after row, after it is seen that all rows have the same length."""
    if len(rows) < 2:
        raise DataError(f"{path} holds no rows; the first line names the columns, and each line below it is a row")
    names = rows.pop(0)[1]
    width = len(names)
    widths = {len(row) for _, row in rows}
    if widths == {width + 1} and not _is_comment(names):
        if hint := _odd_row(rows[0][1]):
            raise DataError(f"{path}: each row has {width + 1} cells, but the first line names {width}{hint}")
        if any(row[-1].strip() for _, row in rows):
            raise DataError(
                f"{path}: each row has {width + 1} cells, but the first line names "
                f"{count_of(width, 'column', 'columns')}; if the first column holds names of rows, name it too (R: "
                f"write.csv does, write.table does not)"
            )
        names = [*names, ""]  # separators end each row, but not the line of names
    elif widths == {width - 1} and not names[-1].strip():
        names = names[:-1]
    for line, row in rows:
        if not row:
            raise DataError(
                f"{path}:{line} is an empty line among the rows; remove it, or, for a row in which every cell is "
                f"missing, write {'two quotes' if width == 1 else 'its separators'}"
            )
        if len(row) != len(names):
            raise DataError(
                f"{path}:{line}: {count_of(len(row), 'cell', 'cells')}; the first line names "
                f"{count_of(width, 'column', 'columns')}{_above(names) or _odd_row(row)}"
            )
    cells = list(chain.from_iterable(row for _, row in rows))
    if max(map(len, cells), default=0) > (limit := csv.field_size_limit()):
        raise csv.Error(f"field larger than field limit ({limit})")
    return names, cells


def _refuse_names(names: Sequence[str], path: Path) -> None:
    """Raises DataError for columns without a name, but for the first, and for two of one name."""
    if "" in (names[1:] if len(names) > 1 else names):
        place = names.index("", min(1, len(names) - 1)) + 1
        raise DataError(f"{path}: column {place} has no name; name every column in the first line")
    if doubles := sorted(name for name, count in Counter(names).items() if count > 1):
        hint = "; the first line seems to be a row: add a line of names above it" if look_like_a_row(names) else ""
        raise DataError(f"{path}: two columns are called {join_names(doubles)}; give each its own name{hint}")


def _refuse_repeated(names: Sequence[str], columns: Sequence[Sequence[str]], path: Path) -> None:
    """Raises DataError for a row that holds the names of the columns, as where tables were joined."""
    named = [(name, column) for name, column in zip(names, columns, strict=True) if name]
    if len(named) < 2:
        return
    (name, column), *_ = named
    if isinstance(column, QuickCells) and all(_bare(text) != name for text in column.distinct()[0]):
        return
    said = [row for row, cell in enumerate(column) if _bare(cell) == name]
    said = [row for row in said if all(_bare(column[row]) == name for name, column in named)]
    if said:
        more = f", and {count_of(len(said) - 1, 'other row', 'other rows')} too" if said[1:] else ""
        raise DataError(
            f"{path}: row {said[0]} repeats the names of the columns{more}, as where files were joined; remove "
            f"{either(len(said), 'it', 'them')}"
        )


def _bare(cell: str) -> str:
    return cell.strip().strip(MARK)
