"""A convolutional network that is quick on small images: it halves them at once, and norms only what is small."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semivae.nets.layers import Shape, joined, linear, norm, require_image, require_vector_output


class StandardizedConv(nn.Conv2d):
    """A convolution whose filters have mean 0 and keep unit signal; each filter has a gain of its own.

    Standardised filters do part of what a norm does, at the cost of the weights instead of the activations (Qiao et al.
    2019; with the gain, Brock et al. 2021).
    """

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> None:
        super().__init__(inputs, outputs, size, stride=stride, padding=(size // 2, size // 2))
        assert self.bias is not None
        nn.init.zeros_(self.bias)
        self.gain = nn.Parameter(torch.full((outputs, 1, 1, 1), math.sqrt(2.0)))

    def forward(self, images: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        weight = (self.weight - mean) / (variance * self.weight[0].numel() + 1e-6).sqrt()
        return F.conv2d(images, weight * self.gain, self.bias, self.stride, self.padding)


class StemConv(nn.Module):
    """Image to vector: a 5x5 stem of stride 2, 3x3 convolutions of which every second halves, pooling, a hidden layer.

    A norm follows every second convolution. Other given values join below the hidden layer.

    Args:
        image_shape: (channels, height, width) of the given images.
        vector_size: length of the other given values, joined; 0 if none.
        output_shape: (parameters,).
        channels: one entry per convolution, the stem first.
        hidden: width of the hidden layer, whose output is the feature vector.
        dropout: share of features that are dropped in training.

    Raises:
        ValueError: no image is given, or the output is an image.
    """

    def __init__(
        self,
        image_shape: Shape | None,
        vector_size: int,
        output_shape: Shape,
        channels: Sequence[int] = (32, 64, 128, 128),
        hidden: int = 256,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inputs, *sides = require_image(image_shape, "stem_conv")
        outputs = require_vector_output(output_shape, "stem_conv")
        layers: list[nn.Module] = []
        for index, size in enumerate(channels):
            halves = index % 2 == 0
            layers += [StandardizedConv(inputs, size, size=3 if index else 5, stride=2 if halves else 1)]
            layers += [nn.ReLU()] if halves else [norm(size), nn.ReLU()]
            inputs, sides = size, [(side + 1) // 2 for side in sides] if halves else sides
        self.layers = nn.Sequential(*layers)
        places = math.prod((side + 1) // 2 for side in sides)
        self.hidden = nn.Sequential(linear(inputs * places + vector_size, hidden), nn.SiLU(), nn.Dropout(dropout))
        self.head = linear(hidden, outputs, gain=1.0)

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        assert images is not None
        maps = self.layers(images.contiguous(memory_format=torch.channels_last))
        pooled = F.max_pool2d(maps, 2, ceil_mode=True)
        features: Tensor = self.hidden(joined(pooled, vectors))
        return features

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        parameters: Tensor = self.head(self.features(images, vectors))
        return parameters
