"""Counts in messages: one of what is counted is spoken of in the singular."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semivae.data.inputs.pixels import check_finite, table_doubts
from semivae.data.inputs.reading import Reading
from semivae.errors import DataError
from semivae.text import count_of


@pytest.mark.parametrize(("count", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (12_345, "12,345 files")])
def test_one_is_singular_and_thousands_are_parted(count: int, text: str) -> None:
    assert count_of(count, "file", "files") == text


def test_what_is_left_out_agrees_with_its_number() -> None:
    for names, said in (
        (["a"], "1 other file is left out: a (odd)"),
        (["a", "b"], "2 other files are left out: a (odd)"),
    ):
        found = Reading(torch.zeros(1), ["x"], left_out=dict.fromkeys(names, "odd")).remarks()
        assert len(found) == 1 and found[0].startswith(said)


def test_one_value_and_one_column_agree_with_their_number() -> None:
    for bad, said in (([np.nan, 1.0], "1 value that is NaN"), ([np.nan, np.inf], "2 values that are NaN")):
        with pytest.raises(DataError, match=f"x holds {said}"):
            check_finite(np.array(bad), "x")
    rows = np.array([[0.0, 1e6], [1.0, 3e6]])
    assert "the numbers of 1 column are large (column 1" in table_doubts(rows, "x")[0]
