"""Scores of attributes: mean average precision, F1 at thresholds, likelihood and calibration.

Unknown entries do not count.

Average precision is the mean, over the examples that have an attribute, of the precision among those with at least
their probability: the area under the precision-recall curve without interpolation, as scikit-learn defines it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae import metrics

Floats = NDArray[np.float64]
RESAMPLES = 1000  # of the examples, for the interval of an evaluation
FEWEST_RESAMPLED = 5  # the number of examples that an interval needs
LARGEST_PART = 2_000_000  # weights of resampled examples that are held at a time
UNCHOSEN = 0.5  # the threshold of an attribute where no validation example can choose another


def scores_of(
    parts: Iterable[tuple[Tensor, Tensor]], names: Sequence[str], chosen: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Returns all scores of (probabilities [n, K], attributes [n, K]), as plain numbers, lists and dicts.

    "mean_average_precision" (over the attributes that occur) and "mean_average_precision_interval" (95%, examples
    resampled), "macro_f1" (the mean over the same attributes), "micro_f1" and "error" (the fraction of wrong entries),
    all at the thresholds; "nll" (nats per entry), "brier" (0..1), "ece" (15 bins, mean over the attributes) and
    "reliability" (of all entries together, `metrics.reliability`); "thresholds_chosen_on" (validation examples; 0: all
    are 0.5); "per_class" (name to average precision, None for one that does not occur) and "per_attribute": name to
    "positives", "known", "average_precision", "threshold", "f1", "nll" and "ece".

    Args:
        parts: probabilities, and attributes 0, 1 or `VOID`.
        names: of the attributes.
        chosen: what `choose_thresholds` returned.
    """
    p, y = joined(parts)
    thresholds = thresholds_of(chosen, len(names))
    known, answers = y >= 0, p > thresholds
    precisions, interval = mean_average_precision(p, y), mean_interval(p, y)
    binary = [_binary(p[known[:, k], k], y[known[:, k], k]) for k in range(len(names))]
    each = {
        name: {
            "positives": int((y[:, k] == 1).sum()),
            "known": int(known[:, k].sum()),
            "average_precision": _number(precisions[k]),
            "threshold": float(thresholds[k]),
            "f1": _number(f1(answers[:, k : k + 1], y[:, k : k + 1])),
            "nll": binary[k][0],
            "ece": binary[k][1],
        }
        for k, name in enumerate(names)
    }
    every = torch.from_numpy(np.stack([1.0 - p[known], p[known]], axis=1))
    occurring = [row["f1"] or 0.0 for row in each.values() if row["average_precision"] is not None]
    return {
        "mean_average_precision": mean_of(precisions),
        "mean_average_precision_interval": interval,
        "macro_f1": float(np.mean(occurring)) if occurring else 0.0,
        "micro_f1": _number(f1(answers, y)) or 0.0,
        "error": float((answers != (y == 1))[known].mean()),
        "nll": float(np.mean(-np.log(np.maximum(np.where(y == 1, p, 1.0 - p)[known], metrics.SMALLEST_PROBABILITY)))),
        "brier": float(((p - y)[known] ** 2).mean()),
        "ece": float(np.mean([row["ece"] for row in each.values() if row["ece"] is not None])),
        "reliability": metrics.reliability(every, torch.from_numpy(y[known])),
        "thresholds_chosen_on": 0 if chosen is None else chosen["count"],
        "per_class": {name: row["average_precision"] for name, row in each.items()},
        "per_attribute": each,
    }


def joined(parts: Iterable[tuple[Tensor, Tensor]]) -> tuple[Floats, NDArray[np.int64]]:
    """Returns probabilities and attributes [n, K] of all parts."""
    probabilities, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    return probabilities.double().cpu().numpy(), labels.cpu().numpy().astype(np.int64)


def _number(value: float) -> float | None:
    """Returns a number for JSON, which has no NaN."""
    return None if np.isnan(value) else float(value)


