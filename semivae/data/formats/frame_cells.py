"""The columns of a data frame as cells of text, as a table file would hold them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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


def frame_cells(
    frame: Any, style: CellStyle, categories: Mapping[str, Collection[str]] | None = None
) -> dict[str, list[str]]:
    """Returns the cells of each column, [n]; empty ones where a value is None, NaN, NA or NaT.

    Args:
        frame: with `columns`, and a column by name.
        style: how the cells are read later: numbers get its decimal mark.
        categories: by column, the texts that are known of it. A whole number is written as they write it, since a
            column of integers has floats in a frame as soon as one of them is missing.

    Raises:
        DataError: two columns of one name.
    """
    names = [str(name) for name in frame.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"the data frame has several columns called {join_names(twice)}; keep one of each")
    return {
        name: _cells(np.asarray(frame[column], dtype=object), style, (categories or {}).get(name, ()))
        for name, column in zip(names, frame.columns, strict=True)
    }


def _cells(values: Iterable[Any], style: CellStyle, known: Collection[str]) -> list[str]:
    return ["" if is_missing(value) else _cell(value, style, known) for value in values]


def _cell(value: Any, style: CellStyle, known: Collection[str]) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    text = style.written(repr(plain)) if isinstance(plain, float) else str(plain)
    if known and text not in known and isinstance(plain, int | float) and not isinstance(plain, bool):
        others = (style.written(form) for form in (f"{plain:.0f}", f"{plain:.1f}"))
        return next((other for other in others if other in known and float(plain).is_integer()), text)
    return text
