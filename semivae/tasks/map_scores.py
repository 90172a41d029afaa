"""Scores of segmentation maps: intersection over union (IoU), pixel accuracy, likelihood and calibration.

Pixels whose true class is unknown (`VOID`) do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from semivae.metrics import CALIBRATION_BINS, SMALLEST_PROBABILITY

FEWEST_RESAMPLED = 5  # the number of images that an interval needs
RESAMPLES = 1000  # bootstrap samples for the interval of the mean IoU


def scores_of(parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str]) -> dict[str, Any]:
    """Returns all scores of (probabilities [n, K, height, width], maps [n, height, width]), in plain Python types.

    "mean_iou" (over the classes that occur) and "mean_iou_interval" (95%, images resampled; None for fewer than 5),
    "pixel_accuracy", "error" (1 - pixel accuracy), "nll" (nats per pixel), "brier" (0..2), "ece" (15 bins), all over
    the pixels of all images; "per_class" (class name to IoU, None where neither map nor prediction has the class),
    "confusion" (pixels; rows: true classes).
    """
    confusions: list[NDArray[np.int64]] = []
    sums = np.zeros(2)
    bins = np.zeros(CALIBRATION_BINS)
    for probabilities, maps in parts:
        p = probabilities.permute(0, 2, 3, 1).double().numpy()
        y = maps.numpy().astype(np.int64)
        confusions += [image_confusion(*pair, len(classes)) for pair in zip(p.argmax(axis=-1), y, strict=True)]
        p, y = p[y >= 0], y[y >= 0]
        at_label = p[np.arange(len(y)), y]
        sums[0] -= np.log(np.maximum(at_label, SMALLEST_PROBABILITY)).sum()
        sums[1] += ((p**2).sum(axis=1) - 2 * at_label + 1).sum()
        confidence = p.max(axis=1)
        place = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
        bins += np.bincount(place, weights=(p.argmax(axis=1) == y) - confidence, minlength=CALIBRATION_BINS)
    each = np.stack(confusions)
    total = each.sum(axis=0)
    count = max(1, int(total.sum()))
    accuracy = float(np.trace(total) / count)
    per_class = intersection_over_union(total)
    return {
        "mean_iou": mean_iou(total),
        "mean_iou_interval": mean_iou_interval(each),
        "pixel_accuracy": accuracy,
        "error": 1.0 - accuracy,
        "nll": float(sums[0] / count),
        "brier": float(sums[1] / count),
        "ece": float(np.abs(bins).sum() / count),
        "per_class": {name: _number(iou) for name, iou in zip(classes, per_class, strict=True)},
        "confusion": total.tolist(),
    }


def _number(iou: float) -> float | None:
    """Returns a number for JSON, which has no NaN."""
    return None if np.isnan(iou) else float(iou)


def image_confusion(predicted: NDArray[np.int64], true: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Returns the pixel counts of one image by true (row) and predicted class (column), [K, K], without void pixels."""
    known = true >= 0
    pairs = true[known] * classes + predicted[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def intersection_over_union(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the IoU of each class, in 0..1; NaN if neither truth nor prediction has the class."""
    right = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    iou: NDArray[np.float64] = np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)
    return iou


def mean_iou(confusion: NDArray[np.int64]) -> float:
    """Returns the mean IoU over the classes that occur, from the pixels of all images together."""
    iou = intersection_over_union(confusion)
    return float(np.nanmean(iou)) if not np.isnan(iou).all() else 0.0


def mean_iou_interval(each: NDArray[np.int64], confidence: float = 0.95) -> list[float] | None:
    """Returns a bootstrap interval of the mean IoU: percentiles over images resampled with replacement.

    Images are resampled, not pixels, because the pixels of one image are dependent; so are several images of one
    person, which the interval ignores. Returns None for fewer than `FEWEST_RESAMPLED` images.
    """
    if len(each) < FEWEST_RESAMPLED:
        return None
    generator = np.random.default_rng(0)
    draws = generator.multinomial(len(each), np.full(len(each), 1 / len(each)), size=RESAMPLES)
    totals = np.tensordot(draws, each, axes=1)
    low, high = np.quantile([mean_iou(total) for total in totals], [(1 - confidence) / 2, (1 + confidence) / 2])
    return [float(low), float(high)]
