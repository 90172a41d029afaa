"""How good maps are: intersection over union, pixel accuracy, likelihood and calibration of every place.

Places that the true map does not know (`VOID`) count in nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from semivae.metrics import CALIBRATION_BINS, SMALLEST_PROBABILITY

FEWEST_RESAMPLED = 5  # images that an interval needs
RESAMPLES = 1000  # of the images, for the interval of the mean IoU


def scores_of(parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str]) -> dict[str, Any]:
    """All scores of (probabilities [n, K, height, width], maps [n, height, width]), as plain numbers, lists and dicts.

    "mean_iou" (over the classes that occur) and "mean_iou_interval" (95%, images resampled; None for fewer than 5),
    "pixel_accuracy", "error" (1 - pixel accuracy), "nll" (nats a pixel), "brier" (0..2), "ece" (15 bins), all over the
    pixels of all images; "per_class" (class name to IoU, None where neither map nor prediction has the class),
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
        "per_class": {name: found(iou) for name, iou in zip(classes, per_class, strict=True)},
        "confusion": total.tolist(),
    }


def found(iou: float) -> float | None:
    return None if np.isnan(iou) else float(iou)


def image_confusion(predicted: NDArray[np.int64], true: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Pixels of one image by true (row) and predicted class (column), [K, K]; void places are left out."""
    known = true >= 0
    pairs = true[known] * classes + predicted[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def intersection_over_union(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of each class, in 0..1; NaN where neither truth nor prediction has it."""
    right = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    found: NDArray[np.float64] = np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)
    return found


def mean_iou(confusion: NDArray[np.int64]) -> float:
    """Mean IoU over the classes that occur, of the pixels of all images together."""
    found = intersection_over_union(confusion)
    return float(np.nanmean(found)) if not np.isnan(found).all() else 0.0


def mean_iou_interval(each: NDArray[np.int64], confidence: float = 0.95) -> list[float] | None:
    """Interval of the mean IoU if other images had been drawn: percentiles over images resampled with replacement.

    Pixels of one image depend on each other, so images are resampled, not pixels; images of one person still do too.
    None below `FEWEST_RESAMPLED` images: a few resampled say little of others, and one says nothing.
    """
    if len(each) < FEWEST_RESAMPLED:
        return None
    generator = np.random.default_rng(0)
    draws = generator.multinomial(len(each), np.full(len(each), 1 / len(each)), size=RESAMPLES)
    totals = np.tensordot(draws, each, axes=1)
    low, high = np.quantile([mean_iou(total) for total in totals], [(1 - confidence) / 2, (1 + confidence) / 2])
    return [float(low), float(high)]
