"""Distances of feature sets: cases that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from semivae.generative.curves import curves_svg
from semivae.generative.scores import frechet_distance, precision_recall


def some(count: int = 50, width: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, width))


def test_frechet_of_a_set_and_its_moved_or_stretched_copy() -> None:
    x = some()
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(x, x + np.array([3.0, 0.0, 4.0])) == pytest.approx(25.0)
    stretched = (x - x.mean(0)) * 3.0 + x.mean(0)
    assert frechet_distance(x, stretched) == pytest.approx(4.0 * np.trace(np.cov(x, rowvar=False)))
    assert frechet_distance(x, stretched) == pytest.approx(frechet_distance(stretched, x))


def test_frechet_of_flat_sets_and_of_covariances_that_do_not_commute() -> None:
    flat = some() * [1.0, 0.0, 2.0]  # one direction without any spread
    assert frechet_distance(flat, flat) == pytest.approx(0.0, abs=1e-9)
    one, other = some(), some() @ np.array([[1.0, 0.7, 0.0], [0.0, 1.0, 0.3], [0.2, 0.0, 1.5]])
    a, b = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = sum(math.sqrt(value) for value in np.linalg.eigvals(a @ b).real)
    shift = ((one.mean(0) - other.mean(0)) ** 2).sum()
    assert frechet_distance(one, other) == pytest.approx(shift + np.trace(a) + np.trace(b) - 2 * root)


def test_precision_and_recall_on_a_line() -> None:
    real = np.arange(10.0)[:, None]  # balls of radius 1, at the ends too: each reaches to its nearest neighbour
    half = np.arange(0.0, 5.0, 0.5)[:, None]  # balls of radius 1/2
    assert precision_recall(real, half, neighbours=1) == (1.0, 0.6), "0 to 4, and 5 at the edge"
    assert precision_recall(real, real + 100.0, neighbours=1) == (0.0, 0.0)
    assert precision_recall(real, real, neighbours=3) == (1.0, 1.0)


@pytest.mark.parametrize("shapes", [((1, 3), (5, 3)), ((5, 3), (5, 2)), ((5,), (5,))])
def test_sets_that_do_not_fit(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    one, other = (np.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match="need two sets"):
        frechet_distance(one, other)
    with pytest.raises(ValueError, match="need two sets of 4 or more"):
        precision_recall(some(3), some(9))


def test_curves_are_a_picture_even_of_nothing() -> None:
    svg = curves_svg("a < b", "rounds", {"one": [(0, 1.0), (10, 3.0)], "two": [(1, math.nan)]})
    assert svg.startswith("<svg") and "a &lt; b" in svg and svg.count("<polyline") == 3
    assert "nan" not in svg
    assert curves_svg("empty", "rounds", {}).endswith("</svg>\n")
