"""Self-training of a segmentation map on unlabelled images, pixel by pixel (docs/method.md, section 5; ours).

The teacher labels the weak view of an image. The strong view is made from the weak one, and the teacher's map is
transformed with it, so that their pixels correspond. Pixels without a confident label, and pixels from outside the
image, are `VOID` and teach nothing. Then boxes of other images, with their maps, may be pasted in (CutMix).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical

from semivae.game.conditionals import Conditional
from semivae.game.distributions import categorical_of, over_classes
from semivae.game.players import Player
from semivae.game.readings import Asking
from semivae.game.teaching.mixing import paste_boxes, random_boxes
from semivae.game.teaching.teacher import JointView, StreamViews, Teacher
from semivae.parallel.shards import current_shard
from semivae.variables import VOID


class MapTeacher(Teacher):
    """Teaches a label that is a class at every pixel.

    Args:
        label: the name of the label.
        views: the augmentations of the stream and the settings of the teacher.
        ema_encoder: the EMA of the encoder, which labels the images.
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
        strong, maps, mask_rate = pseudo_label_maps(
            self._ema_encoder[0][label],
            views.variable,
            images,
            views.weak,
            views.strong,
            views.threshold,
            generator,
            views.curriculum_fraction(progress),
            views.cutmix,
            views.temperature,
        )
        (learnt,) = yield [(encoder[label], {views.variable: strong})]
        loss = -learnt.log_prob(maps).mean()
        return views.weight.at(progress) * loss, {"views": loss.detach(), "mask_rate": mask_rate}


@torch.no_grad()
def pseudo_label_maps(
    teacher: Conditional,
    variable: str,
    images: Tensor,
    weak: JointView,
    strong: JointView,
    threshold: float,
    generator: torch.Generator,
    fraction: float = 1.0,
    cutmix: float = 0.0,
    temperature: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns strong views of images and the maps that the teacher gives them.

    Args:
        teacher: q(map | image) of the EMA of the encoder.
        variable: the name of the image.
        images: [batch, channels, height, width] in [0, 1].
        weak, strong: the views; the strong one is applied on top of the weak one.
        threshold: the smallest confidence of a pixel that is learnt.
        generator: the random numbers of the views.
        fraction: the fraction of the pixels of every class, the most certain ones, that are learnt.
        cutmix: the probability that a strong view gets a box of another one (`semivae.game.teaching.mixing`).
        temperature: divides the logits of the posterior that the classes are drawn from; None for the most likely ones.

    Returns:
        The strong views, their maps int64 [batch, height, width], and the fraction of pixels that are learnt, [].
    """
    weak_images = weak(images, generator)
    posterior = categorical_of(teacher({variable: weak_images}))
    confidence, maps = posterior.probs.max(dim=-1)
    if temperature is not None:
        maps = sample_maps(posterior, temperature, generator)
    mask = (confidence >= threshold) & pixel_curriculum_mask(posterior, fraction)
    strong_images, moved_maps = strong.joint(weak_images, maps.masked_fill(~mask, VOID), generator)
    if cutmix:
        count, height, width = moved_maps.shape
        boxes = random_boxes(count, height, width, cutmix, generator)
        strong_images, moved_maps = paste_boxes(strong_images, boxes), paste_boxes(moved_maps, boxes)
    return strong_images, moved_maps, mask.float().mean()


def sample_maps(posterior: Categorical, temperature: float, generator: torch.Generator) -> Tensor:
    """Draws a class for every pixel, int64 [batch, height, width], from the posterior at a temperature below 1.

    On average, a draw teaches the teacher's own probabilities, so uncertain pixels stay uncertain. The most likely
    classes would make the encoder more confident of any label.
    """
    probabilities = over_classes(F.softmax, posterior.logits / temperature).flatten(0, -2).to(generator.device)
    shard = current_shard()
    if shard.count > 1:  # drawn for the whole batch, of which the other rows are of no interest
        probabilities = probabilities.repeat(shard.count, 1)
    classes = shard.rows(torch.multinomial(probabilities, 1, generator=generator))
    return classes.view(posterior.logits.shape[:-1]).to(posterior.logits.device)


def pixel_curriculum_mask(posterior: Categorical, fraction: float) -> Tensor:
    """Returns a mask of the most certain pixels of every class, bool [batch, height, width]; 1 selects all.

    Certainty is the log-odds of the most likely class against the second. `fraction` applies to each predicted class of
    the batch by itself. One ranking for all classes would teach frequent classes long before rare ones, even at the
    pixels of rare ones (class-balanced self-training, Zou et al. 2018).
    """
    mask = torch.ones(posterior.logits.shape[:-1], dtype=torch.bool, device=posterior.logits.device)
    if fraction >= 1.0:
        return mask
    top = posterior.logits.topk(2, dim=-1)
    margin, maps = top.values[..., 0] - top.values[..., 1], top.indices[..., 0]
    shard = current_shard()
    margin, maps, mask = shard.gather(margin), shard.gather(maps), shard.gather(mask)
    for number in range(posterior.logits.shape[-1]):
        of_class = maps == number
        if of_class.any():
            smallest = margin[of_class].quantile(1.0 - fraction)
            mask &= ~of_class | (margin >= smallest)
    return shard.rows(mask)
