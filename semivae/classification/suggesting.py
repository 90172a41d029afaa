"""Which examples to label next: unsure and typical ones, spread over the features.

The rule of CLUE (Prabhu et al., "Active domain adaptation via clustering uncertainty-weighted embeddings", ICCV 2021):
k-means of the features, each example weighted by the entropy of its class, and of each group the example nearest to
the centre. Here only the unsure half of a group can be picked. Where all are equally sure, as without any label, the
weights are equal and the typical examples remain, as in TypiClust (Hacohen et al., "Active learning on a budget:
opposite strategies suit high and low budgets", ICML 2022), with the distance to the centre in place of the density.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semivae.errors import DataError
from semivae.text import EXAMPLES, count_of, either

Floats = NDArray[np.float64]
LEAST_WEIGHT = 1e-3  # nats, added to every uncertainty: examples of which the model is sure still shape the groups
STARTS = 4  # of k-means; the best one counts


@dataclass(frozen=True)
class Picks:
    """One example of each group, the group with the largest uncertainty in all first.

    Attributes:
        rows: of the examples, [n], no two equal.
        groups: of every example, [examples], the number of its group in 0..n-1; that of rows[i] is i.
    """

    rows: NDArray[np.int64]
    groups: NDArray[np.int64]


def entropy(log_posterior: Floats) -> Floats:
    """Entropy of the class, nats, [n], from log posteriors [n, K]; 0 is sure, log K knows nothing."""
    from scipy.special import entr  # importing it takes a while

    return np.asarray(entr(np.exp(log_posterior)).sum(axis=1), dtype=np.float64)


def pick(features: Floats, uncertainty: Floats, count: int, seed: int = 0) -> Picks:
    """One example of each of `count` groups.

    Args:
        features: [n, D], finite; distances between them are Euclidean.
        uncertainty: [n], at least 0.
        count: how many to pick.
        seed: of the starts of k-means; the same one picks the same examples.

    Raises:
        DataError: fewer than `count` examples, or examples that differ; or no such count or seed.
    """
    if count < 1:
        raise DataError(f"{count:,} suggestions are asked for; ask for 1 or more")
    if count > len(features):
        raise DataError(
            f"{count:,} suggestions are asked for, but there {either(len(features), 'is', 'are')} "
            f"{count_of(len(features), *EXAMPLES)}; "
            f"ask for {len(features):,} or fewer"
        )
    if not 0 <= seed < 2**32:
        raise DataError(f"the seed is {seed}; give one from 0 to {2**32 - 1:,}")
    weights = uncertainty + LEAST_WEIGHT
    found, centres = clustered(features, weights, count, seed)
    rows = np.array([nearest_unsure(features, uncertainty, found == group, centres[group]) for group in range(count)])
    order = np.argsort(-np.bincount(found, weights, count), kind="stable")
    return Picks(rows[order], np.argsort(order)[found])


def clustered(
    features: Floats, weights: Floats, count: int, seed: int, asked: str = "suggestions"
) -> tuple[NDArray[np.int64], Floats]:
    """The group of each example, [n], and the centres [count, D], by weighted k-means; no group is empty.

    `asked` says in messages what there are to be `count` of.

    Raises:
        DataError: fewer than `count` examples differ.
    """
    from sklearn.cluster import KMeans  # importing scikit-learn takes a second
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of groups that remain empty, which are refused below
        means = KMeans(count, n_init=STARTS, random_state=seed).fit(features, sample_weight=weights)
    groups = np.asarray(means.labels_, dtype=np.int64)
    if (filled := len(np.unique(groups))) < count:
        raise DataError(
            f"{count:,} {asked} are asked for, but the features of only {filled:,} of the {len(features):,} "
            f"examples differ; ask for {filled:,} or fewer"
        )
    return groups, np.asarray(means.cluster_centers_, dtype=np.float64)


def nearest_unsure(features: Floats, uncertainty: Floats, members: NDArray[np.bool_], centre: Floats) -> int:
    """The row nearest to the centre among the members at least as unsure as their median; the first of equals."""
    rows = np.flatnonzero(members)
    rows = rows[uncertainty[rows] >= np.median(uncertainty[rows])]
    return int(rows[np.linalg.norm(features[rows] - centre, axis=1).argmin()])
