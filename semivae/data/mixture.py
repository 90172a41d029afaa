"""How much of a mixture one of its parts is, where examples of the part and of the mixture are at hand.

Scores rank examples by how much they look like the part. Where the best ones of the mixture are all of the part, the
share of it is the ratio of how many of either lie above a threshold. The threshold is that with the lowest upper bound
of this ratio (Garg et al., "Mixture proportion estimation and PU learning: a modern approach", NeurIPS 2021, best bin
estimation). The ratio is never below the share on average, so that an estimate of the rest errs towards too little.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FOLDS = 5
REPEATS = 3  # draws of the folds, whose mean steadies the estimate
STRENGTH = 2.5  # of the examples against the penalty of logistic regression, whose weights sum to one
DOUBT = 0.1  # the bounds of shares hold with at least one minus this probability
SLACK = 0.01  # by how much the bound of the part counts more


def rest_share(part: Floats, mixture: Floats, weights: Floats, seed: int) -> float:
    """Returns the estimated share of the mixture that is not of the part, in [0, 1].

    With some hundred examples of the part it lies within about 0.1 of the true share.

    Args:
        part, mixture: rows of features, [n, D] and [m, D], about standardised.
        weights: of the part's rows, [n], positive, by which they are as the part of the mixture is.
        seed: of the folds.
    """
    seeds = [seed * REPEATS + number for number in range(REPEATS)]
    shares = [part_share(*cross_scores(part, mixture, weights, each), weights) for each in seeds]
    return 1.0 - float(np.mean(shares))


def part_share(part: Floats, mixture: Floats, weights: Floats) -> float:
    """Returns the estimated share of the part in the mixture, in [0, 1], from scores.

    Args:
        part: scores of its examples, [n]; higher is more like the part.
        mixture: scores of the mixture's examples, [m].
        weights: of the part's examples, [n], positive, by which they are as the part of the mixture is.
    """
    order = np.argsort(-part, kind="stable")
    thresholds, above_part = part[order], np.cumsum(weights[order]) / weights.sum()
    above = np.searchsorted(np.sort(-mixture), -thresholds, side="right") / len(mixture)
    effective = weights.sum() ** 2 / (weights**2).sum()  # as many examples of equal weight
    bounds = sum(np.sqrt(np.log(4.0 / DOUBT) / (2.0 * count)) for count in (len(mixture), effective))
    best = int(((above + (1.0 + SLACK) * bounds) / above_part).argmin())
    return float(min(1.0, above[best] / above_part[best]))


def cross_scores(part: Floats, mixture: Floats, weights: Floats, seed: int) -> tuple[Floats, Floats]:
    """Returns scores [n] and [m] of rows [n, D] and [m, D], by logistic regressions that have not seen the rows.

    Args:
        part, mixture: rows of features, about standardised.
        weights: of the part's rows, as for `part_share`.
        seed: of the folds.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(seed)
    folds = [generator.permutation(len(rows)) % FOLDS for rows in (part, mixture)]
    found = np.zeros(len(part)), np.zeros(len(mixture))
    for fold in range(FOLDS):
        ours, others = folds[0] != fold, folds[1] != fold
        rows = np.concatenate([part[ours], mixture[others]])
        sides = np.repeat([1, 0], [ours.sum(), others.sum()])
        balance = np.concatenate([weights[ours] / weights[ours].sum(), np.full(others.sum(), 1.0 / others.sum())])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=STRENGTH, max_iter=500).fit(rows, sides, sample_weight=balance / 2.0)
        found[0][~ours] = model.decision_function(part[~ours])
        found[1][~others] = model.decision_function(mixture[~others])
    return found
