"""Curriculum selection of pseudo-labels: a growing fraction of every class is learnt, the most certain labels first.

With few labels, a classifier is soon certain of nearly everything, long before it is right, so a threshold on its
confidence rejects little. The ranking by certainty is more reliable than its scale: labels are learnt in that order,
and what is learnt improves the ranking of the rest (Cascante-Bonilla et al. 2021, "Curriculum labeling").
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical

from semivae.parallel.shards import current_shard


def curriculum_mask(posterior: Categorical, fraction: float, prior: Tensor | None = None) -> Tensor:
    """Returns 1.0 for the most certain labels of every class and 0.0 for the others, [batch].

    Certainty is the log-odds of the most likely class against the second. With a prior, a class of probability p gets
    the fraction * p * batch most certain labels, at least one; without, that fraction of the labels of the class.

    Args:
        posterior: of the label, batch shape [batch].
        fraction: of the labels, in [0, 1]; 1 selects all.
        prior: p(label), [classes], or None.
    """
    if fraction >= 1.0:
        return torch.ones(posterior.logits.shape[0], device=posterior.logits.device)
    shard = current_shard()
    top = shard.gather(posterior.logits).topk(2, dim=-1)
    margin, label = top.values[:, 0] - top.values[:, 1], top.indices[:, 0]
    same = label[:, None] == label[None, :]
    rank = (same & (margin[None, :] > margin[:, None])).sum(dim=1)
    expected = same.sum(dim=1).float() if prior is None else len(label) * prior[label]
    return shard.rows((rank < (fraction * expected).clamp_min(1.0)).float())
