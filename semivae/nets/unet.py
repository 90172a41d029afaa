"""U-Net: image to image, or map to image, with local skips and a global path."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semivae.nets.convolutional import ModulatedBlock
from semivae.nets.layers import Shape, channels_last, convolution, doubled, joined, linear, norm

SKETCH = 4  # places a side of what vectors add to the output
SKETCH_GAIN = 0.3  # of it at the start: seen, and less than what pictures differ by


class Unet(nn.Module):
    """Down to a coarse grid and up again (Ronneberger et al. 2015), group norm instead of batch norm.

    Skips join each level's grid on the way up: the local path. The coarsest grid, averaged over its places, and the
    given vectors make one hidden vector that scales and shifts the channels of every block on the way up (FiLM): the
    global path. Given vectors also add a sketch of their own, a few places a side, smoothly interpolated: codes are
    then seen in the output from the first step on, and can be read before anything is learnt (ours; docs/method.md,
    section 4). Nothing depends on the image's size, so a trained network takes any whose sides are multiples of
    `size_multiple`.

    Args:
        image_shape: (channels, height, width) of the given images and one-hot maps, joined.
        vector_size: length of the other given values, joined; 0 if none.
        output_shape: (parameter channels, height, width), of the same height and width.
        channels: one entry per level, from fine to coarse.
        blocks: residual blocks per level, down and up.
        hidden: length of the global vector, which is also the feature vector.
        patch: the finest level has one place for `patch` x `patch` pixels; 2 makes the network about 4 times cheaper.
        dropout: share of the global vector that is dropped in training.
        modulate_down: whether the vectors, through two layers, modulate the blocks on the way down, too.
    """

    def __init__(
        self,
        image_shape: Shape,
        vector_size: int,
        output_shape: Shape,
        channels: Sequence[int] = (32, 64, 128),
        blocks: int = 1,
        hidden: int = 128,
        patch: int = 1,
        dropout: float = 0.0,
        modulate_down: bool = False,
    ) -> None:
        super().__init__()
        inputs = image_shape[0] * patch**2
        self.patch, self.size_multiple = patch, patch * 2 ** (len(channels) - 1)
        self.stem = convolution(inputs, channels[0], gain=1.0)
        self.embed = _embedding(vector_size, hidden) if modulate_down and vector_size else None
        self.down = nn.ModuleList(
            nn.Sequential(*(Block(size) for _ in range(blocks)))
            if self.embed is None
            else nn.ModuleList(ModulatedBlock(size, hidden) for _ in range(blocks))
            for size in channels
        )
        vector_size, given_size = hidden if self.embed is not None else vector_size, vector_size
        self.shrink = nn.ModuleList(
            convolution(fine, coarse, stride=2, gain=1.0) for fine, coarse in itertools.pairwise(channels)
        )
        self.hidden = nn.Sequential(linear(channels[-1] + vector_size, hidden), nn.SiLU(), nn.Dropout(dropout))
        upwards = list(reversed(channels))
        self.widen = nn.ModuleList(
            convolution(coarse + fine, fine, gain=1.0) for coarse, fine in itertools.pairwise(upwards)
        )
        self.up = nn.ModuleList(nn.ModuleList(ModulatedBlock(size, hidden) for _ in range(blocks)) for size in upwards)
        self.norm = norm(channels[0])
        # the pixels themselves join the last layer; outputs start near 0: mid-grey pictures, uniform classes
        self.head = convolution(channels[0] + inputs, output_shape[0] * patch**2, gain=0.1)
        self.sketch = linear(given_size, output_shape[0] * SKETCH**2, gain=SKETCH_GAIN) if given_size else None

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        """The global vector: [batch, hidden]."""
        return self._down(self._patches(images), vectors)[1]

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        patches = self._patches(images)
        grids, code = self._down(patches, vectors)
        grid = grids.pop()
        for level, blocks in enumerate(self.up):
            if level:
                wide = doubled(grid)
                grid = self.widen[level - 1](torch.cat([wide, grids.pop()], dim=1))
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                grid = block(grid, code)
        parameters: Tensor = self.head(torch.cat([F.silu(self.norm(grid)), patches.to(grid.dtype)], dim=1))
        if self.patch > 1:
            parameters = F.pixel_shuffle(parameters, self.patch)
        return parameters if vectors is None else parameters + self._sketched(vectors, parameters)

    def _sketched(self, vectors: Tensor, parameters: Tensor) -> Tensor:
        """What the vectors add to output parameters [batch, channels, height, width], of that shape."""
        assert self.sketch is not None
        coarse: Tensor = self.sketch(vectors).unflatten(1, (parameters.shape[1], SKETCH, SKETCH))
        return F.interpolate(coarse, parameters.shape[2:], mode="bilinear", align_corners=True)

    def _patches(self, images: Tensor | None) -> Tensor:
        assert images is not None
        patches = F.pixel_unshuffle(images, self.patch) if self.patch > 1 else images
        return channels_last(patches)

    def _down(self, patches: Tensor, vectors: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """The grids from fine to coarse, and the global vector."""
        embedded = vectors if self.embed is None else self.embed(vectors)
        grids = [self._blocks(0, self.stem(patches), embedded)]
        for level, shrink in enumerate(self.shrink, start=1):
            grids.append(self._blocks(level, shrink(grids[-1]), embedded))
        code: Tensor = self.hidden(joined(F.silu(grids[-1]).mean(dim=(2, 3)), embedded))
        return grids, code

    def _blocks(self, level: int, grid: Tensor, embedded: Tensor | None) -> Tensor:
        """The blocks of one level on the way down."""
        blocks = self.down[level]
        if isinstance(blocks, nn.ModuleList):
            for block in blocks:
                grid = block(grid, embedded)
            return grid
        plain: Tensor = blocks(grid)
        return plain


def _embedding(vector_size: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(linear(vector_size, hidden), nn.SiLU(), linear(hidden, hidden), nn.SiLU())


class Block(nn.Module):
    """A residual block: norm, activation, convolution, activation, convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.first = convolution(channels, channels)
        self.second = convolution(channels, channels, gain=0.5)

    def forward(self, images: Tensor) -> Tensor:
        hidden: Tensor = self.second(F.silu(self.first(F.silu(self.norm(images)))))
        return images + hidden
