"""Alignment: the labels that a teacher gives come as often as the prior says, which the label-only stream knows.

One offset per class joins the teacher's logits, and moves until labels have the prior's frequencies: a running
form of the optimal transport between images and labels with both marginals known (Asano et al. 2020; Tai et al. 2021).
Where too many images have gone to a class, those that it holds by the smallest margin leave it first.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical

DECAY = 0.98  # of the running frequencies, per step: 50 batches are enough to see one to a few per cent of itself
RATE = 0.3  # by which offsets follow the log-ratio of prior and frequencies, per step: nats in some dozens of steps
RAREST = 1e-3  # frequencies below it count as this, so that a class that is never given does not throw its offset far


def aligned(posterior: Categorical, prior: Tensor, frequencies: Tensor, offsets: Tensor) -> Categorical:
    """The posterior with its offsets, which this call moves.

    Args:
        posterior: of the label, batch shape [batch].
        prior: p(label), probabilities [classes].
        frequencies: running class frequencies of the labels given, [classes], changed in place.
        offsets: of the logits, [classes], in nats, changed in place.
    """
    moved = Categorical(logits=posterior.logits + offsets, validate_args=False)
    given = F.one_hot(moved.logits.argmax(dim=-1), len(prior)).to(frequencies)
    frequencies.lerp_(given.mean(dim=0), 1.0 - DECAY)
    offsets.add_(RATE * (prior.clamp_min(RAREST).log() - frequencies.clamp_min(RAREST).log()))
    offsets.sub_(offsets.mean())
    return moved
