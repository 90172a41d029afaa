"""Families of distributions: how a network's output becomes the distribution of a variable.

A family defines the distribution of given parameters, and how a value is fed to another network; both shapes are those
of the variable (`semivae.variables`). Parameters of zero are neutral (fair bits, uniform classes, the standard normal),
so priors and new networks need no special case.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from semivae.game.distributions import BernoulliVector, Bits, DiscretizedLogistic, NormalNumbers, VoidableCategorical
from semivae.game.family import Family as Family
from semivae.game.family import at_levels, one_hot, positive, unit_of
from semivae.game.ordinal import OrdinalFamily
from semivae.variables import VOID, Variable


class BernoulliFamily(Family):
    """Bits. A value between 0 and 1 is the probability of a one; its log_prob is the mean over random binarisation.

    In a vector, `VOID` stands for an unknown bit.
    """

    levels = (-1.0, 1.0)  # with such inputs, codes are used earlier than with 0 and 1 (docs/method.md, section 4)

    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        kind = BernoulliVector if variable.is_bit_vector else Bits
        return _independent(kind(logits=parameters, validate_args=False), variable)

    def as_input(self, variable: Variable, value: Tensor) -> Tensor:
        signs = at_levels(value, self.levels)
        if not variable.is_bit_vector:
            return signs
        return F.threshold(signs, 2.0 * VOID, 0.0)  # 0, between both, where it is unknown: no other is as low


class CategoricalFamily(Family):
    """Classes 0 to classes - 1, or `VOID`: one per example (shape ()), or one per pixel (shape (height, width))."""

    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        logits = parameters.movedim(parameters.dim() - 1 - len(variable.shape), -1)
        return _independent(VoidableCategorical(logits=logits, validate_args=False), variable)

    def as_input(self, variable: Variable, value: Tensor) -> Tensor:
        if value.dim() == len(variable.shape) + 2:  # one-hot with a gradient, from `semivae.game.lower_bound`
            return value.movedim(-1, 1) * math.sqrt(variable.class_count)
        known = value.long().clamp_min(0) if variable.shape else value  # a single class cannot be VOID
        chosen = one_hot(known, variable.class_count, math.sqrt(variable.class_count))  # the mean square is 1
        return chosen * (value != VOID).unsqueeze(1) if variable.shape else chosen  # zeros where the class is unknown


class GaussianFamily(Family):
    """Real numbers, each with a learned mean and standard deviation.

    Of numbers in a unit, parameters of zero are the unit's own mean and deviation, and NaN stands for an unknown one.
    """

    smallest_scale = 1e-3  # on constant pixels the density would otherwise grow without bound

    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        loc, scale = self.loc_and_scale(variable, parameters)
        if not variable.deviation:
            return _independent(Normal(loc, scale, validate_args=False), variable)
        return _independent(NormalNumbers(loc, scale, unit_of(variable, parameters)[1], validate_args=False), variable)

    @classmethod
    def scale_of(cls, raw: Tensor) -> Tensor:
        """Returns standard deviations of any numbers; about 1 of zeros."""
        return positive(raw) + cls.smallest_scale

    def loc_and_scale(self, variable: Variable, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Returns means and standard deviations in the variable's unit, [..., *shape], of parameters."""
        loc, raw_scale = parameters.chunk(2, dim=parameters.dim() - len(variable.shape or (1,)))
        scale = self.scale_of(raw_scale)
        if not variable.shape:
            loc, scale = loc.squeeze(-1), scale.squeeze(-1)
        if not variable.deviation:
            return loc, scale
        mean, deviation = unit_of(variable, parameters)
        return mean + deviation * loc, deviation * scale

    def as_input(self, variable: Variable, value: Tensor) -> Tensor:
        if variable.deviation:
            mean, deviation = unit_of(variable, value)
            value = ((value - mean) / deviation).nan_to_num(nan=0.0)  # an unknown number is fed as the mean
        return value if variable.shape else value.unsqueeze(-1)


class DiscretizedLogisticFamily(Family):
    """8-bit channels in [0, 1] (see `DiscretizedLogistic`)."""

    levels = (-2.0, 2.0)
    typical_scale, smallest_scale = 0.1, 1e-3

    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        raw_loc, raw_scale = parameters.chunk(2, dim=parameters.dim() - len(variable.shape))
        scale = at_levels(positive(raw_scale), (self.smallest_scale, self.smallest_scale + self.typical_scale))
        return _independent(DiscretizedLogistic(at_levels(raw_loc, (0.5, 1.0)), scale, validate_args=False), variable)

    def as_input(self, variable: Variable, value: Tensor) -> Tensor:
        return at_levels(value, self.levels)


FAMILIES: dict[str, Family] = {
    "bernoulli": BernoulliFamily(),
    "categorical": CategoricalFamily(),
    "ordinal": OrdinalFamily(),
    "gaussian": GaussianFamily(),
    "discretized_logistic": DiscretizedLogisticFamily(),
}


def _independent(distribution: Distribution, variable: Variable) -> Distribution:
    if not variable.shape:
        return distribution  # the posterior of a label stays a Categorical with its probs and logits
    return Independent(distribution, len(variable.shape), validate_args=False)
