"""The two ends of a flow: what of a value is moved towards noise, and how the least noisy state becomes a value again.

A value is embedded into real numbers e of about unit size. The flow leads from noise to z_0 = e + a little noise, and
a last step p(value | z_0), which needs no network, draws the value. Since any last step gives a bound (Kingma et al.
2021, "Variational diffusion models"), families differ here only: discrete values keep a probability, and real numbers
a density.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, Normal

from semivae.game.distributions import DiscretizedLogistic, VoidableCategorical
from semivae.game.families import FAMILIES
from semivae.parallel.shards import sample_rows
from semivae.variables import VOID, Variable


class Ends(ABC):
    """The ends of flows of one family. It has no state, so one object serves all variables."""

    noise: float
    """The standard deviation of the noise that is left in z_0, relative to e."""

    def exact(self, value: Tensor) -> Tensor:
        """Returns the value that is scored: of grey pixels, one of their binarisations."""
        return value

    @abstractmethod
    def embed(self, variable: Variable, value: Tensor) -> Tensor:
        """Returns the real numbers e of a value [batch, *shape], [batch, *input_shape]."""

    @abstractmethod
    def last_step(self, variable: Variable, state: Tensor) -> Distribution:
        """Returns p(value | z_0), batch shape [batch], of a state z_0 / alpha_0 = e + noise, [batch, *input_shape]."""

    @abstractmethod
    def mean(self, variable: Variable, denoised: Tensor) -> Tensor:
        """Returns the mean of the value where E[e] = `denoised`, [batch, *shape].

        Raises:
            ValueError: the family has no mean.
        """

    def known(self, variable: Variable, value: Tensor) -> Tensor | None:
        """Returns where e is known, booleans that broadcast to e; None if everywhere."""
        return None


class GaussianEnds(Ends):
    """Real numbers are their own embedding; densities are those of the number with noise of this size."""

    noise = 0.01

    def embed(self, variable: Variable, value: Tensor) -> Tensor:
        return value

    def last_step(self, variable: Variable, state: Tensor) -> Distribution:
        scale = torch.full_like(state, self.noise)
        return Independent(Normal(state, scale, validate_args=False), len(variable.shape), validate_args=False)

    def mean(self, variable: Variable, denoised: Tensor) -> Tensor:
        return denoised


class PixelEnds(Ends):
    """The 256 levels of a channel, as numbers from -1 to 1; the last step rounds z_0 to a level."""

    noise = 0.001  # an eighth of the distance of two levels

    def embed(self, variable: Variable, value: Tensor) -> Tensor:
        return 2.0 * value - 1.0

    def last_step(self, variable: Variable, state: Tensor) -> Distribution:
        scale = 0.5 * self.noise * math.sqrt(3.0) / math.pi  # a logistic variable with this deviation, in [0, 1]
        levels = DiscretizedLogistic(0.5 * state + 0.5, torch.full_like(state, scale), validate_args=False)
        return Independent(levels, len(variable.shape), validate_args=False)

    def mean(self, variable: Variable, denoised: Tensor) -> Tensor:
        return (0.5 * denoised + 0.5).clamp(0.0, 1.0)


class BitEnds(Ends):
    """Bits as -1 and +1; the last step is the posterior of two equally likely bits given z_0."""

    noise = 0.25

    def exact(self, value: Tensor) -> Tensor:
        return sample_rows(Bernoulli(probs=value, validate_args=False))

    def embed(self, variable: Variable, value: Tensor) -> Tensor:
        return 2.0 * value - 1.0

    def last_step(self, variable: Variable, state: Tensor) -> Distribution:
        bits = Bernoulli(logits=2.0 * state / self.noise**2, validate_args=False)
        return Independent(bits, len(variable.shape), validate_args=False)

    def mean(self, variable: Variable, denoised: Tensor) -> Tensor:
        return (0.5 * denoised + 0.5).clamp(0.0, 1.0)


class ClassEnds(Ends):
    """The classes of a map's places, one-hot with unit mean square; the last step is their posterior given z_0."""

    noise = 0.25

    def embed(self, variable: Variable, value: Tensor) -> Tensor:
        return FAMILIES[variable.family].as_input(variable, value)

    def last_step(self, variable: Variable, state: Tensor) -> Distribution:
        logits = math.sqrt(variable.class_count) * state.movedim(1, -1) / self.noise**2
        kind = VoidableCategorical if variable.shape else Categorical
        return Independent(kind(logits=logits, validate_args=False), len(variable.shape), validate_args=False)

    def mean(self, variable: Variable, denoised: Tensor) -> Tensor:
        raise ValueError(f"{variable.name} has classes, which have no mean")

    def known(self, variable: Variable, value: Tensor) -> Tensor | None:
        return (value != VOID).unsqueeze(1)


ENDS: dict[str, Ends] = {
    "bernoulli": BitEnds(),
    "categorical": ClassEnds(),
    "gaussian": GaussianEnds(),
    "discretized_logistic": PixelEnds(),
}
