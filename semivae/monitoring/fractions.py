"""Fractions of a number of examples. Two of them differ *clearly* if their exact 95% intervals do not overlap."""

from __future__ import annotations

import math

from semivae.metrics import error_interval


def interval(fraction: float, count: int) -> tuple[float, float]:
    """Returns the exact 95% interval of a fraction of `count` examples.

    A mean of values between 0 and 1 (a posterior, a map's fraction of pixels) varies less than a count. Its interval is
    then wider than necessary, and the warning is later.
    """
    return error_interval(min(count, max(0, round(fraction * count))), count)


def clearly_above(fraction: float, other: float, count: int) -> bool:
    """Returns whether the 95% interval of a fraction of `count` examples lies above that of another."""
    return count > 0 and interval(fraction, count)[0] > interval(other, count)[1]


def standard_error(fraction: float, other: float, count: int) -> float:
    """Returns the standard error of the difference of two independent fractions of `count` examples each."""
    return math.sqrt((fraction * (1.0 - fraction) + other * (1.0 - other)) / count) if count else math.inf


def halfway(chance: float) -> float:
    """Returns the accuracy half way between chance and 1."""
    return (1.0 + chance) / 2.0
