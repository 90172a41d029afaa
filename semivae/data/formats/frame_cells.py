"""The columns of a data frame as cells of text, as a table file would hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from semivae.data.formats.cell_texts import CellStyle
from semivae.errors import DataError
from semivae.text import join_names


def is_frame(given: object) -> bool:
    """Whether something is a data frame, of pandas, Polars or the like: it has columns by name."""
    return all(hasattr(given, name) for name in ("columns", "dtypes", "shape")) and not isinstance(given, Mapping)


def is_missing(value: object) -> bool:
    """Whether a value is None, NaN, or pandas' NA or NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(value != value)


def frame_cells(frame: Any, style: CellStyle) -> dict[str, list[str]]:
    """Returns the cells of each column, [n]; empty ones where a value is None, NaN, NA or NaT.

    Args:
        frame: with `columns`, and a column by name.
        style: how the cells are read later: numbers get its decimal mark.

    Raises:
        DataError: two columns of one name.
    """
    names = [str(name) for name in frame.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"the data frame has several columns called {join_names(twice)}; keep one of each")
    return {
        name: _cells(np.asarray(frame[column], dtype=object), style)
        for name, column in zip(names, frame.columns, strict=True)
    }


def _cells(values: Iterable[Any], style: CellStyle) -> list[str]:
    return ["" if is_missing(value) else _cell(value, style) for value in values]


def _cell(value: Any, style: CellStyle) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    return style.written(repr(plain)) if isinstance(plain, float) else str(plain)
