"""The mutual information of a label between two views of the same image: what views teach before anything is confident.

A label that stays under the views and takes all its values as often as its prior says is, for want of a better guess,
the right one: the loss joins nearby images and parts classes where images are rare, with no threshold and no label that
it could get wrong for good (Ji, Henriques and Vedaldi 2019, "Invariant information clustering").
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 1e-8  # probability below which a cell of the joint table counts as this; its logarithm stays finite


def information_loss(first: Tensor, second: Tensor, prior: Tensor | None = None) -> Tensor:
    """Minus the mutual information of the label between two views, in nats; kept to the prior if there is one.

    With J[i, j] the mean over the batch of first[i] second[j], made symmetric, and m its marginal, this is
    H(J) - 2 H(m), minus the information. With a prior p, H(m) gives way to H(p) - KL(m | p): the mean posterior is
    drawn to p, where the information alone would draw it to uniform classes.

    Args:
        first, second: posteriors of the label on the two views, probabilities [batch, classes].
        prior: p(label), probabilities [classes], or None.

    Returns:
        A scalar, at least -log(classes).
    """
    with torch.autocast(first.device.type, enabled=False):  # a table of many small probabilities, and logarithms of it
        joint = first.float().T @ second.float() / len(first)
    joint = ((joint + joint.T) / 2).clamp_min(SMALLEST)
    marginal = joint.sum(dim=0)
    if prior is None:
        spread = -(marginal * marginal.log()).sum()
    else:
        known = prior.clamp_min(SMALLEST)
        spread = -(known * known.log()).sum() - (marginal * (marginal.log() - known.log())).sum()
    return -(joint * joint.log()).sum() - 2 * spread
