"""What a family of distributions is, and what families are made with (`semivae.game.families` lists them)."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from semivae.variables import Variable


class Family(ABC):
    """A family of distributions. It has no state, so one object serves all variables."""

    levels: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """What 0 and 1, black and white, become as a network's input."""

    @abstractmethod
    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        """Returns the distribution of parameters [..., *parameter_shape]: event shape `variable.shape`, batch [...]."""

    def as_input(self, variable: Variable, value: Tensor) -> Tensor:
        """Returns the value [batch, *shape] as a network's input [batch, *input_shape], at about unit variance."""
        return value

    def linked(self, variable: Variable, net: nn.Module) -> nn.Module:
        """Returns a network of parameters [batch, *parameter_shape] from one with outputs `variable.network_shape`."""
        return net


def at_levels(value: Tensor, levels: tuple[float, float]) -> Tensor:
    """Returns values of which 0 and 1 have become these levels, in one operation."""
    value = value if value.is_floating_point() else value.float()
    low, high = levels
    return torch.rsub(value, low, alpha=low - high)


def one_hot(classes: Tensor, count: int, height: float = 1.0) -> Tensor:
    """Returns classes [batch, *shape] as floats [batch, count, *shape]: one of them is `height`, the others are 0.

    `torch.nn.functional.one_hot` makes integers, after it has asked for the largest class.
    """
    zeros = torch.zeros(len(classes), count, *classes.shape[1:], device=classes.device)
    return zeros.scatter_(1, classes.unsqueeze(1), height)


def positive(raw: Tensor) -> Tensor:
    """Returns positive numbers of any numbers; 1 of zeros."""
    return F.softplus(raw + math.log(math.e - 1.0))


def unit_of(variable: Variable, like: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and deviation of numbers in a unit, [*shape], with the type and device of another tensor."""
    make = _unit_of.__wrapped__ if torch.compiler.is_compiling() else _unit_of  # a traced tensor is not to be kept
    return make(variable.mean, variable.deviation, variable.shape, like.dtype, like.device)


@functools.lru_cache(maxsize=64)
def _unit_of(
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Returns tensors that are kept, since a copy to a GPU waits."""
    with torch.inference_mode(False):  # they serve in training, too
        both = torch.tensor([mean, deviation], dtype=dtype, device=device)
    return both[0].reshape(shape), both[1].reshape(shape)
