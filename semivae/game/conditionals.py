"""Conditionals: modules whose forward returns a distribution over one variable, given others.

A prior is a conditional with nothing given. A prior that is known only by samples has no conditional at all: its
variable comes from a stream.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from semivae.game.families import FAMILIES
from semivae.variables import Sample, Variable


class Conditional(nn.Module, ABC):
    """p(target | given). `learnable` says whether it has anything to learn."""

    learnable: bool

    def __init__(self, target: Variable, given: tuple[Variable, ...] = ()) -> None:
        super().__init__()
        self.target = target
        self.given = given
        self.family = FAMILIES[target.family]

    @abstractmethod
    def parameters_of(self, sample: Sample) -> Tensor:
        """The family's parameters, [batch, *parameter_shape], or without batch where nothing is given."""

    def forward(self, sample: Sample) -> Distribution:
        """The distribution of the target, event shape `target.shape`; batch shape () where nothing is given."""
        # distributions want float32 whatever the networks ran in
        return self.family.distribution(self.target, self.parameters_of(sample).float())

    def draw(self, sample: Sample, batch: int, sampled: bool = False) -> Tensor:
        """A value [batch, *shape] to complete `sample` with: a draw, or the mean or mode where the variable asks so.

        A prior is always drawn from: its mean or mode is the same for all. So is all else if `sampled`.

        Raises:
            FloatingPointError: the parameters are not finite; drawing from them would be undefined.
        """
        parameters = self.parameters_of(sample).float()
        if not bool(parameters.isfinite().all()):
            given = ", ".join(variable.name for variable in self.given)
            raise FloatingPointError(
                f"the factor of {self.target.name} given {given} puts out values that are not finite"
            )
        distribution = self.family.distribution(self.target, parameters)
        expanded = distribution if self.given else distribution.expand(torch.Size((batch,)))
        if sampled or not self.given or self.target.complete_with == "sample":
            return expanded.sample()
        value: Tensor = expanded.mean if self.target.complete_with == "mean" else expanded.mode
        return value


class Prior(Conditional):
    """A distribution with nothing given: fixed, or learnt.

    Args:
        target: the variable.
        parameters: the family's parameters; zeros give fair bits, uniform classes, the standard normal.
        learnable: whether the decoder may change them.
    """

    def __init__(self, target: Variable, parameters: Tensor | None = None, learnable: bool = False) -> None:
        super().__init__(target)
        if parameters is None:
            parameters = torch.zeros(target.parameter_shape)
        self.learnable = learnable
        if learnable:
            self.natural = nn.Parameter(parameters)
        else:
            self.register_buffer("natural", parameters)

    def parameters_of(self, sample: Sample) -> Tensor:
        return self.natural


class NetworkConditional(Conditional):
    """A distribution whose parameters a network computes from the given variables.

    Args:
        target: the variable.
        given: the variables that it depends on, at least one.
        net: a module of `semivae.nets`: forward(images, vectors) to parameters, features(images, vectors).
    """

    learnable = True

    def __init__(self, target: Variable, given: tuple[Variable, ...], net: nn.Module) -> None:
        super().__init__(target, given)
        self.net = net

    def parameters_of(self, sample: Sample) -> Tensor:
        parameters: Tensor = self.net(*self.network_inputs(sample))
        return parameters

    def features(self, sample: Sample) -> Tensor:
        """The representation below the last layer, [batch, features]."""
        features: Tensor = self.net.features(*self.network_inputs(sample))  # type: ignore[operator]
        return features.float()

    def network_inputs(self, sample: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
        return network_inputs(self.given, sample)

    def standalone(self) -> NetworkConditional:
        """A copy that depends on nothing outside itself."""
        return copy.deepcopy(self)


def network_inputs(given: Iterable[Variable], sample: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """All given images joined by channel, and all other given values flattened and joined; None where none."""
    images: list[Tensor] = []
    vectors: list[Tensor] = []
    for variable in given:
        value = FAMILIES[variable.family].as_input(variable, sample[variable.name])
        (images if variable.is_image else vectors).append(value if variable.is_image else value.flatten(1))
    return (
        torch.cat(images, dim=1) if images else None,
        torch.cat(vectors, dim=1) if vectors else None,
    )
