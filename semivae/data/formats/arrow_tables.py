"""Tables read by pyarrow, where it is installed: large .csv files many times faster, and .parquet files.

What is read is the same, cell for cell, as without it: wherever pyarrow would read otherwise, it is not asked.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from semivae.data.formats.cell_texts import NUMBER, CellStyle, QuickCells, spellings
from semivae.devices import free_memory
from semivae.errors import DataError
from semivae.text import join_names, shortened

LARGE = 2**22  # characters of a .csv file from which on it is worth the time that importing pyarrow takes
BATCH = 4096  # rows of a Parquet file that are unpacked at once
TEXT_MEMORY = 4  # bytes of memory that a byte of a table takes
WIDEST = 2**18  # characters of the line of names
INDEX_OF_PANDAS = re.compile(r"__index_level_\d+__")


def has_arrow() -> bool:
    """Whether pyarrow is installed; it is not imported for that."""
    return importlib.util.find_spec("pyarrow") is not None


class ArrowCells(QuickCells):
    """A column that pyarrow holds. `texts` is an array of strings without nulls."""

    def __init__(self, texts: Any) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return list(self)[place]
        text: str = self.texts[place].as_py()
        return text

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    @cached_property
    def _listed(self) -> list[str]:
        listed: list[str] = self.texts.to_pylist()
        return listed

    def distinct(self) -> tuple[list[str], NDArray[np.intp]]:
        encoded = self.texts.dictionary_encode()
        codes: NDArray[np.intp] = encoded.indices.to_numpy(zero_copy_only=False).astype(np.intp)
        return encoded.dictionary.to_pylist(), codes

    def numbers(self, style: CellStyle) -> tuple[NDArray[np.float64], NDArray[np.int8]] | None:
        arrow, compute = _arrow("pyarrow"), _arrow("pyarrow.compute")
        for marks in ([""], ["", *spellings(style.missing)]):  # most missing cells are empty
            lacking = compute.is_in(self.texts, value_set=arrow.array(marks, arrow.string()))
            present = compute.if_else(lacking, arrow.scalar(None, arrow.string()), self.texts)
            try:
                found = compute.cast(present, arrow.float64())
            except arrow.ArrowInvalid:
                continue
            values: NDArray[np.float64] = found.to_numpy(zero_copy_only=False)
            kinds: NDArray[np.int8] = lacking.to_numpy(zero_copy_only=False).astype(np.int8)  # NOTHING is 1
            return (values, kinds) if np.isfinite(values[kinds == NUMBER]).all() else None
        return None

    def joined(self, columns: Sequence[Sequence[str]], separator: str) -> list[str] | None:
        if not all(isinstance(column, ArrowCells) for column in columns):
            return None
        texts = [column.texts for column in columns if isinstance(column, ArrowCells)]
        rows: list[str] = _arrow("pyarrow.compute").binary_join_element_wise(*texts, separator).to_pylist()
        return rows


def quick_cells(text: str, delimiter: str) -> tuple[list[str], list[Sequence[str]]] | None:
    """The names and columns of a table's text; None where pyarrow may read it otherwise than Python's csv."""
    text = text.rstrip("\r\n")
    if not _read_alike(text, delimiter):
        return None
    width = len(next(csv.reader(text[:WIDEST].split("\n", 1)[:1], delimiter=delimiter)))
    arrow, reading = _arrow("pyarrow"), _arrow("pyarrow.csv")
    try:
        table = reading.read_csv(
            arrow.BufferReader(text.encode()),
            read_options=reading.ReadOptions(autogenerate_column_names=True),
            parse_options=reading.ParseOptions(
                delimiter=delimiter, newlines_in_values='"' in text, ignore_empty_lines=False
            ),
            convert_options=reading.ConvertOptions(
                column_types={f"f{place}": arrow.string() for place in range(width)},
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except arrow.ArrowException:  # rows of different lengths, above all: what is wrong is said by who reads slowly
        return None
    compute = _arrow("pyarrow.compute")
    columns = [column.combine_chunks() for column in table.columns]
    if len(columns) != width or width < 2 or len(table) < 2:
        return None
    if max(compute.max(compute.utf8_length(column)).as_py() for column in columns) > csv.field_size_limit():
        return None
    return [column[0].as_py() for column in columns], [ArrowCells(column[1:]) for column in columns]


def _read_alike(text: str, delimiter: str) -> bool:
    """Whether pyarrow and Python's csv agree on a text: its lines end in one way, none is empty, quotes match."""
    ends = text.count("\n")
    if "\r" in text and not text.count("\r") == ends == text.count("\r\n"):
        return False
    named = text.find("\n", 0, WIDEST) >= 0 and delimiter.isascii()
    return named and "\n\n" not in text and "\r\n\r\n" not in text and _well_quoted(text, delimiter)


