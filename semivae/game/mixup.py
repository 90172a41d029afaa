"""Mixtures of examples that are learnt with mixtures of their labels: whole images (mixup), or patches (CutMix).

Between few labelled images a network may do as it likes, and does so with confidence; mixtures ask it to go over from
one label to the other in proportion (Zhang et al. 2018, "mixup: beyond empirical risk minimization"). A patch of
another image hides what it covers, as cutout does, but with something real (Yun et al. 2019, "CutMix").
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Beta

SIDES = (0.1, 0.8)  # of a patch, shares of the image's side: the smallest and the largest


def mixed(images: Tensor, labels: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mixes every image of a batch with another one, or with itself.

    Args:
        images: [batch, ...].
        labels: int64 [batch].
        alpha: shares are drawn from Beta(alpha, alpha): near 0 images stay apart, at 1 all shares are equally likely.

    Returns:
        The mixtures, [batch, ...]; the labels that were mixed in, [batch]; and the share that every image has kept,
        [batch], at least a half, so that its own label stays the one that it mostly shows (Berthelot et al. 2019).
    """
    share = Beta(alpha, alpha).sample((len(images),)).to(images)
    share = torch.maximum(share, 1.0 - share)
    partners = torch.randperm(len(images)).to(images.device)
    kept = share.view(-1, *[1] * (images.ndim - 1))
    return kept * images + (1.0 - kept) * images[partners], labels[partners], share


def patched(images: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pastes one square patch of another image of the batch, at its own place, into a share of the images.

    Args:
        images: [batch, channels, height, width].
        share: of the images that get a patch.
        generator: source of all draws.

    Returns:
        The images; the number of the image that every patch is from, [batch]; and the share of its own area that every
        image has kept, [batch].
    """
    count, _, height, width = images.shape
    draws = torch.rand(4, count, generator=generator, device=generator.device).to(images.device)
    side = SIDES[0] + (SIDES[1] - SIDES[0]) * draws[0]
    partners = torch.randperm(count, generator=generator, device=generator.device).to(images.device)
    rows, columns = (
        ((torch.arange(length, device=images.device) + 0.5) / length - centre[:, None]).abs() < side[:, None] / 2
        for length, centre in ((height, draws[1]), (width, draws[2]))
    )
    patch = rows[:, :, None] & columns[:, None, :] & (draws[3] < share)[:, None, None]
    kept = 1.0 - patch.float().mean(dim=(1, 2))
    return torch.where(patch[:, None], images[partners], images), partners, kept
