"""Distributions that torch lacks, with 8-bit channels or unknown values, and what is read off a distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Normal, constraints
from torch.distributions.utils import lazy_property

from semivae.variables import VOID


class DiscretizedLogistic(Distribution):
    """A logistic variable rounded to the levels 0, 1/255, ..., 1 of an 8-bit channel; the end levels hold the tails.

    Source: Kingma et al. 2016, "Improved variational inference with inverse autoregressive flow", appendix.

    Args:
        loc: location, in units where the channel runs from 0 to 1.
        scale: positive, in the same units and of the same shape.
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
        """The expectation of the logistic clipped to [0, 1]; rounding changes it by less than half a level."""
        mean: Tensor = self.scale * (F.softplus(self.loc / self.scale) - F.softplus((self.loc - 1.0) / self.scale))
        return mean

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            uniform = torch.rand(shape, device=self.loc.device).clamp(1e-6, 1.0 - 1e-6)
            value: Tensor = self.loc + self.scale * torch.logit(uniform)
            return (value / self.level).round().clamp(0.0, 255.0) * self.level

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-probability (nats) of the level at `value`: an interval of one level's width around it."""
        half, inverse = 0.5 * self.level, self.scale.reciprocal()
        distance, width = (value - self.loc) * inverse, half * inverse
        below, above = F.logsigmoid(width + distance), F.logsigmoid(width - distance)  # the upper end, not the lower
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): stable far out in both tails
        inside = below + above + torch.log(-torch.expm1(-2.0 * width))
        return torch.where(value < half, below, torch.where(value > 1.0 - half, above, inside))


def over_classes(function: Callable[..., Tensor], values: Tensor) -> Tensor:
    """Returns F.softmax or F.log_softmax of values over their last dimension, the classes.

    Of maps, on CPUs, classes are laid first: torch takes twenty times as long for a few that lie last.
    """
    if values.dim() < 3 or values.device.type != "cpu" or torch.compiler.is_compiling():
        return function(values, dim=-1)
    return function(values.movedim(-1, 1).contiguous(), dim=1).movedim(1, -1)


class VoidableCategorical(Categorical):
    """Classes, of examples or of the pixels of a segmentation map. An unknown one (`VOID`) has log_prob 0.

    Args:
        logits: [..., classes], which one operation normalises, and one gives their gradient; torch's own takes several.
    """

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = self._param = over_classes(F.log_softmax, logits)
        self._num_events = logits.shape[-1]
        Distribution.__init__(self, logits.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> VoidableCategorical:  # type: ignore[override]
        new = self._get_checked_instance(VoidableCategorical, _instance)  # type: ignore[no-untyped-call]
        expanded: VoidableCategorical = super().expand(batch_shape, new)  # type: ignore[no-untyped-call]
        return expanded

    @lazy_property
    def probs(self) -> Tensor:
        return self.logits.exp()  # they are normalised

    def log_prob(self, value: Tensor) -> Tensor:
        log_prob: Tensor = super().log_prob(value.clamp_min(0))  # type: ignore[no-untyped-call]
        return log_prob * (value != VOID)


class _QuickBitScore(torch.autograd.Function):
    """log p(value | logits) of bits of finite logits, within 1e-6 nats and float32's own rounding, for CPUs.

    log(1 + exp(l)) is max(l, 0) - log sigmoid(|l|). There torch 2.14's own takes five times as long: it computes log1p
    number by number. That keeps log-probabilities closer to 0 than 1e-7, which are 0 here; the gradient is the same.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(logits, value)
        found = logits.abs().sigmoid_().log_().sub_(logits.clamp_min(0.0))
        return found.addcmul_(logits, value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, value = ctx.saved_tensors
        of_logits, of_value = ctx.needs_input_grad
        return (
            gradient * (value - logits.sigmoid()) if of_logits else None,
            gradient * logits if of_value else None,
        )


class Bits(Bernoulli):
    """Bits. A value between 0 and 1 is scored with the mean over bits that are 1 with that probability."""

    def log_prob(self, value: Tensor) -> Tensor:
        logits = self.logits
        if logits.device.type != "cpu" or logits.dtype != torch.float32 or torch.compiler.is_compiling():
            log_prob: Tensor = super().log_prob(value)  # type: ignore[no-untyped-call]
            return log_prob
        quick: Tensor = _QuickBitScore.apply(*torch.broadcast_tensors(logits, value.to(logits)))  # type: ignore[no-untyped-call]
        return quick


class BernoulliVector(Bits):
    """Bits, of which some may be unknown. An unknown one (`VOID`) has log_prob 0 and no gradient."""

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) * (value != VOID)


class NormalNumbers(Normal):
    """Normal numbers in a unit, of which some may be unknown (NaN). Such a one has log_prob 0 and no gradient.

    Args:
        loc, scale: of each number, in the unit.
        deviation: the step of the unit's standardised scale, which broadcasts with them.
    """

    def __init__(self, loc: Tensor, scale: Tensor, deviation: Tensor, validate_args: bool | None = None) -> None:
        self.deviation = deviation
        super().__init__(loc, scale, validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> NormalNumbers:  # type: ignore[override]
        loc, scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        return NormalNumbers(loc, scale, self.deviation, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-density of each number, nats per unit."""
        known = ~value.isnan()
        filled = torch.where(known, value, self.loc.detach())  # NaN would reach the gradient even where it is masked
        log_prob: Tensor = super().log_prob(filled)  # type: ignore[no-untyped-call]
        return torch.where(known, log_prob, torch.zeros_like(log_prob))

    @property
    def certainty(self) -> Tensor:
        """The fraction of the unit's variance that is explained: 1 - (scale / deviation)^2, at least 0."""
        return (1.0 - (self.scale / self.deviation).square()).clamp_min(0.0)


# What a distribution says of single values ----------------------------------------------------------------------------


def base_of(distribution: Distribution) -> Distribution:
    """Returns the distribution of single classes, bits or numbers, given that of a variable of any shape."""
    base: Distribution = getattr(distribution, "base_dist", distribution)
    return base


def categorical_of(distribution: Distribution) -> Categorical:
    """Returns the distribution of the single classes of a categorical variable."""
    base = base_of(distribution)
    assert isinstance(base, Categorical)
    return base


def bits_of(distribution: Distribution) -> Bernoulli:
    """Returns the distribution of the single bits of a Bernoulli variable."""
    base = base_of(distribution)
    assert isinstance(base, Bernoulli)
    return base


def numbers_of(distribution: Distribution) -> NormalNumbers:
    """Returns the distribution of the single numbers of a variable that has a unit."""
    base = base_of(distribution)
    assert isinstance(base, NormalNumbers)
    return base


def most_likely(posterior: Distribution) -> tuple[Tensor, Tensor]:
    """Returns the probability of the most likely class of a categorical posterior, [batch], and that class."""
    probability, value = categorical_of(posterior).probs.max(dim=-1)
    return probability, value


def with_evidence(distribution: Distribution, evidence: Tensor) -> Categorical:
    """Returns a label's distribution times the likelihood of evidence, normalised.

    Args:
        distribution: of the label, batch shape [batch].
        evidence: log p(c | label), [batch, classes].
    """
    return Categorical(logits=categorical_of(distribution).logits + evidence, validate_args=False)
