"""How good a classifier's probabilities are: error, likelihood, calibration. Plain functions of arrays.

Throughout, `probabilities` is a float array of shape (n, K) whose rows sum to one, and `labels` an integer array of
shape (n,) with values in 0..K-1. Torch tensors on any device are taken too. Arrays that do not fit raise `ValueError`:
they come from code, not from a user.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

SMALLEST_PROBABILITY = 1e-12  # a certain mistake costs 27.6 nats and not infinitely many
CALIBRATION_BINS = 15


def error_interval(wrong: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of the error rate after `wrong` mistakes in `count` independent examples.

    It is exact: it covers the true rate with at least the stated confidence, also at 0 or `count` mistakes. It speaks
    of the test set's finite size only, neither of the choice of labels nor of the training seed.
    Source: Clopper and Pearson, Biometrika 1934.
    """
    from scipy.stats import binomtest  # importing it takes a while

    if not 0 <= wrong <= count or count < 1:
        raise ValueError(f"{wrong} mistakes in {count} examples make no rate")
    interval = binomtest(wrong, count).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean of -log p(label), in nats per example. Probabilities below 1e-12 count as 1e-12."""
    p, y = _checked(probabilities, labels)
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], SMALLEST_PROBABILITY)).mean())


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Squared distance to the one-hot label, summed over the classes, averaged over the examples; in 0..2.

    Source: Brier, Monthly Weather Review 1950 (the original, multi-class definition).
    """
    p, y = _checked(probabilities, labels)
    distance = p.copy()
    distance[np.arange(len(y)), y] -= 1.0
    return float((distance**2).sum(axis=1).mean())


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error of the predicted class, in 0..1: mean over examples of |accuracy - confidence|.

    Accuracy and mean confidence are compared inside the bins of `reliability`, and each bin counts with its share of
    the examples. Source: Guo et al., ICML 2017.
    """
    found = reliability(probabilities, labels, bins)
    total = sum(row["count"] for row in found)
    return float(sum(abs(row["right"] - row["confidence"]) * row["count"] for row in found) / total)


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = CALIBRATION_BINS) -> list[dict[str, Any]]:
    """A reliability diagram as rows: how often the predicted class is right where it is so sure.

    Confidence is the largest probability of a row of `probabilities`. For each of `bins` bins of equal width over
    [0, 1] that has examples: "confidence" and "right", their means, and "count". Source: Guo et al., ICML 2017.
    """
    p, y = _checked(probabilities, labels)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    # a bin is open below and closed above, so that a confidence of exactly 1 falls into the last one
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    members = [place == number for number in range(bins) if (place == number).any()]
    return [
        {"confidence": float(confidence[rows].mean()), "right": float(right[rows].mean()), "count": int(rows.sum())}
        for rows in members
    ]


def confusion_matrix(probabilities: ArrayLike, labels: ArrayLike) -> Counts:
    """Counts of shape (K, K): row = true class, column = predicted class."""
    p, y = _checked(probabilities, labels)
    classes = p.shape[1]
    return np.bincount(y * classes + p.argmax(axis=1), minlength=classes * classes).reshape(classes, classes)


def class_errors(confusion: ArrayLike) -> list[float | None]:
    """Error of each true class, in 0..1, from a confusion matrix (K, K); None where a class has no example."""
    counts = np.asarray(confusion)
    totals = counts.sum(axis=1)
    return [float(1.0 - right / total) if total else None for right, total in zip(np.diag(counts), totals, strict=True)]


def _floats(values: ArrayLike) -> Floats:
    """An array, list or tensor as float64; float32 sums over 10,000 examples would lose digits."""
    to_cpu = getattr(values, "cpu", None)  # a torch tensor, without importing torch here
    return np.asarray(values if to_cpu is None else to_cpu(), dtype=np.float64)


def _checked(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Floats, Counts]:
    p = _floats(probabilities)
    y = _floats(labels).astype(np.int64)
    if p.ndim != 2 or y.shape != p.shape[:1] or not len(y):
        raise ValueError(f"need probabilities (n, K) and labels (n,) with n > 0, got {p.shape} and {y.shape}")
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise ValueError(f"labels must lie in 0..{p.shape[1] - 1}, got {y.min()}..{y.max()}")
    if not np.allclose(p.sum(axis=1), 1.0, atol=1e-3) or p.min() < 0.0:  # NaN fails here too
        raise ValueError("each row of probabilities must be non-negative and sum to one")
    return p, y
