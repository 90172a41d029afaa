"""Pieces that several networks share: initialisation, norms, and joining what a network is given."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]


def linear(inputs: int, outputs: int, gain: float = math.sqrt(2.0)) -> nn.Linear:
    """A linear layer at unit signal; `gain` is that of the activation that follows; biases zero (He et al. 2015)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
    nn.init.zeros_(layer.bias)
    return layer


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1, gain: float = math.sqrt(2.0)) -> nn.Conv2d:
    """A padded convolution at unit signal gain, biases zero."""
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs * size * size))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def norm(channels: int) -> nn.GroupNorm:
    """Group norm: the players' inputs differ in their statistics, so batch statistics would not do."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def joined(images: Tensor | None, vectors: Tensor | None) -> Tensor:
    """Everything that is given, flattened: [batch, size]."""
    parts = [part.flatten(1) for part in (images, vectors) if part is not None]
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def require_image(image_shape: Shape | None, net: str) -> Shape:
    if image_shape is None:
        raise ValueError(f"net {net} reads an image, but no given variable is one; use mlp or deconv")
    return image_shape


def require_vector_output(output_shape: Shape, net: str) -> int:
    if len(output_shape) != 1:
        raise ValueError(f"net {net} puts out a vector, but the variable has rows and columns; use deconv or mlp")
    return output_shape[0]
