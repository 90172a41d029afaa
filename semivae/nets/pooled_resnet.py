"""A residual network that halves the image early, so that most of its work is in wide convolutions of small grids."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from semivae.nets.layers import Shape, channels_last, convolution, joined, linear, mean_over_places, norm
from semivae.nets.wide_resnet import ResidualBlock


class Halving(nn.Module):
    """Norm and activation, a 3x3 convolution, and the largest of every 2x2 places; odd sides are rounded up."""

    def __init__(self, inputs: int, outputs: int, normed: bool) -> None:
        super().__init__()
        self.norm = norm(inputs) if normed else nn.Identity()
        self.widen = convolution(inputs, outputs)

    def forward(self, images: Tensor) -> Tensor:
        hidden: Tensor = self.widen(F.leaky_relu(self.norm(images), 0.1))
        return F.max_pool2d(hidden, 2, ceil_mode=True)


class PooledResnet(nn.Module):
    """Image to vector: a stem, then per stage a halving and residual blocks, then the mean over places.

    After the networks with which CIFAR-10 is learnt in seconds (Page 2018, "How to train your ResNet"; Jordan 2024,
    "94% on CIFAR-10 in 3.29 seconds"): at full size there are only two convolutions and no norm, which there costs
    more time than they do. Other given values join the pooled features.

    Args:
        image_shape: (channels, height, width) of the given images.
        vector_size: length of the other given values, joined; 0 if none.
        output_shape: (parameters,).
        stem: channels of the first 3x3 convolution, at full size.
        channels: one entry per stage; each halves the image.
        blocks: residual blocks per stage, of two convolutions each.
        dropout: of the features.
    """

    takes_fewer_images = True

    def __init__(
        self,
        image_shape: Shape,
        vector_size: int,
        output_shape: Shape,
        stem: int = 32,
        channels: Sequence[int] = (64, 128, 256),
        blocks: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inputs, _, _ = image_shape
        (outputs,) = output_shape
        self.stem = convolution(inputs, stem)
        stages: list[nn.Module] = []
        before = stem
        for size in channels:
            stages.append(Halving(before, size, normed=bool(stages)))
            stages += [ResidualBlock(size, size, stride=1, dropout=0.0) for _ in range(blocks)]
            before = size
        self.stages = nn.Sequential(*stages)
        self.norm = norm(before)
        self.dropout = nn.Dropout(dropout)
        self.head = linear(before + vector_size, outputs, gain=1.0)

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        assert images is not None
        hidden = self.stages(self.stem(channels_last(images)))
        pooled = mean_over_places(F.leaky_relu(self.norm(hidden), 0.1))
        return joined(self.dropout(pooled), vectors)

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        parameters: Tensor = self.head(self.features(images, vectors))
        return parameters
