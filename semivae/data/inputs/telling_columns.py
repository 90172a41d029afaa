"""Columns of a table that say the label in other words, as `label_code` beside `label`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from semivae.data.inputs.columns import Column
from semivae.text import as_yaml

FEW_ROWS = 20  # with fewer rows it happens by chance
SAMPLE = 200  # rows that are looked at first: nearly all columns are told from the label by them


def telling_doubts(
    columns: Mapping[str, Column], rows: NDArray[np.intp], classes: NDArray[np.int64], label: str, what: str
) -> list[str]:
    """Warnings of columns in which each value goes with one class, and each class with one value.

    Args:
        columns: the inputs.
        rows: those that have a class.
        classes: its number, of each of them.
        label: the label's column.
        what: names the table.
    """
    if len(rows) < FEW_ROWS:
        return []
    return [
        f"{what}: column {name} says {label} in other words, a value for each class; leave it out with "
        f"source.ignore: [{as_yaml(name)}] if it is not known of new rows"
        for name, column in columns.items()
        if all(_tells(column, rows[:most], classes[:most]) for most in (SAMPLE, len(rows)))
    ]


def _tells(column: Column, rows: NDArray[np.intp], classes: NDArray[np.int64]) -> bool:
    values: dict[str, int] = {}
    for row, number in zip(rows.tolist(), classes.tolist(), strict=True):
        if values.setdefault(column.cells[row].strip(), number) != number:
            return False
    return len(values) == len(set(values.values())) > 1 and "" not in values
