"""Scores of class probabilities: error, likelihood, calibration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semivae import metrics


def scores_of(parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str]) -> dict[str, Any]:
    """Returns all scores of (probabilities [n, K], labels [n]), as plain numbers, lists and dicts.

    "error" and "error_interval" (95%, Clopper-Pearson), "nll" (nats), "brier" (0..2), "ece" (15 bins) and
    "reliability" (its bins, `metrics.reliability`), "per_class" (class name to error, None for a class without
    images), "confusion" (rows: true classes).
    """
    probabilities, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    confusion = metrics.confusion_matrix(probabilities, labels)
    wrong = int(confusion.sum() - np.trace(confusion))
    return {
        "error": wrong / len(labels),
        "error_interval": list(metrics.error_interval(wrong, len(labels))),
        "nll": metrics.negative_log_likelihood(probabilities, labels),
        "brier": metrics.brier_score(probabilities, labels),
        "ece": metrics.calibration_error(probabilities, labels),
        "reliability": metrics.reliability(probabilities, labels),
        "per_class": dict(zip(classes, metrics.class_errors(confusion), strict=True)),
        "confusion": confusion.tolist(),
    }
