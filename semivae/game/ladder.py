"""Ladder conditionals: the encoder adds evidence from the image to the decoder's prior (docs/method.md, "Hierarchies").

The natural parameters of q(z_t | z_<t, x) are those of the decoder's p(z_t | z_<t), plus a_t(x). All a_t come from one
deterministic bottom-up network of x; every level has a small head of its own (Sonderby et al. 2016, "Ladder variational
autoencoders"; the symmetric game with this encoder: Flach et al. 2024).

The decoder's factor is a reference, not a submodule. The players' parameters stay disjoint, the EMA of the encoder uses
the same current decoder, and no gradient of the encoder's step reaches the decoder.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from semivae.game.conditionals import Conditional, NetworkConditional
from semivae.game.network_inputs import network_inputs
from semivae.variables import Sample, Variable, repeated

FEATURES = "bottom-up features"  # a key that no variable can have


class Reference:
    """A conditional of the decoder, shared by all copies of the encoder and absent from its `state_dict()`."""

    def __init__(self, conditional: Conditional) -> None:
        self.conditional = conditional

    def __deepcopy__(self, memo: dict[int, Any]) -> Reference:
        return self


class LadderConditional(NetworkConditional):
    """q(target | given, image): the natural parameters of the decoder's prior plus a head on the bottom-up network.

    Args:
        target: a Bernoulli or categorical variable.
        given: the image, and all parents of the target in the decoder.
        image: the input of the bottom-up network.
        bottom_up: a module with features(images, vectors), the same object in every level.
        head: a module of `semivae.nets` that maps these features to the target's parameters.
    """

    also_reads = (FEATURES,)

    def __init__(
        self, target: Variable, given: tuple[Variable, ...], image: Variable, bottom_up: nn.Module, head: nn.Module
    ) -> None:
        super().__init__(target, given, head)
        self.image = image
        self.bottom_up = bottom_up
        self.differentiate_prior = False  # only the evidence lower bound sends gradients to the decoder
        self._reference: Reference | None = None
        self.own_prior: Conditional | None = None

    def connect(self, conditional: Conditional) -> None:
        """Sets the decoder's p(target | ...) as the prior of this level."""
        self._reference = Reference(conditional)

    @property
    def prior(self) -> Conditional:
        """The decoder's p(target | ...)."""
        if self.own_prior is not None:
            return self.own_prior
        assert self._reference is not None, "build_players connects every level to the decoder"
        return self._reference.conditional

    def bottom_up_features(self, sample: Mapping[str, Tensor]) -> Tensor:
        """Returns the features that all levels share, [batch, features], computed only if the sample has none yet."""
        if FEATURES in sample:
            return sample[FEATURES]
        features: Tensor = self.bottom_up.features(*network_inputs((self.image,), sample))  # type: ignore[operator]
        return features

    def parameters_of(self, sample: Sample) -> Tensor:
        with nullcontext() if self.differentiate_prior else torch.no_grad():
            natural = self.prior.parameters_of(sample)
        if not self.differentiate_prior:
            natural = natural.detach()  # a Prior returns the parameters themselves, which no_grad leaves attached
        evidence: Tensor = self.net(None, self.bottom_up_features(sample))
        return natural + evidence

    def takes_fewer_of(self, names: Collection[str]) -> set[str]:
        return set()  # the bottom-up network reads the image alone, for the decoder's prior of every other parent

    def features(self, sample: Sample) -> Tensor:
        features: Tensor = self.net.features(None, self.bottom_up_features(sample))  # type: ignore[operator]
        return features.float()

    def standalone(self) -> LadderConditional:
        """Returns a copy with its own copy of the decoder's prior, for an export."""
        own = copy.deepcopy(self)
        own.own_prior = copy.deepcopy(self.prior)  # a submodule, which is exported with the rest
        own.differentiate_prior = True  # exporters do not support torch.no_grad
        return own


def with_shared_features(
    conditionals: list[Conditional], sample: Sample, fewer: Mapping[str, Tensor] | None = None
) -> Sample:
    """Returns the sample, with the bottom-up features of its image if one of the conditionals is a ladder level.

    A player calls this once for all levels, so the bottom-up network runs once.

    Args:
        conditionals: that are asked for something of the sample.
        sample: each variable [batch, *shape].
        fewer: known variables of which the batch repeats every value, once each: an image among them is read so.
    """
    for conditional in conditionals:
        if isinstance(conditional, LadderConditional) and (name := conditional.image.name) in sample:
            if fewer is None or name not in fewer:
                return {**sample, FEATURES: conditional.bottom_up_features(sample)}
            return {**sample, FEATURES: repeated(conditional.bottom_up_features(fewer), len(sample[name]))}
    return sample
