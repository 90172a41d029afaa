"""A body: a network from pictures to features that was trained elsewhere, without its classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semivae.nets.freezing import Freezable
from semivae.nets.layers import channels_last

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_CLASSES, IMAGENET_SIZE = 1000, 224
FEWEST_GRIDS = 3  # for a U-Net

GridsOf = Callable[[nn.Module, Tensor], list[Tensor]]


class BodySpec(Protocol):
    """What a recipe says of a body (`semivae.recipe.bodies`)."""

    @property
    def name(self) -> str:
        """The library, torchvision or timm."""

    @property
    def model(self) -> str:
        """The model's name in its library."""

    @property
    def weights(self) -> str:
        """`default`, `none` or the path of a file."""

    @property
    def size(self) -> int | None:
        """The side to which pictures are scaled; None leaves them as they are, where the model can read them."""


class Body(Freezable):
    """A network from pictures to features, which normalises pictures as its own training did.

    Args:
        network: from normalised pictures [n, 3, height, width] to features [n, features].
        features: their number.
        size: the side of the pictures that the network was trained on.
        mean, deviation: of each channel, by which pictures are normalised.
        scaled: the side to which pictures are scaled; None takes them as they are.
        square: whether both sides are scaled to it; otherwise the shorter one, and the ratio stays.
        head: the names of the classifier's layers, which were taken away.
        grids_of: what computes all grids [n, channels, height, width] of the network on normalised pictures, several
            of a size too; None if it has none.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        network: nn.Module,
        features: int,
        size: int = IMAGENET_SIZE,
        mean: Sequence[float] = IMAGENET_MEAN,
        deviation: Sequence[float] = IMAGENET_DEVIATION,
        scaled: int | None = None,
        square: bool = False,
        head: tuple[str, ...] = (),
        grids_of: GridsOf | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.features, self.size, self.scaled, self.square, self.head = features, size, scaled, square, head
        self.grids_of = grids_of
        # kept with the weights: another version of the library may have others
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Returns features [n, features] of pictures [n, 3 or 1, height, width] in [0, 1]."""
        features: Tensor = self.network(self.normalised(images))
        return features

    def grids(self, images: Tensor) -> list[Tensor]:
        """Returns the last grid of each size, from fine to coarse: [n, channels, height, width] each."""
        assert self.grids_of is not None
        by_size: dict[tuple[int, int], Tensor] = {}
        for grid in self.grids_of(self.network, self.normalised(images)):
            by_size[grid.shape[2], grid.shape[3]] = grid
        return [by_size[size] for size in sorted(by_size, reverse=True)]

    def keep_grids(self) -> None:
        """Drops what lies behind the last grid, where the network can (timm's), so that its last stage is in use.

        The weights of what is dropped are then ignored in files.
        """
        prune = getattr(self.network, "prune_intermediate_layers", None)
        if prune is not None:
            before = list(self.network.state_dict())
            prune(prune_norm=True, prune_head=True)
            kept = self.network.state_dict()
            self.head += tuple(dict.fromkeys(name.rpartition(".")[0] for name in before if name not in kept))

    @torch.no_grad()
    def grid_shapes(self, image: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Returns the shapes of the grids, [channels, height, width] each, of a picture of some shape.

        Raises:
            ValueError: the network has no grids of several sizes.
        """
        shapes = [tuple(grid.shape[1:]) for grid in self.grids(torch.zeros(1, *image))] if self.grids_of else []
        if len(shapes) < FEWEST_GRIDS:
            raise ValueError("this model has no grids that become coarser step by step; use one of convolutions")
        return shapes

    def normalised(self, images: Tensor) -> Tensor:
        """Returns pictures [n, 3, height, width] as the network was trained on them, scaled where that is asked for."""
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        if self.scaled is not None:
            before = images.shape[2], images.shape[3]
            if (sides := scaled_sides(before, self.scaled, self.square)) != before:
                images = F.interpolate(images, sides, mode="bilinear", align_corners=False, antialias=True)
        return channels_last((images - self.mean) / self.deviation)


def scaled_sides(sides: tuple[int, int], size: int, square: bool) -> tuple[int, int]:
    """Returns (height, width) after scaling: both `size`, or the shorter one so and the other in its ratio."""
    if square:
        return size, size
    height, width = (max(1, round(side * size / min(sides))) for side in sides)
    return height, width
