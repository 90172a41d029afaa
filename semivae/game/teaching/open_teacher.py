"""Self-training of a class on unlabelled images of which some are strangers (docs/method.md, section 5; ours).

Strangers are the last value of the label. No pair shows one, so the encoder alone would never name one. Alignment does:
the share of every batch that p(label) gives to strangers goes to the images that are least like any known class.
"""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Categorical

from semivae.game.family import one_hot
from semivae.game.teaching.alignment import DECAY, RAREST, RATE
from semivae.game.teaching.class_teacher import ClassTeacher
from semivae.parallel.shards import current_shard

STRANGERS_DECAY = 0.9  # of their offset, per step: an average over some ten batches


class OpenTeacher(ClassTeacher):
    """Teaches a label whose last value are strangers; arguments and errors as of `ClassTeacher`."""

    def aligned(self, posterior: Categorical, prior: Tensor) -> Categorical:
        """Returns the posterior with offsets, which it updates (`align_open`)."""
        return align_open(posterior, prior, self.get_buffer("shares"), self.get_buffer("offsets"))


def align_open(posterior: Categorical, prior: Tensor, frequencies: Tensor, offsets: Tensor) -> Categorical:
    """Returns the posterior with offsets on its logits, and updates frequencies and offsets in place.

    The known classes are aligned among themselves, on the images that are no strangers, as
    `semivae.game.teaching.alignment` does. The offset of strangers follows the quantile of the margins by which the
    best known class leads, with which they get their share of a batch. A controller like that of the classes would
    overshoot: classes hold one another, while strangers are alone with their offset.

    Args:
        posterior: of the label, batch shape [batch].
        prior: p(label), probabilities [K + 1], of strangers the last one.
        frequencies: running frequencies of the teacher's labels, [K + 1].
        offsets: of the logits, [K + 1], in nats.
    """
    shard, shifted = current_shard(), Categorical(logits=posterior.logits + offsets, validate_args=False)
    every = shard.gather(posterior.logits)
    if not shard.updates:  # another shard of this process does
        return shifted
    best, labels = (every + offsets)[:, :-1].max(dim=-1)
    margins = best - every[:, -1]
    strange = margins < offsets[-1]
    share = prior[-1].clamp(RAREST, 1.0 - RAREST)
    offsets[-1].lerp_(margins.quantile(share), 1.0 - STRANGERS_DECAY)
    frequencies[-1].lerp_(strange.to(frequencies).mean(), 1.0 - DECAY)
    counts = (one_hot(labels, len(prior) - 1) * ~strange[:, None]).sum(dim=0).to(frequencies)
    known = prior[:-1] / prior[:-1].sum()
    ours = frequencies[:-1]
    ours.lerp_(counts / counts.sum().clamp_min(1.0) * (1.0 - share), 1.0 - DECAY)
    change = RATE * (known.clamp_min(RAREST).log() - (ours / ours.sum()).clamp_min(RAREST).log())
    offsets[:-1].add_(change - change.mean())
    return shifted
