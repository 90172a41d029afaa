"""Ladder conditionals: the encoder starts from what the decoder knows, adds what it sees (docs/method.md).

The natural parameters of q(z_t | z_<t, x) are those of the decoder's p(z_t | z_<t), plus a_t(x). The a_t come from one
deterministic bottom-up network of x; every level has a small head of its own on it (Sonderby et al. 2016, "Ladder
variational autoencoders"; the symmetric game with this encoder: Flach et al. 2024).

The decoder's part is a reference, not a submodule: the players' parameters stay disjoint, a copy of the encoder (its
average) leans on the same living decoder, and no gradient of the encoder's step reaches it.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from semivae.game.conditionals import Conditional, NetworkConditional, network_inputs
from semivae.variables import Sample, Variable

FEATURES = "bottom-up features"  # a key that no variable can have


class Reference:
    """Another player's conditional, shared by all copies and hidden from `parameters()` and `state_dict()`."""

    def __init__(self, conditional: Conditional) -> None:
        self.conditional = conditional

    def __deepcopy__(self, memo: dict[int, Any]) -> Reference:
        return self


class LadderConditional(NetworkConditional):
    """q(target | given, image): the decoder's natural parameters plus a head on the shared bottom-up network.

    Args:
        target: a Bernoulli or categorical variable.
        given: the image, and all that the decoder's factor is given.
        image: what the bottom-up network reads.
        bottom_up: a module with features(images, vectors); the same object in every level.
        head: a module of `semivae.nets` from those features to the target's parameters.
    """

    def __init__(
        self, target: Variable, given: tuple[Variable, ...], image: Variable, bottom_up: nn.Module, head: nn.Module
    ) -> None:
        super().__init__(target, given, head)
        self.image = image
        self.bottom_up = bottom_up
        self.decoder_too = False  # whether gradients reach the decoder: in the evidence lower bound only
        self._above: Reference | None = None
        self.inner: Conditional | None = None

    def lean_on(self, conditional: Conditional) -> None:
        """Says which of the decoder's conditionals this level starts from."""
        self._above = Reference(conditional)

    @property
    def above(self) -> Conditional:
        """The decoder's p(target | ...)."""
        if self.inner is not None:
            return self.inner
        assert self._above is not None, "build_players connects every level to the decoder"
        return self._above.conditional

    def bottom_up_features(self, sample: Sample) -> Tensor:
        """What the levels share, [batch, features]; taken from the sample where a player put it there before."""
        if FEATURES in sample:
            return sample[FEATURES]
        features: Tensor = self.bottom_up.features(*network_inputs((self.image,), sample))  # type: ignore[operator]
        return features

    def parameters_of(self, sample: Sample) -> Tensor:
        with nullcontext() if self.decoder_too else torch.no_grad():
            natural = self.above.parameters_of(sample)
        if not self.decoder_too:
            natural = natural.detach()  # a prior hands out its parameters themselves
        added: Tensor = self.net(None, self.bottom_up_features(sample))
        return natural + added

    def features(self, sample: Sample) -> Tensor:
        features: Tensor = self.net.features(None, self.bottom_up_features(sample))  # type: ignore[operator]
        return features.float()

    def standalone(self) -> LadderConditional:
        """A copy that holds its own copy of the decoder's part, as an export needs it."""
        own = copy.deepcopy(self)
        own.inner = copy.deepcopy(self.above)  # a submodule: moved and exported with the rest
        own.decoder_too = True  # exporters know no torch.no_grad
        return own


def with_shared_features(conditionals: list[Conditional], sample: Sample) -> Sample:
    """The sample with the bottom-up features of its image, if any of the conditionals is a level of a ladder.

    A player calls this once and hands the result to all levels, so the bottom-up network runs once.
    """
    for conditional in conditionals:
        if isinstance(conditional, LadderConditional) and conditional.image.name in sample:
            return {**sample, FEATURES: conditional.bottom_up_features(sample)}
    return sample
