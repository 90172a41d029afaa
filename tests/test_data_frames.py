"""Data frames as tables of cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from semivae.data.formats.cell_texts import CellStyle
from semivae.data.formats.frame_cells import frame_cells, is_frame
from semivae.errors import DataError


class Frame:
    """As much of a data frame as is asked of one."""

    dtypes = ()

    def __init__(self, columns: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
        self.columns, self.shape, self.rows = columns, (len(rows), len(columns)), rows

    def __getitem__(self, name: object) -> list[object]:
        return [row[self.columns.index(name)] for row in self.rows]


def test_values_are_written_as_a_file_holds_them() -> None:
    frame = Frame(["a", 1, "c"], [[1.5, "x, y", True], [math.nan, None, False], [np.float32(0.5), 7, np.int64(3)]])
    assert is_frame(frame)
    assert not any(is_frame(other) for other in (np.zeros((2, 2)), {"a": [1]}, [[1]], "rows.csv"))
    assert frame_cells(frame, CellStyle()) == {
        "a": ["1.5", "", "0.5"],
        "1": ["x, y", "", "7"],
        "c": ["True", "False", "3"],
    }
    assert frame_cells(frame, CellStyle(decimal="comma"))["a"] == ["1,5", "", "0,5"]


def test_whole_numbers_are_written_as_the_known_categories_are() -> None:
    frame = Frame(["zone"], [[1.0], [None], [2], [2.5], [True], [float("inf")]])
    assert frame_cells(frame, CellStyle(), {"zone": ("1", "2")})["zone"] == ["1", "", "2", "2.5", "True", "inf"]
    assert frame_cells(frame, CellStyle(), {"zone": ("1.0", "2.0")})["zone"][:3] == ["1.0", "", "2.0"]
    assert frame_cells(frame, CellStyle(decimal="comma"), {"zone": ("2,0",)})["zone"][2] == "2,0"
    assert frame_cells(frame, CellStyle(), {"other": ("1",)})["zone"][0] == "1.0"


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="several columns called a; keep one"):
        frame_cells(Frame(["a", "a"], [[1, 2]]), CellStyle())
