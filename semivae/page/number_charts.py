"""Charts of predicted numbers: predicted against true, what they are off by, and what their intervals hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semivae.page.charts import EDGE, SQUARE, Points, Scale, Tick, plain, ticks_between
from semivae.text import EXAMPLES, count_of, percent

MARGIN = 0.04  # of the range, beyond the outermost points
LABELS = 44.0  # room for numbers at the left of a chart


@dataclass(frozen=True)
class SquareChart:
    """Points and lines in a square.

    Attributes:
        title, caption: above and below it.
        alt: the chart in words.
        x_ticks, y_ticks: of the axes.
        dots: the `d` of paths of dots, each with the number of its style.
        curves: likewise of lines.
        ideal: the `d` of a dashed line on which everything would lie.
        left: where the vertical axis is.
    """

    title: str
    caption: str
    alt: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    dots: tuple[tuple[str, int], ...]
    curves: tuple[tuple[str, int], ...]
    ideal: str
    left: float = LABELS


def number_charts(points: Points, levels: Sequence[Mapping[str, Any]], unit: str) -> list[SquareChart]:
    """The three charts of a run's test examples.

    Args:
        points: (true, predicted) of each known number, in its unit.
        levels: the coverages of intervals and what they hold (`semivae.tasks.number_scores`).
        unit: of the numbers, or "".
    """
    shown = [point for point in points if all(map(math.isfinite, point))]
    named = f" ({unit})" if unit else ""
    return [*_scatters(shown, named), _coverage(levels)] if shown else []


def _scatters(points: Points, named: str) -> list[SquareChart]:
    true, predicted = zip(*points, strict=True)
    low, high = _widened(min(*true, *predicted), max(*true, *predicted))
    off = [(value, value - actual) for actual, value in points]
    far = max(abs(gap) for _, gap in off) or 1.0
    return [
        _scatter(
            f"Predicted against true{named}",
            "Across, the true number of each test example; up, the predicted one. On the dashed line they are equal.",
            points,
            (low, high),
            (low, high),
            ((low, low), (high, high)),
        ),
        _scatter(
            f"Residuals{named}",
            "Across, the predicted number; up, predicted minus true. A slope or a bend is a bias that depends on the "
            "number.",
            off,
            _widened(min(predicted), max(predicted)),
            _widened(-far, far),
            ((min(predicted), 0.0), (max(predicted), 0.0)),
        ),
    ]


def _widened(low: float, high: float) -> tuple[float, float]:
    room = MARGIN * (high - low or abs(low) or 1.0)
    return low - room, high + room


def _scatter(
    title: str,
    caption: str,
    points: Points,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    ideal: Points,
) -> SquareChart:
    across = Scale(*x_range, LABELS, SQUARE - 10)
    up = Scale(*y_range, SQUARE - EDGE, 10)
    path = "".join(f"M{across(x)} {up(y)}h0" for x, y in points)
    line = "M" + "L".join(f"{across(x)} {up(y)}" for x, y in ideal)
    shown = f"{title}: {count_of(len(points), *EXAMPLES, before='test')}"
    return SquareChart(title, caption, shown, _ticks(across), _ticks(up),
                       ((path, 0),), (), line)  # fmt: skip


def _ticks(scale: Scale) -> tuple[Tick, ...]:
    return tuple((scale(tick), plain(tick)) for tick in ticks_between(scale.low, scale.high))


def _coverage(levels: Sequence[Mapping[str, Any]]) -> SquareChart:
    across, up = Scale(0.0, 1.0, LABELS, SQUARE - 10), Scale(0.0, 1.0, SQUARE - EDGE, 10)
    series = {
        key: [(row["coverage"], row[key]) for row in levels if row.get(key) is not None]
        for key in ("covered", "normal")
    }
    curves = tuple(
        ("M" + "L".join(f"{across(x)} {up(y)}" for x, y in line), style)
        for style, line in zip((0, 2), series.values(), strict=True)
        if line
    )
    held = "; ".join(f"{key} {percent(round(line[-1][1], 3))} at {percent(line[-1][0])}" for key, line in series.items()
                     if line)  # fmt: skip
    ticks = tuple((place, percent(place)) for place in (0.0, 0.5, 1.0))
    conformal = "intervals chosen on the validation examples" if series["covered"] else ""
    return SquareChart(
        "What intervals hold, against what they promise",
        "Across, the promised coverage; up, how many test examples lie inside. "
        + (f"The strong line is of {conformal}, the grey one of" if conformal else "The line is of")
        + " the predicted normal distributions as they are. On the dashed line a promise is kept.",
        f"Coverage of intervals on the test examples: {held}",
        tuple((across(place), text) for place, text in ticks),
        tuple((up(place), text) for place, text in ticks),
        (),
        curves,
        f"M{across(0.0)} {up(0.0)}L{across(1.0)} {up(1.0)}",
    )
