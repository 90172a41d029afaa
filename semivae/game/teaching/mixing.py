"""Mixtures of examples, learnt with mixtures of their labels: of whole images (mixup) or of boxes (CutMix).

Between few labelled images a network is unconstrained, and often overconfident. Mixup makes its posterior change
linearly from one image to the other (Zhang et al. 2018, "mixup: beyond empirical risk minimization"). CutMix hides a
box of the image, as cutout does, but behind real content (Yun et al. 2019, "CutMix"; for segmentation French et al.
2020, "Semi-supervised semantic segmentation needs strong, varied perturbations").
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.distributions import Beta

from semivae.game.family import at_levels
from semivae.parallel.shards import current_shard, random_rows

BOX_AREA = (0.1, 0.5)  # the smallest and the largest area of a box, as fractions of the image
BOX_RATIO = 2.0  # the largest aspect ratio of a box, relative to the image's


def mix_examples(images: Tensor, labels: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mixes every image of a batch with a random one, possibly itself.

    Args:
        images: [batch, ...].
        labels: int64 [batch].
        alpha: lam is drawn from Beta(alpha, alpha): near 0 images hardly mix, at 1 lam is uniform.

    Returns:
        The mixtures, [batch, ...]; the labels of the partners, [batch]; and lam, the weight of every image's own label,
        [batch], which is at least 1/2 (Berthelot et al. 2019).
    """
    shard = current_shard()
    count = len(images) * shard.count
    both = torch.full((), alpha, device=images.device)
    lam = shard.rows(shard.draw(lambda: Beta(both, both, validate_args=False).sample((count,)))).to(images)
    lam = torch.maximum(lam, 1.0 - lam)
    partners = shard.rows(shard.draw(lambda: torch.randperm(count, device=images.device)))
    weight = lam.view(-1, *[1] * (images.ndim - 1))
    mixtures = torch.lerp(shard.gather(images)[partners], images, weight)
    return mixtures, shard.gather(labels)[partners], lam


def random_boxes(count: int, height: int, width: int, p: float, generator: torch.Generator) -> Tensor:
    """Returns masks of random boxes, bool [count, height, width]: one box with probability p, otherwise none.

    A box lies inside the image; `BOX_AREA` bounds its area. The random numbers come from `generator`, on its device.
    """
    draws = random_rows(functools.partial(torch.rand, generator=generator, device=generator.device), (5, count), 1)
    area, ratio = at_levels(draws[0], BOX_AREA), BOX_RATIO ** at_levels(draws[1], (-1.0, 1.0))
    extents = torch.stack([area * ratio, area / ratio]).sqrt().clamp_max(1.0)  # down and across, of sides of 1
    first = draws[2:4] * (1.0 - extents)
    centres = _centres(height, width, draws.device)
    inside = (centres >= first[..., None]) & (centres < (first + extents)[..., None])  # [2, n, longer side]
    return inside[0, :, :height, None] & inside[1, :, None, :width] & (draws[4] < p)[:, None, None]


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # they serve in training, too
def _centres(height: int, width: int, device: torch.device) -> Tensor:
    """Where the middles of the pixels lie down and across, [2, 1, longer side]: from 0 to 1 across a side."""
    places = torch.arange(max(height, width), device=device) + 0.5
    return torch.stack([places / height, places / width])[:, None]


def paste_boxes(images: Tensor, boxes: Tensor) -> Tensor:
    """Returns every image with the content of the next image of the batch inside its box.

    Args:
        images: [batch, channels, height, width], or maps [batch, height, width].
        boxes: masks, bool [batch, height, width] (see `random_boxes`).
    """
    mask = boxes.to(images.device)
    return torch.where(mask if images.ndim == 3 else mask[:, None], current_shard().following(images), images)
