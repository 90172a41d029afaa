"""Self-training of attributes on unlabelled images, entry by entry (docs/method.md, section 5; ours).

The EMA of the encoder labels the weak view of an image, and the encoder learns on the strong one those attributes of
which the EMA is confident, present or absent. Each attribute has its own thresholds: a curriculum takes the most
certain of its present ones, and of its absent ones, and alignment moves its logit until it is as frequent as the prior
says.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semivae.game.distributions import bits_of
from semivae.game.players import Player
from semivae.game.readings import Asking
from semivae.game.teaching.alignment import DECAY, RAREST
from semivae.game.teaching.teacher import StreamViews, Teacher
from semivae.parallel.shards import current_shard

LARGEST_OFFSET = 20.0  # nats
BISECTIONS = 16  # to a thousandth of a nat


class AttributeTeacher(Teacher):
    """Teaches a label that is a vector of attributes.

    Args:
        label: the name of the label.
        views: the augmentations of the stream and the settings of the teacher.
        decoder: the player whose p(label) the teacher's labels are aligned to.
        ema_encoder: the EMA of the encoder, which labels the images.

    Raises:
        ValueError: distribution alignment without a prior of the label in the decoder.
    """

    def __init__(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> None:
        super().__init__(label, views)
        self._players = (decoder, ema_encoder)  # in a tuple, their parameters do not belong to this module
        if views.distribution_alignment:
            if label not in decoder or decoder[label].given:
                raise ValueError(f"distribution alignment needs a prior of {label} in the decoder, which has none")
            self.register_buffer("offsets", torch.zeros_like(self.prior()))

    def prior(self) -> Tensor:
        """Returns the decoder's probability of each attribute, [K]."""
        return bits_of(self._players[0][self.label]({})).probs.detach()

    def lesson(
        self,
        encoder: Player,
        images: Tensor,
        generator: torch.Generator,
        progress: float,
        evidence: Tensor | None = None,
    ) -> Asking[tuple[Tensor, dict[str, Tensor]]]:
        """As `Teacher.lesson` says."""
        self.refuse(evidence)
        views = self.views
        assert views.strong is not None
        with torch.no_grad():
            logits = self.logits(images, generator)
            mask = (torch.sigmoid(logits.abs()) >= views.threshold).float()
            mask = mask * bit_curriculum_mask(logits, views.curriculum_fraction(progress))
            target = (logits > 0).float() if views.temperature is None else (logits / views.temperature).sigmoid()
            strong = views.strong(images, generator)
        (answer,) = yield [(encoder[self.label], {views.variable: strong})]
        learnt = bits_of(answer).logits
        loss = (mask * F.binary_cross_entropy_with_logits(learnt, target, reduction="none")).sum(dim=1).mean()
        return views.weight.at(progress) * loss, {"views": loss.detach(), "mask_rate": mask.mean()}

    def logits(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the teacher's logits, [batch, K]; with distribution alignment, updates their offsets."""
        views = self.views
        weak = views.weak(images, generator) if views.weak else images
        logits = bits_of(self._players[1][self.label]({views.variable: weak})).logits
        if not views.distribution_alignment:
            return logits
        return align_bits(logits, self.prior(), self.get_buffer("offsets"))


def align_bits(logits: Tensor, prior: Tensor, offsets: Tensor) -> Tensor:
    """Returns logits [batch, K] with offsets, and updates the offsets in place.

    They follow the offsets with which each attribute of a batch would be as probable on average as the prior says. A
    controller that moves them by the error of a running frequency, as for classes, would overshoot: an attribute is
    alone with its offset, and others do not hold it.

    Args:
        logits: of the attributes.
        prior: probability of each attribute, [K].
        offsets: of the logits, [K], in nats.
    """
    shard, shifted = current_shard(), logits + offsets
    wanted = fitting_offsets(shard.gather(logits), prior)
    if shard.updates:  # of all shards of this process one does
        offsets.lerp_(wanted, 1.0 - DECAY)
    return shifted


def fitting_offsets(logits: Tensor, prior: Tensor) -> Tensor:
    """Returns the offsets [K] with which the mean probability of logits [batch, K] is the prior [K]: by bisection."""
    wanted = prior.clamp(RAREST, 1.0 - RAREST)
    low = torch.full_like(wanted, -LARGEST_OFFSET)
    high = -low
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = (logits + middle).sigmoid().mean(dim=0) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def bit_curriculum_mask(logits: Tensor, fraction: float) -> Tensor:
    """Returns 1.0 for the most certain entries of a batch of logits [batch, K], else 0.0.

    Of each attribute the fraction applies to the entries that look present, and to those that look absent, by
    themselves: at least one of either. One ranking for all would teach what is frequent long before what is rare.
    """
    if fraction >= 1.0:
        return torch.ones_like(logits)
    shard = current_shard()
    every = shard.gather(logits)
    margin, present = every.abs(), every > 0
    same = present[:, None] == present[None]  # [batch, batch, K]
    rank = (same & (margin[None] > margin[:, None])).sum(dim=1)
    return shard.rows((rank < (fraction * same.sum(dim=1)).clamp_min(1.0)).float())
