"""Conditionals: modules whose forward pass returns the distribution of one variable given others.

A prior is a conditional without parents. A variable whose prior is known only by samples has no conditional; its
values come from a stream.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.modules.batchnorm import _BatchNorm

from semivae.game.families import FAMILIES, with_evidence
from semivae.parallel.shards import current_shard, sample_rows
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

    def of_all(self, samples: Sequence[Sample]) -> list[Distribution]:
        """Returns what `forward` does of each of several samples, with one reading of the network for all.

        A network whose answers depend on the whole batch, by batch norm, reads each by itself.
        """
        if len(samples) == 1 or self._mixes_examples:
            return [self(sample) for sample in samples]
        return self._for_each(samples, self._parameters_of_all(samples))

    @property
    def _mixes_examples(self) -> bool:
        """Whether an answer depends on the other examples of a batch."""
        return any(isinstance(module, _BatchNorm) and module.training for module in self.modules())

    def _parameters_of_all(self, samples: Sequence[Sample]) -> Tensor:
        """Returns the parameters of samples of any sizes, one after the other; of a prior, once."""
        together = samples[0]
        if self.given and len(samples) > 1:
            read = {*(variable.name for variable in self.given), *self.also_reads}
            together = {name: torch.cat([sample[name] for sample in samples]) for name in samples[0] if name in read}
        # log-probabilities need float32, also where the networks run in bfloat16
        return self.parameters_of(together).float()

    def _for_each(self, samples: Sequence[Sample], parameters: Tensor) -> list[Distribution]:
        if not self.given:
            return [self.distribution_of(parameters)] * len(samples)
        parts = torch.split(parameters, [len(sample[self.given[0].name]) for sample in samples])
        return [self.distribution_of(part) for part in parts]

    def draw(self, sample: Sample, batch: int, sampled: bool = False, evidence: Tensor | None = None) -> Tensor:
        """Returns a value of the target, [batch, *shape], as `value_of` takes it from its distribution.

        Raises:
            FloatingPointError: as `to_draw`.
        """
        return self.value_of(self.to_draw(sample, batch), sampled, evidence)

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
            FloatingPointError: the parameters are not finite, so a draw would be undefined. Asked on a CPU only, where
                the answer costs no wait, and of whole batches; elsewhere such a network shows in its own loss.
        """
        return self.to_draw_all([sample], [batch])[0]

    def to_draw_all(self, samples: Sequence[Sample], batches: Sequence[int]) -> list[Distribution]:
        """Returns what `to_draw` does of each of several samples, with one reading of the network as in `of_all`."""
        if len(samples) > 1 and self._mixes_examples:
            return [self.to_draw(sample, batch) for sample, batch in zip(samples, batches, strict=True)]
        found = self._for_each(samples, self._finite(self._parameters_of_all(samples)))
        if self.given:
            return found
        return [prior.expand(torch.Size((batch,))) for prior, batch in zip(found, batches, strict=True)]

    def _finite(self, parameters: Tensor) -> Tensor:
        """Returns parameters that can be drawn from; raises as `to_draw`."""
        if parameters.device.type != "cpu" or current_shard().count > 1:
            # a draw from what is not finite would end a process on a GPU; of several processes all end at one step
            return parameters.nan_to_num()
        if not math.isfinite(parameters.sum().item()) and not bool(parameters.isfinite().all()):  # a sum may overflow
            given = ", ".join(variable.name for variable in self.given)
            raise FloatingPointError(
                f"the network of {self.target.name} given {given} returns values that are not finite"
            )
        return parameters

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


class TableConditional(Conditional):
    """p(target | label) as a table of natural parameters, one row for each class of the label.

    Args:
        target: the variable.
        label: its parent, a single class.
        natural: the rows, [classes, *parameter_shape].
        learnable: whether the decoder learns them.
        tied: the rows share one number, which is learnt: they are `natural` times it (an annotator's accuracy).
    """

    gain = 8.0  # a row is learnt from few examples, and must move by nats while a network's weights move by hundredths

    def __init__(
        self, target: Variable, label: Variable, natural: Tensor, learnable: bool = False, tied: bool = False
    ) -> None:
        super().__init__(target, (label,))
        self.learnable = learnable
        self.register_buffer("pattern", natural if tied else torch.ones(()), persistent=tied)
        start = (torch.ones(()) if tied else natural) / self.gain
        if learnable:
            self.weight = nn.Parameter(start)
        else:
            self.register_buffer("weight", start)

    def parameters_of(self, sample: Sample) -> Tensor:
        label, natural = sample[self.given[0].name], self.gain * self.weight * self.get_buffer("pattern")
        if label.is_floating_point():  # one-hot with a gradient, from `semivae.game.lower_bound`
            mixed: Tensor = torch.tensordot(label, natural, dims=1)
            return mixed
        rows: Tensor = natural[label]
        return rows


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

    def features(self, sample: Sample) -> Tensor:
        """Returns the representation below the last layer, [batch, features]."""
        features: Tensor = self.net.features(*network_inputs(self.given, sample))  # type: ignore[operator]
        return features.float()

    def standalone(self) -> NetworkConditional:
        """Returns a copy that refers to no other module, for an export."""
        return copy.deepcopy(self)


def network_inputs(
    given: Iterable[Variable], sample: Mapping[str, Tensor], kept: Mapping[str, Tensor] | None = None
) -> tuple[Tensor | None, Tensor | None]:
    """Returns the given images, concatenated by channel, and all other given values as one vector; None for none.

    Args:
        given: the variables.
        sample: their values, each [batch, *shape].
        kept: by variable, [batch], 0 where a network must not see it and 1 where it may; others are seen.
    """
    images: list[Tensor] = []
    vectors: list[Tensor] = []
    for variable in given:
        value = FAMILIES[variable.family].as_input(variable, sample[variable.name])
        if kept is not None and variable.name in kept:
            value = value * kept[variable.name].view(-1, *[1] * (value.dim() - 1))
        (images if variable.is_image else vectors).append(value if variable.is_image else value.flatten(1))
    return (
        torch.cat(images, dim=1) if images else None,
        torch.cat(vectors, dim=1) if vectors else None,
    )
