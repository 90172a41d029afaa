"""Label shift: the class shares of unlabelled images by EM, and test sets with class shares of one's choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semivae.classification.posterior import Floats
from semivae.data.hashing import apportion, ranked
from semivae.errors import DataError
from semivae.text import join_names

SMALLEST_NUMBER = 50  # of images to estimate a prior from
MOST_STEPS = 10_000
PSEUDO_IMAGES = 1.0  # of each class: Laplace's rule of succession
LARGEST_GAP = 0.01  # nats of the log-likelihood of all images together: far below what any comparison could see


@dataclass(frozen=True)
class PriorEstimate:
    """A prior estimated from unlabelled images.

    Attributes:
        probabilities: float64 (K,).
        steps: of EM.
        gap: a bound on what the logarithm of the posterior density of the shares still lacks of its maximum, nats.
        pseudo_images: how many images of each class were imagined beside those that are there.
    """

    probabilities: Floats
    steps: int
    gap: float
    pseudo_images: float = PSEUDO_IMAGES

    @property
    def settled(self) -> bool:
        return self.gap <= LARGEST_GAP


def estimate_prior(log_posterior: Floats, trained: Floats, pseudo_images: float = PSEUDO_IMAGES) -> PriorEstimate:
    """Returns the class shares of unlabelled images, by EM (Saerens, Latinne, Decaestecker 2002) with pseudo-images.

    Maximises sum_x log sum_y p(y | x) prior(y) / trained(y) + a sum_y log prior(y), which is concave: the posterior
    density of the shares under a Dirichlet distribution whose parameters are all 1 + a. Maximum likelihood, a = 0,
    sends the share of a rare class to 0, and the class then has no chance on the very images that show it. The default,
    a = 1, is Laplace's rule of succession: if every choice of shares is as likely as any other, then of a class seen m
    times among n images the next image has probability (m + 1) / (n + K). It is no setting that was tuned.

    With g(y) the mean over x of (p(y | x) / trained(y)) / sum_y' (p(y' | x) prior(y') / trained(y')), one step of EM is
    (n prior * g + a) / (n + a K), and max_y (n g + a / prior) - (n + a K) bounds what is missing to the maximum; EM
    stops where that is below 0.01 nats.
    The posterior must be calibrated, else shares come out wrong (Alexandari, Kundaje, Shrikumar, ICML 2020).

    Args:
        log_posterior: log p(y | x) under the prior `trained`, (n, K), nats.
        trained: float64 (K,); a class of share 0 stays at 0.
        pseudo_images: a, of each class that training knew, 0 or more.

    Raises:
        DataError: fewer than 50 images.
    """
    count = len(log_posterior)
    if count < SMALLEST_NUMBER:
        raise DataError(
            f"a prior is estimated from {SMALLEST_NUMBER} examples or more, here are {count}; give more, or state it"
        )
    known = trained > 0
    likelihood = np.where(known, np.exp(log_posterior) / np.where(known, trained, 1.0), 0.0)
    pseudo = np.where(known, pseudo_images, 0.0)
    total = count + pseudo.sum()
    prior = np.array(trained, dtype=np.float64)
    for step in range(MOST_STEPS + 1):
        evidence = np.maximum(likelihood @ prior, np.finfo(np.float64).tiny)
        gradient = count * (likelihood / evidence[:, None]).mean(axis=0)
        slope = gradient + np.divide(pseudo, prior, out=np.zeros_like(prior), where=pseudo > 0)
        gap = max(0.0, float(slope.max()) - total)
        if gap <= LARGEST_GAP or step == MOST_STEPS:
            break
        prior = (prior * gradient + pseudo) / total
    return PriorEstimate(prior / prior.sum(), step, gap, pseudo_images)


def shifted_rows(labels: Tensor, prior: Floats, classes: Sequence[str], seed: int = 0) -> Tensor:
    """Rows of the largest subset whose class shares are `prior`, int64 sorted, drawn without replacement.

    Which rows of a class are taken is decided by the hash of their numbers and the seed, the same on every machine.

    Args:
        labels: int64 (n,).
        prior: float64 (K,).
        classes: the class names.
        seed: of the choice.

    Raises:
        DataError: a class that is to occur has no example, or there are too few to follow the shares.
    """
    available = torch.bincount(labels, minlength=len(classes)).tolist()
    wanted = [number for number in range(len(classes)) if prior[number] > 0]
    if empty := [classes[number] for number in wanted if not available[number]]:
        raise DataError(f"there is no example of {join_names(empty)} to test on; give it a share of 0")
    # the small term keeps 100 / 0.1 from being 999
    total = min(int(available[number] / prior[number] + 1e-6) for number in wanted)
    counts = apportion(min(total, sum(available)), [round(1e9 * share) for share in prior], available)
    if not total or not all(counts[number] for number in wanted):
        raise DataError("the rarest class would have no example in a test set of these shares; give it more, or 0")
    rows: list[int] = []
    for number in wanted:
        members = torch.nonzero(labels == number).flatten().tolist()
        rows += ranked(members, lambda row: f"semivae-shift:{seed}:{row}")[: counts[number]]
    return torch.tensor(sorted(rows), dtype=torch.int64)
