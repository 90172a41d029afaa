"""Which of a batch's labels a teacher is surest of: views that teach a growing fraction, the surest first.

A classifier with few labels is sure of nearly everything long before it is right, so a threshold on its confidence
stops little. The order of its certainty is better than its scale: labels are taught in that order, a growing fraction
of every class, and what was taught makes the order of the rest better (Cascante-Bonilla et al. 2021, "Curriculum
labeling").
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical


def surest(posterior: Categorical, fraction: float, prior: Tensor | None = None) -> Tensor:
    """Marks the surest labels of every class, [batch], 1.0 or 0.0.

    Certainty is the log-odds of the most likely class against the second. Of a class with prior probability p, the
    surest fraction * p * batch labels are marked, at least one; without a prior, that fraction of the labels that the
    class has.

    Args:
        posterior: of the label, batch shape [batch].
        fraction: of the batch, in [0, 1]; 1 marks all.
        prior: p(label), [classes], or None.
    """
    if fraction >= 1.0:
        return torch.ones(posterior.logits.shape[0], device=posterior.logits.device)
    top = posterior.logits.topk(2, dim=-1)
    margin, value = top.values[:, 0] - top.values[:, 1], top.indices[:, 0]
    same = value[:, None] == value[None, :]
    rank = (same & (margin[None, :] > margin[:, None])).sum(dim=1)
    expected = same.sum(dim=1).float() if prior is None else len(value) * prior[value]
    return (rank < (fraction * expected).clamp_min(1.0)).float()
