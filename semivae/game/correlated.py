"""Correlated numbers: a normal distribution with one covariance, whatever is given, as in a linear discriminant.

The numbers are those of one variable. Their mean is what a network makes of the parents; their covariance is learnt
once for all that may be given. Given a class alone, such a decoder is the model of the linear discriminant analysis
(Fisher 1936), and its vote is that discriminant.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from semivae.game.conditionals import NetworkConditional
from semivae.game.families import GaussianFamily
from semivae.variables import Variable


class CorrelatedNormal(Distribution):
    """A normal distribution of correlated numbers, by a factor of its precision: precision = factor^T factor.

    Args:
        loc: the mean, [*batch, *shape].
        factor: lower triangular, with a positive diagonal, [numbers, numbers]; it makes the numbers, flattened,
            independent with a deviation of 1.
        event: `shape`, how many of the last dimensions of `loc` are those of one value.
    """

    arg_constraints = {"loc": constraints.real, "factor": constraints.lower_cholesky}  # noqa: RUF012 (torch's own convention)
    support = constraints.real
    has_rsample = False

    def __init__(self, loc: Tensor, factor: Tensor, event: int = 1, validate_args: bool | None = None) -> None:
        self.loc, self.factor = loc, factor
        super().__init__(loc.shape[: loc.dim() - event], loc.shape[loc.dim() - event :], validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> CorrelatedNormal:  # type: ignore[override]
        loc = self.loc.expand(torch.Size((*batch_shape, *self.event_shape)))
        return CorrelatedNormal(loc, self.factor, len(self.event_shape), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The variance of each number, the others unknown."""
        identity = torch.eye(len(self.factor), dtype=self.factor.dtype, device=self.factor.device)
        inverse = torch.linalg.solve_triangular(self.factor, identity, upper=False)
        variance: Tensor = inverse.square().sum(dim=1)
        return variance.view(self.event_shape).expand(self.loc.shape)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device).reshape(-1, len(self.factor))
            spread: Tensor = torch.linalg.solve_triangular(self.factor, noise.T, upper=False).T
            return self.loc + spread.reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-density, nats."""
        difference = (value - self.loc).flatten(-len(self.event_shape))
        with torch.autocast(difference.device.type, enabled=False):  # votes compare what differs by little
            independent = difference @ self.factor.T
        volume = self.factor.diagonal().log().sum() - 0.5 * len(self.factor) * math.log(2.0 * math.pi)
        return volume - 0.5 * independent.square().sum(dim=-1)


class CorrelatedConditional(NetworkConditional):
    """A normal distribution whose mean a network computes, with one learnt covariance of its numbers.

    The log-density is concave in the factor of the precision, so that gradients find the covariance soon. It starts as
    that of independent numbers with a deviation of 1.

    Args:
        target: a Gaussian variable without a unit, of at least one dimension.
        given: its parents, at least one.
        net: a module of `semivae.nets`; forward(images, vectors) returns the mean, [batch, *shape].
    """

    def __init__(self, target: Variable, given: tuple[Variable, ...], net: nn.Module) -> None:
        super().__init__(target, given, net)
        numbers = math.prod(target.shape)
        self.raw_scale = nn.Parameter(torch.zeros(numbers))
        # a vector, of which no optimiser of matrices takes care
        self.below = nn.Parameter(torch.zeros(numbers * (numbers - 1) // 2))

    @property
    def factor(self) -> Tensor:
        """The factor of the precision, lower triangular, [numbers, numbers].

        The inverse of its diagonal is the deviation of each number where those before it are known.
        """
        factor = torch.diag(1.0 / GaussianFamily.scale_of(self.raw_scale))
        rows, columns = torch.tril_indices(len(factor), len(factor), -1, device=factor.device)
        return factor.index_put((rows, columns), self.below)

    def distribution_of(self, parameters: Tensor) -> Distribution:
        return CorrelatedNormal(parameters, self.factor, len(self.target.shape), validate_args=False)
