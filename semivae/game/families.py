"""Exponential (and one logistic) families: how a network's output becomes a distribution over a variable's values.

Every family says two things: the distribution that parameters stand for, and how a value looks as another network's
input; both shapes are the variable's (`semivae.variables`). Parameters of zero are the family's neutral member: fair
bits, uniform classes, the standard normal; so priors and fresh networks need no special case.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, Normal, constraints

from semivae.variables import VOID, Variable


class DiscretizedLogistic(Distribution):
    """A logistic variable, rounded to the levels 0, 1/255, ..., 1 of an 8-bit channel; the ends take the tails.

    Source: Kingma et al. 2016, "Improved variational inference with inverse autoregressive flow", appendix.

    Args:
        loc: location, in units where the channel runs from 0 to 1.
        scale: positive, same units and shape.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012 (torch's own convention)
    support = constraints.unit_interval
    has_rsample = False
    level = 1.0 / 255.0

    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)  # type: ignore[no-untyped-call]
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> DiscretizedLogistic:  # type: ignore[override]
        return DiscretizedLogistic(self.loc.expand(batch_shape), self.scale.expand(batch_shape), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Expectation of the logistic clipped to [0, 1]; rounding moves it by less than half a level."""
        mean: Tensor = self.scale * (F.softplus(self.loc / self.scale) - F.softplus((self.loc - 1.0) / self.scale))
        return mean

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            uniform = torch.rand(shape, device=self.loc.device).clamp(1e-6, 1.0 - 1e-6)
            value: Tensor = self.loc + self.scale * torch.logit(uniform)
            return (value / self.level).round().clamp(0.0, 255.0) * self.level

    def log_prob(self, value: Tensor) -> Tensor:
        """Log mass (nats) of the level around `value`: that of the interval of one level's width, centred at it."""
        above = (value + 0.5 * self.level - self.loc) / self.scale
        below = (value - 0.5 * self.level - self.loc) / self.scale
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): stable far out in both tails
        inside = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(-self.level / self.scale))
        half = 0.5 * self.level
        edge_log_prob = torch.where(value < half, F.logsigmoid(above), F.logsigmoid(-below))
        return torch.where((value < half) | (value > 1.0 - half), edge_log_prob, inside)


class CategoricalMap(Categorical):
    """Classes at the places of a map. A place whose value is `VOID` is not known: its log_prob is 0."""

    def log_prob(self, value: Tensor) -> Tensor:
        known_or_any: Tensor = super().log_prob(value.clamp_min(0))  # type: ignore[no-untyped-call]
        return known_or_any * (value != VOID)


class Family(ABC):
    """What a family name means. Families hold no state: one object serves all variables."""

    @abstractmethod
    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        """Distribution, event shape `variable.shape`, batch shape [...], from parameters [..., *parameter_shape]."""

    def as_input(self, variable: Variable, value: Tensor) -> Tensor:
        """The value [batch, *shape] as a network's input [batch, *input_shape], of about unit size per number."""
        return value


class BernoulliFamily(Family):
    """Bits. A value between 0 and 1 is the chance of a one: its log_prob is the mean over random binarisation."""

    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        return _independent(Bernoulli(logits=parameters, validate_args=False), variable)

    def as_input(self, variable: Variable, value: Tensor) -> Tensor:
        return 2.0 * value - 1.0  # docs/method.md, section 4: codes fed as -1/+1 open earlier


class CategoricalFamily(Family):
    """Classes 0 .. classes-1: one for the whole example (shape ()), or one or `VOID` at each place (height, width)."""

    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        logits = parameters.movedim(parameters.dim() - 1 - len(variable.shape), -1)
        kind = CategoricalMap if variable.shape else Categorical
        return _independent(kind(logits=logits, validate_args=False), variable)

    def as_input(self, variable: Variable, value: Tensor) -> Tensor:
        if value.dim() == len(variable.shape) + 2:  # one-hot already, with a gradient (`semivae.game.lower_bound`)
            return value.movedim(-1, 1) * math.sqrt(variable.class_count)
        known = value.long().clamp_min(0) if variable.shape else value  # a single class cannot be VOID
        one_hot = F.one_hot(known, variable.class_count).movedim(-1, 1).float()
        if variable.shape:
            one_hot = one_hot * (value != VOID).unsqueeze(1)  # nothing at all where nothing is known
        return one_hot * math.sqrt(variable.class_count)  # as much energy as that many unit inputs


class GaussianFamily(Family):
    """Real numbers with a learned mean and standard deviation each."""

    smallest_scale = 1e-3  # a density without a floor runs off to infinity on constant pixels

    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        loc, raw_scale = parameters.chunk(2, dim=parameters.dim() - len(variable.shape))
        scale = _positive(raw_scale) + self.smallest_scale
        return _independent(Normal(loc, scale, validate_args=False), variable)


class DiscretizedLogisticFamily(Family):
    """8-bit channels in [0, 1] (see `DiscretizedLogistic`)."""

    typical_scale, smallest_scale = 0.1, 1e-3

    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        raw_loc, raw_scale = parameters.chunk(2, dim=parameters.dim() - len(variable.shape))
        scale = self.typical_scale * _positive(raw_scale) + self.smallest_scale
        return _independent(DiscretizedLogistic(0.5 + 0.5 * raw_loc, scale, validate_args=False), variable)

    def as_input(self, variable: Variable, value: Tensor) -> Tensor:
        return 4.0 * value - 2.0


FAMILIES: dict[str, Family] = {
    "bernoulli": BernoulliFamily(),
    "categorical": CategoricalFamily(),
    "gaussian": GaussianFamily(),
    "discretized_logistic": DiscretizedLogisticFamily(),
}


def _independent(distribution: Distribution, variable: Variable) -> Distribution:
    if not variable.shape:
        return distribution  # a label's posterior stays a Categorical, with its probs and logits in reach
    return Independent(distribution, len(variable.shape), validate_args=False)


def _positive(raw: Tensor) -> Tensor:
    return F.softplus(raw + math.log(math.e - 1.0))  # 1 at 0


def most_likely(posterior: Distribution) -> tuple[Tensor, Tensor]:
    """The probability of the most likely class of a categorical posterior, [batch], and that class."""
    probability, value = categorical_of(posterior).probs.max(dim=-1)
    return probability, value


def categorical_of(distribution: Distribution) -> Categorical:
    base = getattr(distribution, "base_dist", distribution)
    assert isinstance(base, Categorical)
    return base
