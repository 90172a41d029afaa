"""A U-Net whose way down is a body: from one picture, and vectors beside it, to a map or a picture."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semivae.nets.bodies import build_body
from semivae.nets.body import Body
from semivae.nets.body_net import Levels, SpecOfBody
from semivae.nets.convolutional import ModulatedBlock
from semivae.nets.freezing import Learning
from semivae.nets.layers import Shape, convolution, joined, linear, norm
from semivae.nets.unet import SKETCH, SKETCH_GAIN

WIDEST = 8  # times the channels of the finest level


class PretrainedUnet(nn.Module):
    """The grids of a body, from fine to coarse, and a way up that joins them, as in `semivae.nets.unet.Unet`.

    The coarsest grid, averaged over its places, and the given vectors make the global vector, which modulates every
    block on the way up. The pixels themselves join the last layer.

    Args:
        image_shape: (channels, height, width) of the picture.
        vector_size: length of the other given values, joined; 0 if none.
        output_shape: (parameter channels, height, width), of the same height and width.
        body: of torchvision or timm; its weights are random until `semivae.scenario.pretrained` loads them.
        levels: of black and white in the pictures that are given.
        width: channels of the finest level; each coarser one has twice as many, up to 8 times.
        blocks: residual blocks per level on the way up.
        hidden: length of the global vector, which is also the feature vector.
        dropout: share of the global vector that is dropped in training.
        train, rate, decay: what of the body learns, and how fast (`Freezable.let_learn`).
    """

    def __init__(
        self,
        image_shape: Shape,
        vector_size: int,
        output_shape: Shape,
        body: dict[str, Any],
        levels: Levels = (0.0, 1.0),
        width: int = 32,
        blocks: int = 1,
        hidden: int = 128,
        dropout: float = 0.0,
        train: Learning = "head",
        rate: float = 0.1,
        decay: float = 1.0,
    ) -> None:
        super().__init__()
        self.body: Body = build_body(SpecOfBody(**body), pretrained=False)
        self.body.keep_grids()
        self.body.let_learn(train, rate, decay)
        self.levels = levels
        shapes = self.body.grid_shapes(image_shape)
        self.patch = _finest_stride(image_shape, shapes[0])
        sizes = [min(width * 2**level, width * WIDEST) for level in range(len(shapes))]
        self.reduce = nn.ModuleList(
            nn.Sequential(convolution(shape[0], size, size=1, gain=1.0), norm(size))
            for shape, size in zip(shapes, sizes, strict=True)
        )
        self.hidden = nn.Sequential(linear(sizes[-1] + vector_size, hidden), nn.SiLU(), nn.Dropout(dropout))
        upwards = list(reversed(sizes))
        self.widen = nn.ModuleList(
            convolution(coarse + fine, fine, gain=1.0) for coarse, fine in itertools.pairwise(upwards)
        )
        self.up = nn.ModuleList(nn.ModuleList(ModulatedBlock(size, hidden) for _ in range(blocks)) for size in upwards)
        self.norm = norm(width)
        pixels = image_shape[0] * self.patch**2
        self.head = convolution(width + pixels, output_shape[0] * self.patch**2, gain=0.1)  # outputs start near 0
        self.sketch = linear(vector_size, output_shape[0] * SKETCH**2, gain=SKETCH_GAIN) if vector_size else None

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        """The global vector: [batch, hidden]."""
        return self._down(images, vectors)[1]

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        assert images is not None
        grids, code = self._down(images, vectors)
        grid = grids.pop()
        for level, blocks in enumerate(self.up):
            if level:
                fine = grids.pop()
                wide = F.interpolate(grid, fine.shape[2:], mode="nearest")
                grid = self.widen[level - 1](torch.cat([wide, fine], dim=1))
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                grid = block(grid, code)
        pixels = F.pixel_unshuffle(images, self.patch)
        if grid.shape[2:] != pixels.shape[2:]:  # the body scales pictures
            grid = F.interpolate(grid, pixels.shape[2:], mode="bilinear", align_corners=False)
        parameters: Tensor = self.head(torch.cat([F.silu(self.norm(grid)), pixels.to(grid.dtype)], dim=1))
        parameters = F.pixel_shuffle(parameters, self.patch)
        if vectors is None or self.sketch is None:
            return parameters
        coarse: Tensor = self.sketch(vectors).unflatten(1, (parameters.shape[1], SKETCH, SKETCH))
        return parameters + F.interpolate(coarse, parameters.shape[2:], mode="bilinear", align_corners=True)

    def _down(self, images: Tensor | None, vectors: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """The grids from fine to coarse, and the global vector."""
        assert images is not None
        black, white = self.levels
        raw = self.body.grids((images - black) / (white - black))
        grids = [reduce(grid) for reduce, grid in zip(self.reduce, raw, strict=True)]
        code: Tensor = self.hidden(joined(F.silu(grids[-1]).mean(dim=(2, 3)), vectors))
        return grids, code


def _finest_stride(image: Shape, grid: Shape) -> int:
    """Returns 4, 2 or 1: how many pixels a side one place of the last layer has, at most those of the finest grid."""
    _, height, width = image
    fitting = (side for side in (4, 2) if height >= side * grid[1] and not (height % side or width % side))
    return next(fitting, 1)
