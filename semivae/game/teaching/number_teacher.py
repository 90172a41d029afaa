"""A mean teacher of numbers on unlabelled images: the EMA of the encoder says them (docs/method.md, section 5).

The EMA predicts a number on the weak view of an image, and the encoder shall predict the same on the strong view
(Tarvainen and Valpola 2017, "Mean teachers are better role models"). Here both predictions are normal distributions:
the loss is a divergence between them, in nats, so sure predictions teach more than doubtful ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semivae.game.distributions import NormalNumbers, numbers_of
from semivae.game.players import Player
from semivae.game.readings import Asking
from semivae.game.teaching.teacher import StreamViews, Teacher
from semivae.parallel.shards import current_shard

SUREST = 0.1  # deviations; a smaller scale of the teacher counts as this one, so that no image takes all the weight


class NumberTeacher(Teacher):
    """Teaches a label that is a number, or a vector of numbers, per image.

    Args:
        label: the name of the label.
        views: the augmentations of the stream and the settings of the teacher.
        ema_encoder: the EMA of the encoder, which predicts the numbers.
    """

    def __init__(self, label: str, views: StreamViews, ema_encoder: Player) -> None:
        super().__init__(label, views)
        self._ema_encoder = (ema_encoder,)  # in a tuple, its parameters do not belong to this module

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
        views, label = self.views, self.label
        assert views.weak is not None and views.strong is not None
        with torch.no_grad():
            if views.turned == label:
                target, strong = self._turned(images, generator)
            else:
                target = self._answer(views.weak(images, generator))
                strong = views.strong(images, generator)
            mask = surest(target, views.threshold, views.curriculum_fraction(progress))
        (answer,) = yield [(encoder[label], {views.variable: strong})]
        learnt = numbers_of(answer)
        nats = divergence(target, learnt, views.temperature)
        loss = (mask * nats.reshape(len(nats), -1).sum(dim=1)).mean()
        return views.weight.at(progress) * loss, {"views": loss.detach(), "mask_rate": mask.mean()}

    def _answer(self, images: Tensor) -> NormalNumbers:
        return numbers_of(self._ema_encoder[0][self.label]({self.views.variable: images}))

    def _turned(self, images: Tensor, generator: torch.Generator) -> tuple[NormalNumbers, Tensor]:
        """Returns the EMA's answer on the weak view, moved by the difference of both turns, and the strong view."""
        weak, strong = self.views.weak, self.views.strong
        assert weak is not None and strong is not None
        seen, turned = weak.turned(images, generator)
        answer = self._answer(seen)
        unturned = answer.loc - turned
        moved, turned = strong.turned(images, generator, unturned)
        return NormalNumbers(unturned + turned, answer.scale, answer.deviation, validate_args=False), moved


def surest(target: NormalNumbers, threshold: float, fraction: float) -> Tensor:
    """Returns 1.0 for the predictions that are sure enough to be learnt and 0.0 for the others, [batch].

    Args:
        target: the teacher's predictions, [batch] or [batch, K].
        threshold: the smallest fraction of the label's variance that the prediction explains, the mean over a vector.
        fraction: only so many of the batch are learnt, the surest ones.
    """
    certainty = target.certainty.reshape(len(target.loc), -1).mean(dim=1)
    mask = certainty >= threshold
    if fraction < 1.0:
        scale = (target.scale / target.deviation).reshape(len(target.loc), -1).mean(dim=1)
        mask &= scale <= current_shard().gather(scale).quantile(fraction)
    return mask.float()


def divergence(target: NormalNumbers, learnt: NormalNumbers, temperature: float | None) -> Tensor:
    """Returns how far predictions are from those of the teacher, nats per number, [batch, *shape].

    Means are compared with the teacher's scale s: (mean - target's mean)^2 / (2 s^2), the Kullback-Leibler divergence
    of two normal distributions of that scale. With a temperature t, the encoder's scale is taught too, by the
    divergence from a scale of t s. Together they are not the divergence of the whole distributions: that would teach
    every disagreement of two views as scale, the average would follow, and the scale would grow without end.

    Args:
        target: the teacher's, without gradients.
        learnt: the encoder's.
        temperature: t, or None to teach means alone.
    """
    scale = target.scale.clamp_min(SUREST * target.deviation)
    means = 0.5 * ((learnt.loc - target.loc) / scale).square()
    if temperature is None:
        return means
    ratio = temperature * target.scale / learnt.scale
    return means + 0.5 * (ratio.square() - 1.0) - ratio.log()
