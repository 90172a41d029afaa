"""What a family of distributions is (`semivae.game.families` lists them)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

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
