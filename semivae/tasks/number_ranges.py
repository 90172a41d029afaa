"""Ranges of equal width between round numbers, in which numbers are counted."""

from __future__ import annotations

import math
from itertools import pairwise

MOST = 12  # ranges
STEPS = (1.0, 2.0, 5.0, 10.0, 20.0)  # times a power of ten


def ranges(low: float, high: float) -> tuple[list[float], list[str]]:
    """Returns the ends of ranges, [n + 1], that hold all numbers from `low` to `high`, and the text of each, [n].

    A range holds its lower end, the last one both. Where all numbers are equal there is one range.
    """
    span = high - low
    if not span > 0.0:
        return [low, high], [f"{low:g}"]
    power = math.floor(math.log10(span / MOST))
    step = next(times * 10.0**power for times in STEPS if fits(low, high, times * 10.0**power))
    first, last = math.floor(low / step), math.ceil(high / step)
    edges = [number * step for number in range(first, last + 1)]
    decimals = max(0, -math.floor(math.log10(step)))
    shown = [f"{edge:.{decimals}f}" for edge in edges]
    return edges, [f"{lower} to {upper}" for lower, upper in pairwise(shown)]


def fits(low: float, high: float, step: float) -> bool:
    """Returns whether at most `MOST` ranges of a width hold all numbers."""
    return math.ceil(high / step) - math.floor(low / step) <= MOST