def _binary(p: Floats, y: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """Returns NLL (nats) and calibration error of one attribute's known entries; None without any."""
    if not len(y):
        return None, None
    both, labels = torch.from_numpy(np.stack([1.0 - p, p], axis=1)), torch.from_numpy(y)
    return metrics.negative_log_likelihood(both, labels), metrics.calibration_error(both, labels)


# Average precision ---------------------------------------------------------------------------------------------------


def mean_average_precision(p: Floats, y: NDArray[np.int64], weights: NDArray[np.int64] | None = None) -> Floats:
    """Returns the average precision of each attribute, [K], or [K, R] under weights; NaN for one that does not occur.

    Args:
        p: probabilities, [n, K].
        y: attributes, [n, K].
        weights: how often each example counts, [R, n]; None: once.
    """
    found = [average_precision(p[:, k], y[:, k], weights) for k in range(p.shape[1])]
    return np.stack(found)


def average_precision(p: Floats, y: NDArray[np.int64], weights: NDArray[np.int64] | None = None) -> Any:
    """Returns the average precision of one attribute, from probabilities and values [n]; under weights [R, n], [R]."""
    known = np.flatnonzero(y >= 0)
    order = known[np.argsort(-p[known], kind="stable")]
    counts = np.ones((1, len(order))) if weights is None else weights[:, order].astype(np.float64)
    positive = counts * (y[order] == 1)
    # examples of one probability are one step of the curve, which ends with the last of them
    ends = np.searchsorted(-p[order], -p[order], side="right") - 1
    precision = (positive.cumsum(axis=1) / np.maximum(counts.cumsum(axis=1), 1.0))[:, ends]
    total = positive.sum(axis=1)
    found = np.divide((positive * precision).sum(axis=1), total, out=np.full(len(counts), np.nan), where=total > 0)
    return found[0] if weights is None else found


def mean_of(precisions: Floats) -> float:
    """Returns the mean over the attributes that occur; 0 if none does."""
    return float(np.nanmean(precisions)) if not np.isnan(precisions).all() else 0.0


def resampled_means(p: Floats, y: NDArray[np.int64], count: int) -> Floats:
    """Returns the mean average precision of `count` samples of the examples, drawn with replacement from seed 0."""
    generator = np.random.default_rng(0)
    means: list[float] = []
    while len(means) < count:
        most = max(1, min(count - len(means), LARGEST_PART // len(p)))
        weights = generator.multinomial(len(p), np.full(len(p), 1 / len(p)), size=most)
        means += [mean_of(column) for column in mean_average_precision(p, y, weights).T]
    return np.array(means)


def mean_interval(p: Floats, y: NDArray[np.int64]) -> list[float] | None:
    """Returns a 95% bootstrap interval of the mean average precision; None for fewer than 5 examples.

    Examples are resampled, not entries, because the attributes of one example are dependent.
    """
    if len(p) < FEWEST_RESAMPLED:
        return None
    low, high = np.quantile(resampled_means(p, y, RESAMPLES), [0.025, 0.975])
    return [float(low), float(high)]


# Thresholds ----------------------------------------------------------------------------------------------------------


def choose_thresholds(parts: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Returns the "thresholds" [K] with the best F1 of each attribute, and the "count" of examples they are chosen on.

    They lie half way between two neighbouring probabilities (Lipton et al. 2014, "Optimal thresholding of classifiers
    to maximize F1 measure"); an attribute that does not occur, or always does, keeps `UNCHOSEN`.
    """
    p, y = joined(parts)
    return {"thresholds": [best_threshold(p[:, k], y[:, k]) for k in range(p.shape[1])], "count": len(p)}


def best_threshold(p: Floats, y: NDArray[np.int64]) -> float:
    """Returns the threshold on probabilities [n] with the best F1 for values [n]; of several, the largest."""
    known = y >= 0
    positives = int((y == 1).sum())
    if positives in (0, int(known.sum())):
        return UNCHOSEN
    order = np.argsort(-p[known], kind="stable")
    sorted_p, hits = p[known][order], (y[known][order] == 1).cumsum()
    scores = 2 * hits / (np.arange(1, len(hits) + 1) + positives)
    next_p = np.append(sorted_p[1:], 0.0)
    scores[next_p == sorted_p] = -1.0  # no threshold parts equal probabilities
    best = int(scores.argmax())
    return float((sorted_p[best] + next_p[best]) / 2)


def thresholds_of(chosen: Mapping[str, Any] | None, count: int) -> Floats:
    """Returns the thresholds [K] that were chosen, or else `UNCHOSEN`."""
    return np.full(count, UNCHOSEN) if chosen is None else np.array(chosen["thresholds"], dtype=np.float64)


def f1(answers: NDArray[np.bool_], y: NDArray[np.int64]) -> float:
    """Returns F1, 2 hits / (answers + positives), over all known entries [n, K]; NaN without answer and positive."""
    answered, positive = answers & (y >= 0), y == 1
    both = int(answered.sum() + positive.sum())
    return 2 * int((answered & positive).sum()) / both if both else float("nan")
