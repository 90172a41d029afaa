"""A body with a head of its own: from one picture, and vectors beside it, to a vector."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from semivae.nets.bodies import build_body
from semivae.nets.freezing import Freezable, Learning
from semivae.nets.layers import Shape, joined, linear, without_head

Levels = tuple[float, float]
"""The values of black and white in pictures as a network is given them."""


@dataclass(frozen=True)
class SpecOfBody:
    """What a recipe says of a body of a library, as plain values (`semivae.nets.body.BodySpec`)."""

    name: str
    model: str
    weights: str = "default"
    size: int | None = None


class BodyNet(nn.Module):
    """The features of a body, at unit scale, then hidden layers over them and all vectors beside them.

    Args:
        body: from pictures [n, channels, height, width] in [0, 1] to features; it is frozen as `train` says.
        features: their number.
        vector_size: length of the other given values, joined; 0 if none.
        output_shape: (parameters,).
        levels: of black and white in the pictures that are given.
        hidden: width of each hidden layer.
        dropout: share of the features and of the hidden units that is dropped in training.
        train, rate, decay: what of the body learns, and how fast (`Freezable.let_learn`).
    """

    takes_fewer_images = True

    def __init__(
        self,
        body: Freezable,
        features: int,
        vector_size: int,
        output_shape: Shape,
        levels: Levels = (0.0, 1.0),
        hidden: Sequence[int] = (256,),
        dropout: float = 0.0,
        train: Learning = "head",
        rate: float = 0.1,
        decay: float = 1.0,
    ) -> None:
        super().__init__()
        self.body, self.levels = body, levels
        body.let_learn(train, rate, decay)
        sizes = [features + vector_size, *hidden]
        layers = [
            nn.Sequential(linear(inputs, outputs), nn.SiLU(), nn.Dropout(dropout))
            for inputs, outputs in itertools.pairwise(sizes)
        ]
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Sequential(*layers)
        # near 0: what few labels never correct in a random layer would be noise (docs/experiments.md, 28 November)
        self.head = linear(sizes[-1], output_shape[0], gain=0.1)

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        assert images is not None
        black, white = self.levels
        raw = self.body((images - black) / (white - black))
        scaled = F.layer_norm(raw.float(), raw.shape[1:])  # bodies differ in the size of their features
        hidden: Tensor = self.hidden(joined(self.dropout(scaled), vectors))
        return hidden

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        parameters: Tensor = self.head(self.features(images, vectors))
        return parameters


class LibraryNet(BodyNet):
    """A body of torchvision or timm with a head; its weights are random until `semivae.scenario.pretrained` loads them.

    Args:
        image_shape: (channels, height, width) of the picture.
        vector_size: length of the other given values, joined; 0 if none.
        output_shape: (parameters,).
        model, weights, size: of the body (`semivae.nets.body.BodySpec`).
        options: those of `BodyNet`.
    """

    library: ClassVar[str]

    def __init__(
        self,
        image_shape: Shape,
        vector_size: int,
        output_shape: Shape,
        model: str,
        weights: str = "default",
        size: int | None = None,
        **options: Any,
    ) -> None:
        body = build_body(SpecOfBody(self.library, model, weights, size), pretrained=False)
        super().__init__(body, body.features, vector_size, output_shape, **options)


class TorchvisionNet(LibraryNet):
    """A body of torchvision with a head."""

    library = "torchvision"


class TimmNet(LibraryNet):
    """A body of timm with a head."""

    library = "timm"


class EarlierBody(Freezable):
    """The network of an earlier run, up to its features, as a body.

    Args:
        network: of `semivae.nets`, which reads a picture alone and puts out a vector.
        levels: of black and white in the pictures that it was trained on, as it was given them.
    """

    def __init__(self, network: nn.Module, levels: Levels) -> None:
        super().__init__()
        self.network, self.features = without_head(network)
        self.levels = levels
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Returns features [n, features] of pictures in [0, 1]."""
        black, white = self.levels
        features: Tensor = self.network.features(black + (white - black) * images, None)  # type: ignore[operator]
        return features


class RunNet(BodyNet):
    """The body of an earlier run with a new head.

    Args:
        image_shape: (channels, height, width) of the picture.
        vector_size: length of the other given values, joined; 0 if none.
        output_shape: (parameters,).
        network: of the earlier run, as it was there, with random weights.
        network_levels: of black and white, as that network was given pictures.
        options: those of `BodyNet`.
    """

    def __init__(
        self,
        image_shape: Shape,
        vector_size: int,
        output_shape: Shape,
        network: nn.Module,
        network_levels: Levels = (0.0, 1.0),
        **options: Any,
    ) -> None:
        body = EarlierBody(network, network_levels)
        super().__init__(body, body.features, vector_size, output_shape, **options)
