"""The benchmark of estimated class frequencies: what it draws, and how it scores."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.prior_shift.__main__ import counts_of, draw, scores


@pytest.mark.parametrize(
    ("shift", "total", "most", "least"), [("strong", 171, 50, 3), ("mild", 221, 40, 10), ("none", 250, 25, 25)]
)
def test_parts_have_the_stated_frequencies(shift: str, total: int, most: int, least: int) -> None:
    labels = np.repeat(np.arange(10), 50)
    rows = draw(labels, shift, 10, np.random.default_rng(0))
    counts = np.bincount(labels[rows])
    assert len(set(rows.tolist())) == len(rows) == total
    assert sorted(counts.tolist()) == sorted(counts_of(shift, 10).tolist())
    assert (counts.max(), counts.min()) == (most, least)


def test_scores_are_finite_where_the_true_class_was_ruled_out() -> None:
    with np.errstate(divide="ignore"):
        error, nll = scores(np.log(np.array([[0.5, 0.5], [1.0, 0.0]])), np.array([0, 1]))
    assert error == 0.5
    assert nll == pytest.approx((np.log(2) - np.log(np.finfo(np.float64).tiny)) / 2)
