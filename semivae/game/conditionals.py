"""Conditionals: modules whose forward pass returns the distribution of one variable given others.

A prior is a conditional without parents. A variable whose prior is known only by samples has no conditional; its
values come from a stream.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.modules.batchnorm import _BatchNorm

from semivae.game.distributions import with_evidence
from semivae.game.families import FAMILIES
from semivae.game.finite import finite
from semivae.game.network_inputs import network_inputs
from semivae.parallel.shards import sample_rows
from semivae.variables import Around, Sample, Variable


class Conditional(nn.Module, ABC):
    """p(target | given). `given` are the parents; `learnable` says whether there are parameters to learn."""

    learnable: bool
    also_reads: ClassVar[tuple[str, ...]] = ()
    """What `parameters_of` takes from a sample besides the parents, if it is there."""

    def __init__(self, target: Variable, given: tuple[Variable, ...] = ()) -> None:
        super().__init__()
        self.target = target
        self.given = given
        self.parents = frozenset(variable.name for variable in given)
        """The names of the variables that are given."""
        self.family = FAMILIES[target.family]

    @abstractmethod
    def parameters_of(self, sample: Sample) -> Tensor:
        """Returns the family's parameters, [batch, *parameter_shape]; of a prior, [*parameter_shape]."""

    def forward(self, sample: Sample) -> Distribution:
        """Returns the distribution of the target, with event shape `target.shape` and batch shape [batch] or ()."""
        # log-probabilities need float32, also where the networks run in bfloat16
        return self.distribution_of(self.parameters_of(sample).float())

    def distribution_of(self, parameters: Tensor) -> Distribution:
        """Returns the distribution of the target with these parameters, as `parameters_of` returns them."""
        return self.family.distribution(self.target, parameters)

    @property
    def reads_alone(self) -> bool:
        """Whether it reads several samples one by one, because answers depend on the whole batch, by batch norm."""
        return any(isinstance(module, _BatchNorm) and module.training for module in self.modules())

    def takes_fewer_of(self, names: Collection[str]) -> set[str]:
        """Returns those of its parents of which it takes fewer values than of the others (`semivae.nets`).

        Args:
            names: the variables of which there are fewer values.
        """
        return set()

    def draw(self, sample: Sample, batch: int, sampled: bool = False) -> Tensor:
        """Returns a value of the target, [batch, *shape], as `value_of` takes it from its distribution.

        Raises:
            FloatingPointError: as `to_draw`.
        """
        return self.value_of(self.to_draw(sample, batch), sampled)

    def value_of(self, distribution: Distribution, sampled: bool = False, evidence: Tensor | None = None) -> Tensor:
        """Returns a draw, or the mean or mode if the variable asks for it, [batch, *shape].

        From a prior the value is always drawn, because its mean or mode is the same for every sample; with `sampled`
        it is drawn from every conditional. With the log-likelihood of evidence, [batch, classes], a class is drawn from
        the distribution times that likelihood.

        Args:
            distribution: of the target, batch shape [batch].
        """
        if evidence is not None:
            distribution = with_evidence(distribution, evidence)
        if sampled or not self.given or self.target.complete_with == "sample":
            return sample_rows(distribution)
        value: Tensor = distribution.mean if self.target.complete_with == "mean" else distribution.mode
        return value

    def to_draw(self, sample: Sample, batch: int) -> Distribution:
        """Returns the distribution of the target, with batch shape [batch], whose parameters are finite.

        Raises:
            FloatingPointError: the parameters are not finite (`semivae.game.finite`).
        """
        distribution = self.distribution_of(finite(self.parameters_of(sample).float(), self.words))
        return distribution if self.given else distribution.expand(torch.Size((batch,)))

    @property
    def words(self) -> str:
        """What messages call it."""
        given = ", ".join(variable.name for variable in self.given)
        return f"the network of {self.target.name} given {given}" if given else f"the prior of {self.target.name}"

    def lesson_score(self, sample: Sample, distribution: Distribution | None = None) -> Tensor:
        """Returns what a player maximises in a lesson, [batch], nats per sample: the log-probability of the target.

        Args:
            sample: the parents and the target.
            distribution: of the target given these parents, if it is known.
        """
        log_prob: Tensor = (distribution or self(sample)).log_prob(sample[self.target.name])
        return log_prob

    def picture(self, sample: Sample, around: Around | None = None) -> Tensor:
        """Returns the target as it is shown to people, [batch, *shape]: the mean of the distribution.

        Args:
            sample: the parents.
            around: values that are known in part, for conditionals that draw the rest to fit.
        """
        mean: Tensor = self(sample).mean
        return mean


class Prior(Conditional):
    """A distribution without parents, fixed or learnt.

    Args:
        target: the variable.
        parameters: the family's parameters; zeros (the default) are fair bits, uniform classes, the standard normal.
        learnable: whether the decoder learns them.
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
        given: its parents, at least one.
        net: a module of `semivae.nets`; forward(images, vectors) returns the parameters.
    """

    learnable = True

    def __init__(self, target: Variable, given: tuple[Variable, ...], net: nn.Module) -> None:
        super().__init__(target, given)
        self.net = net

    def parameters_of(self, sample: Sample) -> Tensor:
        parameters: Tensor = self.net(*network_inputs(self.given, sample))
        return parameters

    def takes_fewer_of(self, names: Collection[str]) -> set[str]:
        images = {variable.name for variable in self.given if variable.is_image}
        all_fewer = images.issubset(names) and len(images) < len(self.given)
        return images if all_fewer and getattr(self.net, "takes_fewer_images", False) else set()

    def features(self, sample: Sample) -> Tensor:
        """Returns the representation below the last layer, [batch, features]."""
        features: Tensor = self.net.features(*network_inputs(self.given, sample))  # type: ignore[operator]
        return features.float()

    def standalone(self) -> NetworkConditional:
        """Returns a copy that refers to no other module, for an export."""
        return copy.deepcopy(self)
