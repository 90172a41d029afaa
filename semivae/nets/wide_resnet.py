"""Wide residual network for 32x32 images (Zagoruyko and Komodakis 2016), with group norm instead of batch norm."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from semivae.nets.layers import Shape, channels_last, convolution, joined, linear, mean_over_places, norm


class ResidualBlock(nn.Module):
    """Norm, activation, convolution, twice; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.first_norm, self.first = norm(inputs), convolution(inputs, outputs, stride=stride)
        self.second_norm, self.second = norm(outputs), convolution(outputs, outputs)
        self.dropout = nn.Dropout(dropout)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, size=1, stride=stride, gain=1.0)
        nn.init.zeros_(self.second.weight)  # the block starts as its shortcut, so depth costs no signal

    def forward(self, images: Tensor) -> Tensor:
        hidden: Tensor = self.first(F.leaky_relu(self.first_norm(images), 0.1))
        hidden = self.second(self.dropout(F.leaky_relu(self.second_norm(hidden), 0.1)))
        shortcut: Tensor = self.shortcut(images)
        return shortcut + hidden


class WideResnet(nn.Module):
    """WRN-depth-width: three groups of (depth - 4) / 6 blocks with 16, 32, 64 times `width` channels, mean pooling.

    Other given values join the pooled features.

    Args:
        image_shape: (channels, height, width) of the given images.
        vector_size: length of the other given values, joined; 0 if none.
        output_shape: (parameters,).
        depth: 6 n + 4.
        width: the widening factor.
        dropout: inside the blocks.
    """

    takes_fewer_images = True

    def __init__(
        self,
        image_shape: Shape,
        vector_size: int,
        output_shape: Shape,
        depth: int = 28,
        width: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inputs, _, _ = image_shape
        (outputs,) = output_shape
        blocks: list[nn.Module] = []
        channels = 16
        self.stem = convolution(inputs, channels, gain=1.0)
        for group in range(3):
            size = 16 * width * 2**group
            for index in range((depth - 4) // 6):
                blocks.append(ResidualBlock(channels, size, stride=2 if group and not index else 1, dropout=dropout))
                channels = size
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm(channels)
        self.head = linear(channels + vector_size, outputs, gain=1.0)

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        assert images is not None
        hidden = self.blocks(self.stem(channels_last(images)))
        return joined(mean_over_places(F.leaky_relu(self.norm(hidden), 0.1)), vectors)

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        parameters: Tensor = self.head(self.features(images, vectors))
        return parameters
