"""Split conformal prediction sets by adaptive scores (APS), and p-values: plain functions of arrays, without a run.

The score of a class is how much probability is spent before it, in the order of falling probability, and a share u of
its own: s(x, y) = sum of p(k) over the classes above y + u * p(y). A set holds the classes whose score is at most a
threshold, which is a quantile of the scores of the true classes on examples that nobody trained on. If these and a new
example are exchangeable, the new one's set holds its class with at least the stated probability, whatever the model.
Sources: Romano, Sesia and Candes, "Classification with valid and adaptive coverage" (APS), NeurIPS 2020; the quantile
as in Angelopoulos and Bates, "A gentle introduction to conformal prediction", 2021.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDING = 1e-9  # 20 * 0.95 may be a hair above 19, whose ceiling is not 20


def adaptive_scores(probabilities: Floats, u: Floats) -> Floats:
    """APS scores of all classes, [n, K] in [0, 1], from probabilities [n, K] and one number u of each example, [n].

    Of equal probabilities the class with the lower number comes first.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    falling = np.take_along_axis(probabilities, order, axis=1)
    before = np.cumsum(falling, axis=1) - falling
    scores = np.empty_like(falling)
    np.put_along_axis(scores, order, before + u[:, None] * falling, axis=1)
    return scores


def rank_of(count: int, coverage: float) -> int:
    """Which of `count` scores in rising order, from 1, is the threshold: ceil((n + 1) * coverage).

    It is above `count` where no threshold promises so much.
    """
    return math.ceil((count + 1) * coverage - ROUNDING)


def threshold_of(scores: Floats, coverage: float) -> float:
    """The threshold of a stated coverage: the score of that rank among the true classes' scores [n].

    Raises:
        ValueError: there are too few scores (`fewest`).
    """
    rank = rank_of(len(scores), coverage)
    if not 1 <= rank <= len(scores):
        raise ValueError(f"{len(scores)} scores promise no coverage of {coverage}")
    return float(np.sort(scores)[rank - 1])


def fewest(coverage: float) -> int:
    """How many examples a coverage needs at least: 1 / (1 - coverage) - 1, rounded up; 19 for 0.95."""
    return math.ceil(1.0 / (1.0 - coverage) - 1.0 - ROUNDING)


def coverage_interval(count: int, coverage: float, confidence: float = 0.95) -> tuple[float, float]:
    """Between which numbers the coverage lies, over the draw of `count` calibration examples.

    The promise is a mean over these draws; with one of them, the coverage of new examples follows
    Beta(k, n + 1 - k), k the rank of the threshold (Vovk, "Conditional validity of inductive conformal predictors",
    2012). The interval is the middle `confidence` of it.
    """
    from scipy.stats import beta  # importing it takes a while

    rank = rank_of(count, coverage)
    low, high = beta.ppf([(1 - confidence) / 2, (1 + confidence) / 2], rank, count + 1 - rank)
    return float(low), float(high)


def uniform_of(values: NDArray[np.float32]) -> Floats:
    """A number in [0, 1) of each example [n, ...], uniform as far as anybody can tell: from the SHA-256 of its numbers.

    The same example has the same number in every batch and on every machine. As it is a function of the example, it
    changes nothing about exchangeability.
    """
    flat = np.ascontiguousarray(values.reshape(len(values), -1), dtype="<f4")
    digests = (hashlib.sha256(b"semivae-sets:" + row.tobytes()).digest() for row in flat)
    return np.array([int.from_bytes(digest[:6], "big") / 2**48 for digest in digests])


def p_values_of(scores: Floats, familiar: Floats) -> Floats:
    """(1 + how many familiar scores are at least as high) / (1 + how many there are), for each score, [n]."""
    below = np.searchsorted(np.sort(familiar), scores, side="left")
    return np.asarray((1 + len(familiar) - below) / (1 + len(familiar)), dtype=np.float64)
