"""How doubtful given labels are, by the posterior of models that have not learnt them.

The given label c is seen as the true class y gone through noise that is alike for all classes: with probability 1 - e
it is y, else each other class equally often. With p the models' posterior, sharpened by a temperature t,

    p(c | x) = (1 - e) p_t(c | x) + e / (K - 1) * (1 - p_t(c | x))

and the doubt is the posterior of "c is not y". Both e and t maximise the likelihood of the given labels, so neither
needs a clean one. This is the noise model of Dawid and Skene (1979) with one rate, and with x in it as in Raykar et al.
(2010). To judge labels out of fold is the idea of confident learning (Northcutt et al., 2021), which lists those that
class-wise thresholds speak against.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semivae.errors import DataError

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
BEFORE = (1.0, 20.0)  # wrong labels and labels that are taken for seen beforehand: 5%, worth twenty labels
SHARPEST = 30.0  # the range of 1 / temperature is that of 1 / SHARPEST to SHARPEST
STEPS = 200  # of EM
MOST_LEARNT = 100.0  # nats that the log odds of given labels are lowered by


@dataclass(frozen=True)
class LabelDoubts:
    """How doubtful n labels are.

    Attributes:
        doubt: the probability that the given label is wrong, [n], from 0 to 1.
        proposed: the most likely class beside the given one, [n].
        rate: the estimated share of wrong labels, e.
        temperature: of the posterior; above 1 if it was overconfident.
    """

    doubt: Floats
    proposed: Numbers
    rate: float
    temperature: float

    @property
    def expected_wrong(self) -> float:
        """The expected number of wrong labels: the sum of the doubts."""
        return float(self.doubt.sum())


def doubts_of(log_posterior: Floats, labels: Numbers, like: LabelDoubts | None = None) -> LabelDoubts:
    """Returns how doubtful given labels are.

    Args:
        log_posterior: log p(y | x), [n, K], nats, of models that have not learnt the label of the row; with `like`, of
            models that may have learnt something of it.
        labels: class numbers, [n].
        like: the doubts of other labels from the same hands, by a model that has learnt none of them. The temperature
            is then theirs, and the share of wrong labels is not taken for smaller than theirs: the log odds of all
            given labels are lowered alike until the mean doubt is as large.

    Raises:
        DataError: no label, fewer than two classes, a label that is no class, or a posterior that is not a number.
    """
    n, classes = log_posterior.shape
    if not n or classes < 2:
        raise DataError(f"doubts need at least one label of at least two classes, not {n} of {classes}")
    if labels.shape != (n,) or labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"doubts need one class number in 0..{classes - 1} for each of {n:,} examples")
    if np.isnan(log_posterior).any():
        raise DataError("the posterior of some examples is not a number, so their labels cannot be doubted")
    logits = np.maximum(log_posterior, -700.0)  # exp(-700) is the least number that is no zero
    sharpness = _sharpness(logits, labels) if like is None else 1.0 / like.temperature
    rate, doubt = _rate_and_doubt(_likely(logits, labels, sharpness), classes)
    if like is not None:
        rate, wrong = max(rate, like.rate), max(float(doubt.mean()), float(like.doubt.mean()))
        doubt = _doubt(
            _likely(logits, labels, sharpness, _learnt(logits, labels, sharpness, rate, wrong)), classes, rate
        )
    others = logits.copy()
    others[np.arange(n), labels] = -np.inf
    return LabelDoubts(doubt, others.argmax(axis=1).astype(np.int64), rate, 1.0 / sharpness)


def _sharpness(logits: Floats, labels: Numbers) -> float:
    """1 / temperature of the largest likelihood, with the priors."""
    from scipy.optimize import minimize_scalar  # importing it takes a while

    classes = logits.shape[1]

    def loss(log_sharpness: float) -> float:
        """Minus the log-likelihood at its best rate, with the priors of both; that of the sharpness is around 1."""
        likely = _likely(logits, labels, np.exp(log_sharpness))
        rate, _ = _rate_and_doubt(likely, classes)
        mixture = (1 - rate) * likely + rate / (classes - 1) * (1 - likely)
        wrong, seen = BEFORE
        prior = wrong * np.log(rate) + (seen - wrong) * np.log1p(-rate) - 0.5 * log_sharpness**2
        return float(-np.log(mixture).sum() - prior)

    bound = np.log(SHARPEST)
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-3}).x))


def _learnt(logits: Floats, labels: Numbers, sharpness: float, rate: float, wrong: float) -> float:
    """How much the log odds of the given labels are lowered, at least 0, for the mean doubt to be `wrong`, nats."""
    from scipy.optimize import brentq  # importing it takes a while

    def excess(learnt: float) -> float:
        return float(_doubt(_likely(logits, labels, sharpness, learnt), logits.shape[1], rate).mean()) - wrong

    if excess(0.0) >= 0.0 or excess(MOST_LEARNT) <= 0.0:
        return 0.0 if excess(0.0) >= 0.0 else MOST_LEARNT
    return float(brentq(excess, 0.0, MOST_LEARNT, xtol=1e-6))


def _likely(logits: Floats, labels: Numbers, sharpness: float, learnt: float = 0.0) -> Floats:
    """The probability of each given label, [n], inside (0, 1), at 1 / temperature, its log odds lowered by `learnt`."""
    from scipy.special import log_softmax  # importing it takes a while

    rows, scaled = np.arange(len(labels)), sharpness * logits
    scaled[rows, labels] -= learnt
    likely = np.exp(log_softmax(scaled, axis=1)[rows, labels])
    return np.asarray(likely.clip(1e-300, 1.0), dtype=np.float64)


def _rate_and_doubt(likely: Floats, classes: int) -> tuple[float, Floats]:
    """The rate of wrong labels by EM, and the doubt of each label under it, from the labels' probabilities [n]."""
    wrong, seen = BEFORE
    rate = wrong / seen
    for _ in range(STEPS):
        doubt = _doubt(likely, classes, rate)
        before, rate = rate, (float(doubt.sum()) + wrong) / (len(likely) + seen)
        if abs(rate - before) < 1e-9:
            break
    return rate, _doubt(likely, classes, rate)


def _doubt(likely: Floats, classes: int, rate: float) -> Floats:
    right, other = (1 - rate) * likely, rate / (classes - 1) * (1 - likely)
    return other / (right + other)
