"""Convolutional networks: image to vector, and vector to image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semivae.nets.layers import Shape, channels_last, convolution, doubled, gradient_laid_last, joined, linear, norm


class Conv(nn.Module):
    """Image to vector: per stage two 3x3 convolutions, the second halves the image; then one hidden layer.

    Other given values join below the hidden layer.

    Args:
        image_shape: (channels, height, width) of the given images.
        vector_size: length of the other given values, joined; 0 if none.
        output_shape: (parameters,).
        channels: one entry per stage.
        stem: channels of a first 5x5 convolution that halves the image, or None; stages then norm only where they have
            halved it, since at full size a norm costs more time than a convolution.
        hidden: width of the hidden layer, whose output is the feature vector.
        dropout: share of features that are dropped in training.
    """

    takes_fewer_images = True

    def __init__(
        self,
        image_shape: Shape,
        vector_size: int,
        output_shape: Shape,
        channels: Sequence[int] = (32, 64, 128),
        hidden: int = 256,
        dropout: float = 0.0,
        stem: int | None = None,
    ) -> None:
        super().__init__()
        inputs, height, width = image_shape
        (outputs,) = output_shape
        stages: list[nn.Module] = []
        if stem is not None:
            stages += [convolution(inputs, stem, size=5, stride=2), nn.SiLU()]
            inputs, height, width = stem, (height + 1) // 2, (width + 1) // 2
        for size in channels:
            stages += [convolution(inputs, size), *([norm(size)] if stem is None else []), nn.SiLU()]
            stages += [convolution(size, size, stride=2), norm(size), nn.SiLU()]
            inputs, height, width = size, (height + 1) // 2, (width + 1) // 2
        self.stages = nn.Sequential(*stages)
        self.hidden = nn.Sequential(
            linear(inputs * height * width + vector_size, hidden), nn.SiLU(), nn.Dropout(dropout)
        )
        self.head = linear(hidden, outputs, gain=1.0)

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        assert images is not None
        features: Tensor = self.hidden(joined(gradient_laid_last(self.stages(channels_last(images))), vectors))
        return features

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        parameters: Tensor = self.head(self.features(images, vectors))
        return parameters


class ModulatedBlock(nn.Module):
    """A residual block whose normalised channels are scaled and shifted by the given vector (Perez et al. 2018, FiLM).

    The modulation is the global path: without one, spatial codes give patchwork.
    """

    def __init__(self, channels: int, vector_size: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.modulation = linear(vector_size, 2 * channels, gain=0.5)
        self.first = convolution(channels, channels)
        self.second = convolution(channels, channels, gain=0.5)

    def forward(self, images: Tensor, vectors: Tensor) -> Tensor:
        scale, shift = self.modulation(vectors)[:, :, None, None].chunk(2, dim=1)
        hidden: Tensor = F.silu(torch.addcmul(shift, self.norm(images), 1.0 + scale))
        hidden = self.second(F.silu(self.first(hidden)))
        return images + hidden


class Deconv(nn.Module):
    """Vector to image: a small grid, then per stage twice the size, a convolution and residual blocks.

    Args:
        image_shape: must be None: images cannot be given.
        vector_size: length of all given values, joined.
        output_shape: (parameter channels, height, width).
        channels: one entry per stage, from the small grid up.
        blocks: residual blocks per stage.
    """

    def __init__(
        self,
        image_shape: None,
        vector_size: int,
        output_shape: Shape,
        channels: Sequence[int] = (128, 64, 32),
        blocks: int = 1,
    ) -> None:
        super().__init__()
        outputs, self.height, self.width = output_shape
        grid = tuple(-(-side // 2 ** len(channels)) for side in (self.height, self.width))
        self.grid = (channels[0], *grid)
        self.start = linear(vector_size, channels[0] * grid[0] * grid[1], gain=1.0)
        self.widen = nn.ModuleList()
        self.blocks = nn.ModuleList()
        inputs = channels[0]
        for size in channels:
            self.widen.append(convolution(inputs, size, gain=1.0))
            self.blocks.append(nn.ModuleList(ModulatedBlock(size, vector_size) for _ in range(blocks)))
            inputs = size
        self.norm = norm(inputs)
        self.head = convolution(inputs, outputs, gain=0.1)  # pictures start near mid-grey, not as coloured noise

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        """The last grid, averaged over places: [batch, channels]."""
        return self._image(vectors).mean(dim=(2, 3))

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        parameters: Tensor = self.head(self._image(vectors))[:, :, : self.height, : self.width]
        return parameters

    def _image(self, vectors: Tensor | None) -> Tensor:
        assert vectors is not None
        hidden = channels_last(self.start(vectors).unflatten(1, self.grid))
        for widen, blocks in zip(self.widen, self.blocks, strict=True):
            hidden = widen(doubled(hidden))
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                hidden = block(hidden, vectors)
        return F.silu(self.norm(hidden))
