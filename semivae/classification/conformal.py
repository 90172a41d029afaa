"""Split conformal prediction sets by adaptive scores (APS, RAPS), and p-values: functions of arrays, without a run.

The score of a class is how much probability is spent before it, in the order of falling probability, and a share u of
its own: s(x, y) = sum of p(k) over the classes above y + u * p(y). A set holds the classes whose score is at most a
threshold, which is a quantile of the scores of the true classes on examples that nobody trained on. If these and a new
example are exchangeable, the new one's set holds its class with at least the stated probability, whatever the model.
Regularised scores (RAPS) add a penalty for every rank beyond the first few, so that long tails of unlikely classes do
not blow sets up. Sources: Romano, Sesia and Candes, "Classification with valid and adaptive coverage" (APS), NeurIPS
2020; Angelopoulos, Bates, Malik and Jordan, "Uncertainty sets for image classifiers using conformal prediction" (RAPS),
ICLR 2021; the quantile as in Angelopoulos and Bates, "A gentle introduction to conformal prediction", 2021.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDING = 1e-9  # 20 * 0.95 may be a hair above 19, whose ceiling is not 20


PENALTIES = (0.0, 0.001, 0.01, 0.1, 0.2, 0.5)  # for each rank, of which RAPS chooses one: its authors' and none


@dataclass(frozen=True)
class Penalty:
    """What RAPS adds to a score: `weight` for each rank beyond `free` ones, counted from 1. Nothing makes it APS."""

    weight: float = 0.0
    free: int = 0


NONE = Penalty()


def adaptive_scores(probabilities: Floats, u: Floats, penalty: Penalty = NONE) -> Floats:
    """Scores of all classes, [n, K], at least 0, from probabilities [n, K] and one number u of each example, [n].

    Of equal probabilities the class with the lower number comes first. Without a penalty they are at most 1.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    falling = np.take_along_axis(probabilities, order, axis=1)
    before = np.cumsum(falling, axis=1) - falling
    ranks = np.arange(1, probabilities.shape[1] + 1)
    scores = np.empty_like(falling)
    penalties = penalty.weight * np.maximum(0, ranks - penalty.free)
    np.put_along_axis(scores, order, before + u[:, None] * falling + penalties, axis=1)
    return scores


def choose_penalty(probabilities: Floats, u: Floats, labels: NDArray[np.int64], coverage: float) -> Penalty:
    """The penalty of RAPS, from examples that choose no threshold: probabilities [n, K], u [n], labels [n].

    As many ranks are free as hold the true class of a share `coverage` of them; the weight is the one with the smallest
    sets on average, the lightest of equals; where no penalty makes them smaller it is nothing, which is APS.
    """
    true = np.arange(len(labels)), labels
    ranks = np.sort(1 + (probabilities > probabilities[true][:, None]).sum(axis=1))
    free = int(ranks[min(rank_of(len(labels), coverage), len(labels)) - 1])
    best = (math.inf, NONE)
    for weight in PENALTIES:
        scores = adaptive_scores(probabilities, u, penalty := Penalty(weight, free) if weight else NONE)
        chosen = np.sort(scores[true])[min(rank_of(len(labels), coverage), len(labels)) - 1]
        size = float((scores <= chosen).sum(axis=1).mean())
        if size < best[0]:
            best = (size, penalty)
    return best[1]


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


def coverage_interval(
    count: int, coverage: float, confidence: float = 0.95, examples: int | None = None
) -> tuple[float, float]:
    """Between which numbers the coverage lies, over the draw of `count` calibration examples.

    The promise is a mean over these draws; with one of them, the coverage of new examples follows
    Beta(k, n + 1 - k), k the rank of the threshold (Vovk, "Conditional validity of inductive conformal predictors",
    2012). The interval is the middle `confidence` of it; with a number of `examples`, of the share that is covered
    among so many new ones, which is spread further (beta-binomial).
    """
    from scipy.stats import beta, betabinom  # importing them takes a while

    rank, ends = rank_of(count, coverage), [(1 - confidence) / 2, (1 + confidence) / 2]
    if examples is None:
        low, high = beta.ppf(ends, rank, count + 1 - rank)
    else:
        low, high = betabinom.ppf(ends, examples, rank, count + 1 - rank) / examples
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
