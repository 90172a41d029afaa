"""The benchmark of tables: whose labels are shown, and that all methods see the same rows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.sklearn_tables import METHODS, errors_of, hidden, rows_of_test


def test_few_labels_are_shown_and_one_of_each_class() -> None:
    y = np.array([0] * 50 + [1] * 49 + [2])
    for seed in range(20):
        shown = hidden(y, 10, seed)
        known = shown >= 0
        assert known.sum() == 10
        assert set(shown[known]) == {0, 1, 2}
        assert (shown[known] == y[known]).all()
    assert (hidden(y, 10, 0) != hidden(y, 10, 1)).any()


def test_a_third_is_for_the_test_the_same_each_time() -> None:
    assert len(rows_of_test(178)) == 59
    assert (rows_of_test(178) == rows_of_test(178)).all()


@pytest.mark.parametrize("method", [name for name in METHODS if name != "semivae"])
def test_other_methods_learn(method: str) -> None:
    assert errors_of("wine", method, 1).mean() < 0.2
