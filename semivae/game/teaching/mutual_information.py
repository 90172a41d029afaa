"""Mutual-information loss (IIC): the label should be the same on two views of an image, and follow its prior.

It needs no threshold and no pseudo-label that could be wrong for good, so it teaches before the teacher is confident:
nearby images get the same class, and classes separate where images are rare (Ji, Henriques and Vedaldi 2019, "Invariant
information clustering").
"""

from __future__ import annotations

import torch
from torch import Tensor

from semivae.parallel.shards import current_shard

SMALLEST = 1e-8  # lower bound of a joint probability, whose logarithm then stays finite


def information_loss(first: Tensor, second: Tensor, prior: Tensor | None = None) -> Tensor:
    """Returns minus the mutual information of the label on two views, in nats.

    J[i, j] is the batch mean of first[i] second[j], made symmetric, and m its marginal; minus the mutual information is
    H(J) - 2 H(m). With a prior p, H(m) is replaced by H(p) - KL(m | p), which pulls the mean posterior towards p;
    otherwise it is pulled towards uniform classes.

    Args:
        first, second: posteriors of the label on the two views, probabilities [batch, classes].
        prior: p(label), probabilities [classes], or None.

    Returns:
        A scalar, at least -log(classes).
    """
    with torch.autocast(first.device.type, enabled=False):  # small probabilities, and their logarithms
        joint = first.float().T @ second.float() / len(first)
    joint = current_shard().mean(joint)
    joint = ((joint + joint.T) / 2).clamp_min(SMALLEST)
    marginal = joint.sum(dim=0)
    if prior is None:
        entropy = -(marginal * marginal.log()).sum()
    else:
        p = prior.clamp_min(SMALLEST)
        entropy = -(p * p.log()).sum() - (marginal * (marginal.log() - p.log())).sum()
    return -(joint * joint.log()).sum() - 2 * entropy