def _well_quoted(text: str, delimiter: str) -> bool:
    """Whether quotes stand around whole cells alone, and twice within them."""
    if '"' not in text:
        return True
    parts = text.split('"')
    outside = parts[2:-1:2]  # an empty one is a quote that is written twice
    ends = (delimiter, "\n", "\r")
    return (
        len(parts) % 2 == 1
        and (not parts[0] or parts[0].endswith(ends))
        and (not parts[-1] or parts[-1].startswith(ends))
        and all(not part or (part.startswith(ends) and part.endswith(ends)) for part in outside)
    )


def read_parquet(path: Path) -> dict[str, Sequence[str]]:
    """The columns of a .parquet file as texts, as they would stand in a .csv file.

    Raises:
        DataError: pyarrow is not installed, the file is damaged or too large for the free memory, or a column holds
            lists, structures or bytes.
    """
    if not has_arrow():
        raise DataError(
            f"{path}: reading Parquet takes pyarrow; install it with pip install 'semivae[tables]', or save the table "
            "as CSV"
        )
    try:
        with _arrow("pyarrow.parquet").ParquetFile(path) as file:
            table = _bounded(file, path)
        columns = [_texts(column, name, path) for name, column in zip(table.column_names, table.columns, strict=True)]
    except DataError:
        raise
    except Exception as error:  # pyarrow raises much, by the byte that is wrong
        raise DataError(f"{path.absolute()} cannot be read as a Parquet file: {shortened(str(error), 200)}") from error
    if not table.num_rows:
        raise DataError(f"{path} holds no rows")
    names = ["" if INDEX_OF_PANDAS.fullmatch(name) else name.strip() for name in table.column_names]
    if len(set(names)) != len(names):
        raise DataError(f"{path}: two of the columns {join_names(names, 12)} have one name; rename one")
    return {name: ArrowCells(column) for name, column in zip(names, columns, strict=True)}


def _bounded(file: Any, path: Path) -> Any:
    """The table of a Parquet file, unpacked step by step. Raises DataError before it takes more than what is free."""
    batches, size, memory = [], 0, free_memory()
    for batch in file.iter_batches(batch_size=BATCH):
        size += batch.nbytes
        if size * TEXT_MEMORY > memory:
            raise DataError(f"{path} unpacks to more than fits into the memory that is free, {memory:,} bytes")
        batches.append(batch)
    return _arrow("pyarrow").Table.from_batches(batches, file.schema_arrow)


def _texts(column: Any, name: str, path: Path) -> Any:
    """A column of any simple type as strings; what is missing as the empty one."""
    arrow, compute = _arrow("pyarrow"), _arrow("pyarrow.compute")
    types = arrow.types
    if types.is_dictionary(column.type):
        column = compute.cast(column, column.type.value_type)
    if types.is_nested(column.type) or types.is_binary(column.type) or types.is_large_binary(column.type):
        raise DataError(f"{path}: column {name} holds {column.type}; a table holds numbers and texts: leave it out")
    texts = compute.cast(column, arrow.string())
    if types.is_boolean(column.type):
        texts = compute.utf8_capitalize(texts)  # as pandas writes them
    filled = compute.fill_null(texts, "").combine_chunks()
    filled.validate(full=True)  # raises ArrowInvalid for what is no UTF-8, which damaged files may hold
    return filled


def _arrow(name: str) -> Any:
    """A module of pyarrow, which is imported when it is needed."""
    return importlib.import_module(name)
