"""Distribution alignment: a teacher's labels become as frequent as the prior p(y), which label-only data teach.

One offset per class is added to the teacher's logits, and adapts until the labels have the frequencies of the prior.
This is a running form of optimal transport between images and labels, both with known marginals (Asano et al. 2020; Tai
et al. 2021). If a class has too many images, those with the smallest margins leave it first.
"""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Categorical

from semivae.game.distributions import VoidableCategorical
from semivae.game.family import one_hot
from semivae.parallel.shards import current_shard

DECAY = 0.98  # of the running frequencies, per step: an average over some 50 batches
RATE = 0.3  # nats per step and unit of log(prior / frequencies): offsets adapt within some dozens of steps
RAREST = 1e-3  # lower bound of a frequency, so that a class that is never predicted gets no huge offset


def align_distribution(posterior: Categorical, prior: Tensor, frequencies: Tensor, offsets: Tensor) -> Categorical:
    """Returns the posterior with offsets on its logits, and updates frequencies and offsets in place.

    Args:
        posterior: of the label, batch shape [batch].
        prior: p(label), probabilities [classes].
        frequencies: running class frequencies of the teacher's labels, [classes].
        offsets: of the logits, [classes], in nats.
    """
    shifted = VoidableCategorical(logits=posterior.logits + offsets, validate_args=False)
    labels = one_hot(shifted.logits.argmax(dim=-1), len(prior))
    shard = current_shard()
    found = shard.mean(labels.mean(dim=0))
    if not shard.updates:  # another shard of this process does
        return shifted
    frequencies.lerp_(found, 1.0 - DECAY)
    offsets.add_((prior.clamp_min(RAREST) / frequencies.clamp_min(RAREST)).log(), alpha=RATE)
    offsets.sub_(offsets.mean())
    return shifted
