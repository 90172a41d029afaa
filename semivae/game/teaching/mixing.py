"""Mixtures of examples that are learnt with mixtures of their labels: whole images (mixup), or patches (CutMix).

Between few labelled images a network may do as it likes, and does so with confidence; mixtures ask it to go over from
one label to the other in proportion (Zhang et al. 2018, "mixup: beyond empirical risk minimization"). A patch of
another image hides what it covers, as cutout does, but with something real (Yun et al. 2019, "CutMix"; of images with
maps French et al. 2020, "Semi-supervised semantic segmentation needs strong, varied perturbations").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Beta

BOX_AREA = (0.1, 0.5)  # of the image, that a pasted box may cover
BOX_RATIO = 2.0  # most between a box's height and width, relative to the image's


def mixed(images: Tensor, labels: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mixes every image of a batch with another one, or with itself.

    Args:
        images: [batch, ...].
        labels: int64 [batch].
        alpha: lam is drawn from Beta(alpha, alpha): near 0 images stay apart, at 1 all lam are equally likely.

    Returns:
        The mixtures, [batch, ...]; the labels that were mixed in, [batch]; and lam, what every image has kept,
        [batch], at least a half, so that its own label stays the one that it mostly shows (Berthelot et al. 2019).
    """
    lam = Beta(alpha, alpha).sample((len(images),)).to(images)
    lam = torch.maximum(lam, 1.0 - lam)
    partners = torch.randperm(len(images)).to(images.device)
    kept = lam.view(-1, *[1] * (images.ndim - 1))
    return kept * images + (1.0 - kept) * images[partners], labels[partners], lam


def boxes(count: int, height: int, width: int, p: float, generator: torch.Generator) -> Tensor:
    """Marks a random box in each image with probability p, bool [count, height, width]; in the others nothing.

    A box lies inside the image; its area is a fraction in `BOX_AREA` of the image's. All draws are from `generator`,
    and made on its device.
    """
    draws = torch.rand(5, count, generator=generator, device=generator.device)
    area = BOX_AREA[0] + (BOX_AREA[1] - BOX_AREA[0]) * draws[0]
    ratio = torch.exp((2 * draws[1] - 1) * math.log(BOX_RATIO))
    rows = _inside(height, (area * ratio).sqrt().clamp_max(1.0), draws[2])
    columns = _inside(width, (area / ratio).sqrt().clamp_max(1.0), draws[3])
    return rows[:, :, None] & columns[:, None, :] & (draws[4] < p)[:, None, None]


def _inside(length: int, extent: Tensor, position: Tensor) -> Tensor:
    """Marks [n, length] the places within an interval of `extent` (fractions of the length) at `position` in [0, 1]."""
    places = (torch.arange(length, device=extent.device) + 0.5) / length
    first = position * (1.0 - extent)
    return (places >= first[:, None]) & (places < (first + extent)[:, None])


def pasted(images: Tensor, places: Tensor) -> Tensor:
    """Every image with the marked places [batch, height, width] of the batch's next one.

    Args:
        images: [batch, channels, height, width], or maps [batch, height, width].
        places: as `boxes` marks them.
    """
    marked = places.to(images.device)
    return torch.where(marked if images.ndim == 3 else marked[:, None], images.roll(-1, 0), images)
