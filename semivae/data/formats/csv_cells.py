"""Tables as text: the cells of a .csv or .tsv file."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from semivae.data.formats.regular_files import LONGEST_LINE, bounded_lines, open_text
from semivae.data.paths import reachable
from semivae.errors import DataError
from semivae.text import join_names

TABLE_ENDINGS = (".csv", ".tsv", ".txt")


DELIMITERS = (",", ";", "\t")
MOST_COLUMNS = 100_000


def read_cells(path: Path) -> dict[str, list[str]]:
    """The columns of a file by the names in its first line; cells are separated by comma, semicolon or tab.

    Raises:
        DataError: no such file, no text, no row, names that are missing or double, or a row of another length.
    """
    if not reachable(path).is_file():
        raise DataError(f"there is no file {path.absolute()}")
    try:
        with open_text(path) as stream:
            first = stream.readline(LONGEST_LINE)
            stream.seek(0)
            reader = csv.reader(bounded_lines(stream, path), delimiter=max(DELIMITERS, key=first.count))
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except UnicodeDecodeError as error:
        raise DataError(f"{path.absolute()} is no UTF-8 text; save the table as CSV in UTF-8") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path.absolute()} cannot be read as a table: {error}") from error
    if len(rows) < 2:
        raise DataError(f"{path} holds no rows; the first line names the columns, and a row an example follows")
    names = [name.strip() for name in rows[0][1]]
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{path} has {len(names):,} columns; up to {MOST_COLUMNS:,} are read")
    if "" in names:
        raise DataError(f"{path}: column {names.index('') + 1} has no name; name every column in the first line")
    if doubles := sorted(name for name, count in Counter(names).items() if count > 1):
        raise DataError(f"{path}: two columns are called {join_names(doubles)}; give each its own name")
    for line, row in rows[1:]:
        if len(row) != len(names):
            raise DataError(f"{path}:{line}: {len(row)} cells; the first line names {len(names)} columns")
    return {name: [row[place] for _, row in rows[1:]] for place, name in enumerate(names)}
