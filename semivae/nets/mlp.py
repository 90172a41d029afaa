"""Fully connected network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from semivae.nets.layers import ACTIVATIONS, Shape, joined, linear, linear_of_joined


class Mlp(nn.Module):
    """Hidden layers over everything that is given, flattened and joined.

    Args:
        image_shape: (channels, height, width) of the given images, or None.
        vector_size: length of the other given values, joined; 0 if none.
        output_shape: shape of the parameters of one value.
        hidden: width of every hidden layer.
        dropout: share of hidden units that are dropped in training.
        activation: after every hidden layer.
        skip: add a linear map of the inputs to the outputs.
        gain: scale of the last layer's first weights.
    """

    takes_fewer_images = True

    def __init__(
        self,
        image_shape: Shape | None,
        vector_size: int,
        output_shape: Shape,
        hidden: Sequence[int] = (256, 256),
        dropout: float = 0.0,
        activation: str = "silu",
        skip: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.output_shape = tuple(output_shape)
        sizes = [math.prod(image_shape or (0,)) + vector_size, *hidden]
        function, hidden_gain = ACTIVATIONS[activation]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [linear(inputs, outputs, hidden_gain), function(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers)
        self.head = linear(sizes[-1], math.prod(self.output_shape), gain=gain)
        self.skip = nn.Linear(sizes[0], math.prod(self.output_shape), bias=False) if skip else None

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        if not self.body:
            return joined(images, vectors)
        first = self.body[0]
        assert isinstance(first, nn.Linear)
        features = linear_of_joined(first, images, vectors)
        for layer in itertools.islice(self.body, 1, None):
            features = layer(features)
        return features

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        flat: Tensor = self.head(self.features(images, vectors))
        if self.skip is not None:
            flat = flat + self.skip(joined(images, vectors))
        return flat.view(-1, *self.output_shape)
