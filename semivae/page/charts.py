"""Where the parts of simple charts lie, in units of their SVG view box; the templates draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from semivae.text import percent

Points = Sequence[tuple[float, float]]
Tick = tuple[float, str]  # where, and its text

WIDTH, HEIGHT = 340.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 12.0, 26.0


@dataclass(frozen=True)
class Scale:
    """From values to places: `low` lies at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return round(self.start + (self.end - self.start) * (value - self.low) / span, 1)


@dataclass(frozen=True)
class Line:
    """A named curve: the `d` of its SVG path, its last point, and its number, which the style goes by."""

    name: str
    path: str
    end: tuple[float, float]
    style: int


@dataclass(frozen=True)
class LineChart:
    """Curves over the steps of the training.

    Attributes:
        title: what the curves are of.
        alt: the chart in words.
        x_ticks, y_ticks: of the axes.
        lines: the curves.
    """

    title: str
    alt: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Whisker:
    """A value with its interval: a name, text, and where they lie."""

    name: str
    text: str
    y: float
    value: float
    low: float
    high: float
    style: int


@dataclass(frozen=True)
class WhiskerChart:
    """Values with intervals below each other, and what they are."""

    what: str
    alt: str
    height: float
    ticks: tuple[Tick, ...]
    rows: tuple[Whisker, ...]


@dataclass(frozen=True)
class Dot:
    """A bin of a reliability diagram: where, its interval, and its radius."""

    x: float
    y: float
    low: float
    high: float
    radius: float


@dataclass(frozen=True)
class Cloud:
    """Points of one class: its name, the `d` of a path of dots, the place of its name, and its number."""

    name: str
    path: str
    centre: tuple[float, float]
    style: int


def ticks_between(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers in [low, high], about `most` of them."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    step = 10 ** math.floor(math.log10(span / most))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if span / (step * factor) <= most)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def plain(value: float) -> str:
    """A number on an axis: thousands as k, and as many digits as set it apart from its neighbours."""
    return f"{value / 1000:,.6g}k" if abs(value) >= 10_000 else f"{value:,.6g}"


def line_chart(title: str, lines: Mapping[str, Points], share: bool = False, zero: bool = False) -> LineChart | None:
    """Curves of points (step, value) by name; None where there is no point.

    Args:
        title: what the values are.
        lines: the curves; points that are not finite are left out.
        share: whether values are fractions, written in percent.
        zero: whether the axis starts at 0.
    """
    kept = {name: [p for p in points if math.isfinite(p[1])] for name, points in lines.items()}
    points = [point for line in kept.values() for point in line]
    if not points:
        return None
    values = [value for _, value in points]
    low, high = (0.0 if zero and min(values) >= 0 else min(values)), max(values)
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    if share:
        low, high = max(low, 0.0), min(high, 1.0)
    across = Scale(0.0, max(step for step, _ in points) or 1.0, LEFT, WIDTH - RIGHT)
    up = Scale(low, high, HEIGHT - BOTTOM, TOP)
    written = percent if share else plain
    drawn = tuple(
        Line(name, _path(line, across, up), (across(line[-1][0]), up(line[-1][1])), style)
        for style, (name, line) in enumerate(kept.items())
        if line
    )
    ends = "; ".join(f"{name} ends at {written(line[-1][1])}" for name, line in kept.items() if line)
    return LineChart(
        title,
        f"{title} over the steps of the training: {ends}",
        tuple((across(tick), plain(tick)) for tick in ticks_between(0.0, across.high)),
        tuple((up(tick), written(tick)) for tick in ticks_between(low, high)),
        drawn,
    )


def _path(points: Points, across: Scale, up: Scale) -> str:
    if len(points) == 1:  # a line of no length is still a dot, with round ends
        return f"M{across(points[0][0])} {up(points[0][1])}h0"
    return "M" + "L".join(f"{across(x)} {up(y)}" for x, y in points)


NAMES_WIDTH, ROW_HEIGHT = 132.0, 26.0


def whisker_chart(
    rows: Sequence[tuple[str, float, Sequence[float] | None, int]], what: str, written: str = ".2%"
) -> WhiskerChart:
    """Values with their intervals.

    Args:
        rows: name, value, interval or None, and the number of a style.
        what: names the values.
        written: the format of a value; fractions in percent.
    """
    ends = [end for _, value, interval, _ in rows for end in (value, *(interval or ()))]
    low, high = min(ends), max(ends)
    low = 0.0 if low < 0.5 * high else low - 0.1 * (high - low or high)
    across = Scale(low, high if high > low else low + 1.0, NAMES_WIDTH, WIDTH - RIGHT - 10)
    drawn = tuple(
        Whisker(
            name,
            format(value, written),
            ROW_HEIGHT * (place + 0.7),
            across(value),
            across((interval or (value, value))[0]),
            across((interval or (value, value))[1]),
            style,
        )
        for place, (name, value, interval, style) in enumerate(rows)
    )
    alt = f"{what}: " + "; ".join(
        f"{name} {value:{written}}"
        + (f", 95% interval {interval[0]:{written}} to {interval[1]:{written}}" if interval else "")
        for name, value, interval, _ in rows
    )
    on_axis = percent if written.endswith("%") else plain
    ticks = tuple((across(tick), on_axis(tick)) for tick in ticks_between(across.low, across.high))
    return WhiskerChart(what, alt, ROW_HEIGHT * len(rows) + 34, ticks, drawn)


SQUARE, EDGE = 260.0, 34.0


def reliability_dots(bins: Sequence[Mapping[str, float]], intervals: Sequence[tuple[float, float]]) -> tuple[Dot, ...]:
    """Bins of a reliability diagram in a square of `SQUARE`, whose axes lie `EDGE` from its sides."""
    most = max(row["count"] for row in bins)
    across, up = Scale(0, 1, EDGE, SQUARE - 10), Scale(0, 1, SQUARE - EDGE, 10)
    return tuple(
        Dot(
            across(row["confidence"]),
            up(row["right"]),
            up(low),
            up(high),
            round(2.5 + 4.0 * math.sqrt(row["count"] / most), 1),
        )
        for row, (low, high) in zip(bins, intervals, strict=True)
    )


def clouds(places: Points, groups: Sequence[int], names: Sequence[str], side: float = 340.0) -> tuple[Cloud, ...]:
    """Points of a plane by group, in a square; each has the median place of its own as the place of its name."""
    xs, ys = ([point[axis] for point in places] for axis in (0, 1))
    size = max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0
    across = Scale(sum((min(xs), max(xs))) / 2 - size / 2, sum((min(xs), max(xs))) / 2 + size / 2, 10, side - 10)
    up = Scale(sum((min(ys), max(ys))) / 2 - size / 2, sum((min(ys), max(ys))) / 2 + size / 2, side - 10, 10)
    found = []
    for group in sorted(set(groups)):
        of = [(across(x), up(y)) for (x, y), number in zip(places, groups, strict=True) if number == group]
        middle = len(of) // 2
        centre = (sorted(x for x, _ in of)[middle], sorted(y for _, y in of)[middle])
        found.append(Cloud(names[group], "".join(f"M{x} {y}h0" for x, y in of), centre, group))
    return tuple(found)
