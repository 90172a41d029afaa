"""Group norm in float32; on CPUs, where torch is slow, in parts of a batch that stay in the processor's cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MANY = 2**20  # numbers, from which parts pay
PART = 2**18  # numbers of a part: 1 MiB
PLACES = range(64, 1024)  # of an image: fewer are quick in torch 2.14, and from 1024 on it goes another way
WIDE = 16  # channels of a group, from which its norm is quick
NARROW = 4  # channels of a group, below which the gradient of its norm is slow, whatever the places


class GroupNorm(nn.GroupNorm):
    """Group norm computed in float32: more exact, and on CPUs twice as fast as torch's own in bfloat16.

    On CPUs, of images in bfloat16 whose channels lie last and whose groups are narrow, torch's norm takes twice as long
    as one by sums over places; of groups of two channels, its gradient takes four times as long.
    """

    def forward(self, input: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or not self._is_slow(input):
            return super().forward(input.float()).to(input.dtype)
        found: Tensor = _QuickGroupNorm.apply(input, self.weight, self.bias, self.num_groups, self.eps)
        return found

    def _is_slow(self, input: Tensor) -> bool:
        if input.device.type != "cpu" or input.dtype != torch.bfloat16 or input.numel() < MANY:
            return False
        channels, places = self.num_channels // self.num_groups, input.shape[2:].numel()
        slow = channels < NARROW or (channels < WIDE and places in PLACES)
        return slow and input.is_contiguous(memory_format=torch.channels_last)  # of four dimensions, then


class _QuickGroupNorm(torch.autograd.Function):
    """Group norm of images [batch, channels, height, width] whose channels lie last."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        batch, channels, height, width = images.shape
        if height * width in PLACES:
            found, means, inverses = normed(images, weight.view(groups, -1), bias.view(groups, -1), eps)
        else:
            numbers = images.float()
            whole, means, inverses = torch.native_group_norm(
                numbers, weight, bias, batch, channels, height * width, groups, eps
            )
            found = whole.to(images.dtype)
        ctx.save_for_backward(images, weight, means, inverses)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, means, inverses = ctx.saved_tensors
        batch, channels, height, width = images.shape
        groups = means.shape[1]
        if channels // groups < NARROW:
            return *normed_backward(gradient, images, weight.view(groups, -1), means, inverses), None, None
        whole, of_weight, of_bias = torch.ops.aten.native_group_norm_backward(
            gradient.float(),
            images.float(),
            means,
            inverses,
            weight,
            batch,
            channels,
            height * width,
            groups,
            [True] * 3,
        )
        return whole.to(images.dtype), of_weight, of_bias, None, None


def normed(images: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the group norm of images whose channels lie last, the groups' means, and one over their deviations.

    Args:
        images: [batch, channels, height, width].
        weight, bias: [groups, channels of a group].
        eps: is added to variances.
    """
    found, statistics = torch.empty_like(images), []
    for part, into in zip(_parts(images), _parts(found), strict=True):
        numbers = part.float()
        count = numbers.shape[1] * weight.shape[1]
        mean = numbers.sum(dim=1).view(-1, *weight.shape).sum(dim=2) / count
        square = numbers.square().sum(dim=1).view(-1, *weight.shape).sum(dim=2) / count
        inverse = torch.addcmul(square, mean, mean, value=-1.0).clamp_min_(0.0).add_(eps).rsqrt_()
        scale = weight * inverse[..., None]
        shift = torch.addcmul(bias, scale, mean[..., None], value=-1.0)
        into.copy_(torch.addcmul(_of_places(shift), numbers, _of_places(scale)))
        statistics.append((mean, inverse))
    means, inverses = (torch.cat(each) for each in zip(*statistics, strict=True))
    return found, means, inverses


def normed_backward(
    gradient: Tensor, images: Tensor, weight: Tensor, means: Tensor, inverses: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of images, weight and bias, given that of `normed`.

    Args:
        gradient, images: [batch, channels, height, width]; channels lie last, of the gradient for speed alone.
        weight: [groups, channels of a group].
        means, inverses: as `normed` returns them, [batch, groups].
    """
    found, of_weight, of_bias = torch.empty_like(images), torch.zeros_like(weight), torch.zeros_like(weight)
    parts = zip(
        _parts(images), _parts(gradient), _parts(found), _split(means, images), _split(inverses, images), strict=True
    )
    for part, given, into, mean, inverse in parts:
        numbers, slope = part.float(), given.float()
        sums = slope.sum(dim=1).view(-1, *weight.shape)
        products = (slope * numbers).sum(dim=1).view(-1, *weight.shape)
        of_bias += sums.sum(dim=0)
        of_weight += ((products - mean[..., None] * sums) * inverse[..., None]).sum(dim=0)
        # the gradient is slope * scale + numbers * tilt + offset, with one of each for a channel of an image
        total, product = (weight * sums).sum(dim=2), (weight * products).sum(dim=2)
        count = numbers.shape[1] * weight.shape[1]
        tilt = (mean * total - product) * inverse**3 / count
        offset = -(tilt * mean + total * inverse / count)
        tilts, offsets = (_of_places(each[..., None].expand_as(sums)) for each in (tilt, offset))
        into.copy_(torch.addcmul(offsets, numbers, tilts).addcmul_(slope, _of_places(weight * inverse[..., None])))
    return found, of_weight.flatten(), of_bias.flatten()


def _parts(images: Tensor) -> tuple[Tensor, ...]:
    """Views [some images, places, channels] of images whose channels lie last."""
    return _split(images.movedim(1, -1).flatten(1, 2), images)


def _split(values: Tensor, images: Tensor) -> tuple[Tensor, ...]:
    return torch.split(values, max(1, PART // images[0].numel()))


def _of_places(values: Tensor) -> Tensor:
    """Returns values [images, groups, channels of a group] as [images, 1, channels], the same for all places."""
    return values.reshape(len(values), 1, -1)
