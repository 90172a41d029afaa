"""Unpadded ("valid") convolutions down to one place, and their mirror up from one (Flach et al. 2024).

The layers are those of the authors' public networks for 28x28 images; other sizes change only the kernel at the one
place. Their initialisation is ours: unit signal instead of torch's default.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from semivae.nets.layers import (
    ACTIVATIONS,
    Shape,
    Tanh,
    channels_last,
    convolution,
    gradient_laid_last,
    joined,
    linear,
)
from semivae.nets.transposed import TransposedConvolution


class ValidConv(nn.Module):
    """Image to vector: 28 -> 28 -> 27 -> 13 -> 11 -> 9 -> 4 -> 1 places a side, then a linear layer.

    Other given values join the feature vector.

    Args:
        image_shape: (channels, height, width) of the given images.
        vector_size: length of the other given values, joined; 0 if none.
        output_shape: (parameters,).
        width: channels of the first layers; the later ones have twice and four times as many.
        hidden: length of the feature vector.
        activation: after every layer but the last.
        outside: what is fed beyond the border, which is black as the family feeds it; the authors feed and pad with 0.
    """

    takes_fewer_images = True

    def __init__(
        self,
        image_shape: Shape,
        vector_size: int,
        output_shape: Shape,
        width: int = 32,
        hidden: int = 600,
        activation: str = "tanh",
        outside: float = -1.0,
    ) -> None:
        super().__init__()
        self.outside = outside
        inputs, *sides = image_shape
        (outputs,) = output_shape
        function, gain = ACTIVATIONS[activation]
        layers: list[nn.Module] = [convolution(inputs, width, gain=gain, padding=0), over(function)]
        inputs = width
        for size, kernel, stride in ((width, 2, 1), (2 * width, 3, 2), (2 * width, 3, 1), (2 * width, 3, 1),
                                     (4 * width, 3, 2)):  # fmt: skip
            layers += [convolution(inputs, size, kernel, stride, gain, padding=0), over(function)]
            inputs, sides = size, [(side - kernel) // stride + 1 for side in sides]
        layers += [Flatten(), linear(inputs * math.prod(sides), hidden, gain), over(function)]
        self.body = nn.Sequential(*layers)
        self.head = linear(hidden + vector_size, outputs, gain=1.0)

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        assert images is not None
        padded = F.pad(images, (1, 1, 1, 1), value=self.outside)
        return joined(self.body(channels_last(padded)), vectors)

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        parameters: Tensor = self.head(self.features(images, vectors))
        return parameters


class ValidDeconv(nn.Module):
    """Vector to image: 1 -> 4 -> 9 -> 11 -> 13 -> 27 -> 28 places a side, then a padded convolution.

    Args:
        image_shape: must be None: images cannot be given.
        vector_size: length of all given values, joined.
        output_shape: (parameter channels, height, width).
        width: channels of the last layers; the earlier ones have twice and four times as many.
        activation: after every layer but the last.
    """

    def __init__(
        self,
        image_shape: None,
        vector_size: int,
        output_shape: Shape,
        width: int = 32,
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        outputs, self.height, self.width = output_shape
        function, gain = ACTIVATIONS[activation]
        grid = [math.ceil((side - 12) / 4) for side in (self.height, self.width)]  # the layers below make 4 n + 12 of n
        self.grid = (4 * width, *grid)
        self.start = linear(vector_size, math.prod(self.grid), gain)
        layers: list[nn.Module] = [function()]
        inputs = 4 * width
        for size, kernel, stride in ((2 * width, 3, 2), (2 * width, 3, 1), (2 * width, 3, 1), (width, 3, 2),
                                     (width, 2, 1)):  # fmt: skip
            layers += [transposed(inputs, size, kernel, stride, gain), over(function)]
            inputs = size
        self.body = nn.Sequential(*layers)
        self.head = convolution(inputs, outputs, gain=1.0)  # codes must show in the pixels before they can be read

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        """The last grid, averaged over places: [batch, channels]."""
        return self._image(vectors).mean(dim=(2, 3))

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        parameters: Tensor = self.head(self._image(vectors))[:, :, : self.height, : self.width]
        return parameters

    def _image(self, vectors: Tensor | None) -> Tensor:
        assert vectors is not None
        grid: Tensor = self.start(vectors).unflatten(1, self.grid)
        hidden: Tensor = self.body(channels_last(grid))
        return hidden


class Flatten(nn.Flatten):
    """Images as vectors, in the usual order of channels, rows and columns."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(gradient_laid_last(input))


def over(function: type[nn.Module]) -> nn.Module:
    """The activation of a layer's outputs, written over them where its gradient needs nothing else: half the memory."""
    return function(inplace=True) if function in (Tanh, nn.ReLU) else function()


def transposed(inputs: int, outputs: int, size: int, stride: int, gain: float) -> TransposedConvolution:
    """An unpadded transposed convolution at unit signal inside the image, biases zero."""
    layer = TransposedConvolution(inputs, outputs, size, stride)
    nn.init.normal_(layer.weight, std=gain * stride / (math.sqrt(inputs) * size))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
