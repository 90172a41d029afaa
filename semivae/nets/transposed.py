"""Transposed convolutions of ordinary ones: on CPUs, torch's own take up to twelve times as long."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class TransposedConvolution(nn.ConvTranspose2d):
    """An unpadded transposed convolution of square kernels with one stride.

    It is torch's, and equal to it up to rounding. Where torch 2.14 is slow, on CPUs, it is put together of ordinary
    convolutions: with a stride its outputs, and always the gradient of its weights.

    Args:
        inputs: channels of the images that it reads.
        outputs: channels of those that it returns.
        size: of the kernel, a side.
        stride: how many places a side there are for one of the inputs.
    """

    def __init__(self, inputs: int, outputs: int, size: int, stride: int) -> None:
        super().__init__(inputs, outputs, size, stride)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if torch.compiler.is_compiling() or output_size is not None or not self._is_slow(input):
            return super().forward(input, output_size)
        assert self.bias is not None
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
        given = (tensor.to(dtype) for tensor in (input, self.weight, self.bias))
        found: Tensor = _OfConvolutions.apply(*given, self.stride[0])
        return found

    def _is_slow(self, input: Tensor) -> bool:
        """Whether torch is, where ordinary convolutions can do the same: without gaps between kernels."""
        return input.device.type == "cpu" and self.kernel_size[0] >= self.stride[0]


class _OfConvolutions(torch.autograd.Function):
    """F.conv_transpose2d(images, weight, bias, stride); weight is [inputs, outputs, size, size]."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride = stride
        if stride == 1:
            return F.conv_transpose2d(images, weight, bias)
        return interleaved_convolutions(images, weight, bias, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        images, weight = ctx.saved_tensors
        # this layer is the gradient of a convolution from its outputs to its inputs
        of_images = F.conv2d(gradient, weight, stride=ctx.stride) if ctx.needs_input_grad[0] else None
        stride, none = [ctx.stride, ctx.stride], [0, 0]
        _, of_weight, _ = torch.ops.aten.convolution_backward(
            images, gradient, weight, None, stride, none, [1, 1], False, none, 1, [False, True, False]
        )
        of_bias = gradient.movedim(1, -1).flatten(0, 2).sum(dim=0)
        return of_images, of_weight, of_bias, None


def interleaved_convolutions(images: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """Returns a transposed convolution whose every `stride`th place, down and across, is an ordinary convolution.

    Args:
        images: [batch, inputs, height, width].
        weight: [inputs, outputs, size, size], with `size` at least `stride`.
        bias: [outputs].
        stride: how many places a side there are for one of the inputs.

    Returns:
        Images [batch, outputs, stride * (height - 1) + size, stride * (width - 1) + size], whose channels lie last.
    """
    _, outputs, size, _ = weight.shape
    height, width = (stride * (side - 1) + size for side in images.shape[2:])
    whole = torch.empty(
        len(images), outputs, height, width, dtype=images.dtype, device=images.device, memory_format=torch.channels_last
    )
    for down, across in itertools.product(range(stride), repeat=2):
        part = weight[:, :, down::stride, across::stride].flip(2, 3).transpose(0, 1)
        padding = (part.shape[2] - 1, part.shape[3] - 1)
        whole[:, :, down::stride, across::stride] = F.conv2d(images, part, bias, padding=padding)
    return whole
