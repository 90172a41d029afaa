"""Scores of predicted numbers: how far they are off, how likely the true ones are, and whether intervals hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from semivae.metrics import error_interval
from semivae.tasks.number_intervals import COVERAGE, Intervals

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # coverages whose intervals are compared with what they hold
NORMAL = NormalDist()
NORMAL_95 = NORMAL.inv_cdf(0.975)  # standard errors from the middle of a 95% interval to its end


def scores_of(parts: Iterable[tuple[Tensor, Tensor]], chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns all scores of (means and scales [n, 2, *shape], numbers [n, *shape]), as plain numbers, lists and dicts.

    In the label's unit: "rmse" (of a vector, over all its numbers) and "rmse_interval" (95%, by the standard error of
    the mean square), "mae", "bias" (mean of prediction minus number), "r2", "nll" (nats per number, of the density per
    unit). For each of `LEVELS`, "levels" holds "coverage" and "normal", the fraction of the numbers within the
    normal distribution's central interval. With intervals that were chosen on validation examples, it also holds
    "covered", and "intervals" says of 90%: "coverage", "count" (validation examples), "covered" with
    "covered_interval" (95%, Clopper-Pearson), "mean_width" and "factors". Of a vector, "entries" repeats "rmse", "mae"
    and "r2" of each of its numbers.

    Args:
        parts: pairs of outputs and labels; NaN is not known and counts nowhere.
        chosen: `Intervals.facts`, or None.
    """
    outputs, labels = (torch.cat(column).double() for column in zip(*parts, strict=True))
    means, scales = outputs.reshape(len(outputs), 2, -1).unbind(dim=1)
    labels = labels.reshape(len(labels), -1)
    known = ~labels.isnan()
    gaps = means - labels
    scores: dict[str, Any] = {**_errors(gaps, labels), "bias": gaps[known].mean().item()}
    square = gaps[known].square()
    half = NORMAL_95 * square.std(correction=0).item() / math.sqrt(len(square))
    middle = square.mean().item()
    scores["rmse_interval"] = [math.sqrt(max(0.0, middle - half)), math.sqrt(middle + half)]
    z = (gaps / scales)[known]
    scores["nll"] = (0.5 * z.square() + scales[known].log() + 0.5 * math.log(2.0 * math.pi)).mean().item()
    rows = [
        {
            "coverage": level,
            "normal": (z.abs() <= NORMAL.inv_cdf((1.0 + level) / 2.0)).double().mean().item(),
        }
        for level in LEVELS
    ]
    if chosen is not None:
        intervals = Intervals.kept(chosen)
        for row in rows:
            if intervals.promises(row["coverage"]):
                row["covered"] = _held(intervals, outputs, labels, row["coverage"])[known].double().mean().item()
        if intervals.promises(COVERAGE):
            scores["intervals"] = _interval_scores(intervals, outputs, labels)
    scores["levels"] = rows
    if labels.shape[1] > 1:
        scores["entries"] = [_errors(gaps[:, place], labels[:, place]) for place in range(labels.shape[1])]
    return scores


def _errors(gaps: Tensor, labels: Tensor) -> dict[str, float]:
    """RMSE, MAE and R2 of the known numbers. R2 compares with the mean of each column, and is 0 where all are equal."""
    known = ~labels.isnan()
    square = gaps[known].square().mean().item()
    columns = labels.reshape(len(labels), -1)
    centred = (columns - columns.nanmean(dim=0)).reshape(labels.shape)[known]
    variance = centred.square().mean().item()
    r2 = 1.0 - square / variance if variance > 0.0 else 0.0
    return {"rmse": math.sqrt(square), "mae": gaps[known].abs().mean().item(), "r2": r2}


def _held(intervals: Intervals, outputs: Tensor, labels: Tensor, coverage: float) -> Tensor:
    """Whether each number lies within its interval, bool [n, K]."""
    low, high = intervals.bounds(outputs, coverage).reshape(len(outputs), 2, -1).unbind(dim=1)
    return (low <= labels) & (labels <= high)


def _interval_scores(intervals: Intervals, outputs: Tensor, labels: Tensor) -> dict[str, Any]:
    known = ~labels.isnan()
    held = _held(intervals, outputs, labels, COVERAGE)[known]
    low, high = intervals.bounds(outputs, COVERAGE).unbind(dim=1)
    count = int(held.sum())
    return {
        "coverage": COVERAGE,
        "count": intervals.count,
        "covered": count / len(held),
        "covered_interval": list(error_interval(count, len(held))),
        "mean_width": (high - low).mean().item(),
        "factors": list(intervals.factors(COVERAGE)),
    }
