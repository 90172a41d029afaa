"""Answer only where the answer can be trusted: a threshold of confidence with a promise about the error above it.

Validation examples are ranked by confidence. For growing shares of them, from the surest on, the hypothesis "the error
among those answered is above the one allowed" is tested by the exact binomial tail, and the search ends at the first
that is not rejected: a fixed sequence, which needs no correction of the level (Angelopoulos et al., "Learn then test",
2021). To reject is the same as a Clopper-Pearson upper bound at or below the error allowed.

The promise: with the stated confidence over the draw of validation examples, the error among answered new examples is
at most the one allowed. It holds if validation examples and new ones are independent draws of the same distribution,
and if the chance of an error does not rise with confidence: given how many examples lie above the highest threshold
that must not be accepted, the errors of every share from there on are then at least binomial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CONFIDENCE = 0.95  # of the promise
STEPS = 20  # shares that are tested: 5%, 10%, ..., 100%


@dataclass(frozen=True)
class Answering:
    """Above which confidence is answered, and what that promises.

    Attributes:
        at_most_error: the error among the answered that is promised.
        confidence: of the promise.
        threshold: log odds of the most likely class; what exceeds it is answered. -inf: all.
        answered, wrong: of the validation examples, how many exceed it, and how many of these are taken wrongly.
        count: validation examples.
        bound: the upper confidence bound of the error, at most `at_most_error`.
    """

    at_most_error: float
    confidence: float
    threshold: float
    answered: int
    wrong: int
    count: int
    bound: float


def log_odds(log_posterior: Floats) -> Floats:
    """Confidence without saturation: log p / (1 - p) of the most likely class, [n], from log posteriors [n, K].

    1 - p is summed over the other classes, so 1 - 1e-20 and 1 - 1e-30 differ.
    """
    from scipy.special import logsumexp  # importing it takes a while

    falling = -np.sort(-log_posterior, axis=1)
    return np.asarray(falling[:, 0] - logsumexp(falling[:, 1:], axis=1), dtype=np.float64)


def upper_bound(wrong: int, count: int, confidence: float = CONFIDENCE) -> float:
    """One-sided Clopper-Pearson upper bound of an error rate after `wrong` mistakes in `count` examples."""
    from scipy.stats import beta  # importing it takes a while

    return 1.0 if wrong >= count else float(beta.ppf(confidence, wrong + 1, count - wrong))


def fewest_answered(at_most_error: float, confidence: float = CONFIDENCE) -> int:
    """With how many answers, none of them wrong, an error can be promised; 299 for 1% at 95% confidence."""
    return math.ceil(math.log(1.0 - confidence) / math.log1p(-at_most_error) - 1e-9)


def least_error(count: int, confidence: float = CONFIDENCE) -> float:
    """The error that `count` answers without a mistake promise."""
    return upper_bound(0, count, confidence)


def first_tested(count: int, at_most_error: float, confidence: float = CONFIDENCE) -> int:
    """How many of `count` examples are answered at least in the first test of the sequence; no label plays a part.

    As many as make the test bear two mistakes if half of the examples are enough, else one, else none: a sequence that
    starts with the fewest would end at a single mistake among the surest.
    """
    from scipy.stats import binom  # importing it takes a while

    for spare in (2, 1):
        enough = binom.cdf(spare, np.arange(1, count // 2 + 1), at_most_error) <= 1.0 - confidence + 1e-12
        if enough.any():
            return int(enough.argmax()) + 1
    return fewest_answered(at_most_error, confidence)


def choose_threshold(
    odds: Floats, right: NDArray[np.bool_], at_most_error: float, confidence: float = CONFIDENCE
) -> Answering | None:
    """The lowest threshold that the fixed sequence accepts; None where it accepts none.

    Args:
        odds: `log_odds` of validation examples, [n].
        right: whether each is taken rightly, [n].
        at_most_error: in (0, 1).
        confidence: of the promise.
    """
    order = np.argsort(-odds, kind="stable")
    odds, wrong = odds[order], np.cumsum(~right[order])
    chosen = None
    for count in _tested(odds, first_tested(len(odds), at_most_error, confidence)):
        mistakes = int(wrong[count - 1])
        bound = upper_bound(mistakes, count, confidence)
        if bound > at_most_error:
            break
        threshold = float(odds[count]) if count < len(odds) else -math.inf
        chosen = Answering(at_most_error, confidence, threshold, count, mistakes, len(odds), bound)
    return chosen


def least_promise(odds: Floats, right: NDArray[np.bool_], confidence: float = CONFIDENCE) -> float | None:
    """The least error, in steps of 0.1%, for which `choose_threshold` finds a threshold; None where there is none."""
    candidates = (step / 1000 for step in range(1, 1000))
    return next((error for error in candidates if choose_threshold(odds, right, error, confidence)), None)


def _tested(odds: Floats, least: int) -> list[int]:
    """How many of the surest examples are tested, rising; falling `odds` [n], and at least `least` examples.

    Where a share ends among equals it ends before them. No label plays a part.
    """
    counts = []
    for step in range(1, STEPS + 1):
        count = len(odds) * step // STEPS
        while 0 < count < len(odds) and odds[count - 1] == odds[count]:
            count -= 1
        counts.append(count)
    return sorted({count for count in counts if count >= max(1, least)})


def risk_coverage(odds: Floats, right: NDArray[np.bool_], shares: tuple[float, ...]) -> list[dict[str, float]]:
    """Error among the surest share of the examples, for each of `shares`: "answered" (the share) and "error"."""
    wrong = np.cumsum(~right[np.argsort(-odds, kind="stable")])
    counts = [max(1, round(share * len(odds))) for share in shares]
    return [{"answered": count / len(odds), "error": float(wrong[count - 1] / count)} for count in counts]


def area_under_risk(odds: Floats, right: NDArray[np.bool_]) -> float:
    """AURC: the mean error among the surest 1, 2, ..., n examples; less is better (Geifman et al., ICLR 2019)."""
    wrong = np.cumsum(~right[np.argsort(-odds, kind="stable")])
    return float((wrong / np.arange(1, len(odds) + 1)).mean())
