"""Grades: the probabilities of ordered classes from a location and a scale, by a cumulative link.

P(y <= k) = sigmoid((c_k - location) / scale), with thresholds c_1 < ... < c_{K-1} that are learnt once for all inputs
(McCullagh, "Regression models for ordinal data", 1980). Location and scale are what a network makes of its inputs: how
far up an example is, and how sure that is. Neighbouring grades share what is learnt, so few labels of each suffice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from semivae.game.distributions import VoidableCategorical
from semivae.game.family import Family, positive
from semivae.variables import Variable

SMALLEST_SCALE = 1e-2
SMALLEST_GAP = 1e-3  # between two thresholds
GAIN = 8.0  # thresholds must move by tenths while a network's weights move by hundredths


class OrdinalFamily(Family):
    """Ordered classes (grades), one per example. A network puts out a location and a scale (`CumulativeLink`)."""

    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        return VoidableCategorical(logits=parameters, validate_args=False)

    def linked(self, variable: Variable, net: nn.Module) -> nn.Module:
        return CumulativeLink(net, variable.class_count)

    def as_input(self, variable: Variable, value: Tensor) -> Tensor:
        """Returns for each grade whether the value reaches it, +1 or -1, [batch, classes]; 0 for the lowest."""
        if value.dim() == 2:  # one-hot with a gradient, from `semivae.game.lower_bound`
            reached = value.flip(1).cumsum(dim=1).flip(1)
        else:
            reached = (torch.arange(variable.class_count, device=value.device) <= value.unsqueeze(1)).float()
        return torch.cat([torch.zeros_like(reached[:, :1]), 2.0 * reached[:, 1:] - 1.0], dim=1)


class CumulativeLink(nn.Module):
    """A network of locations and scales, and the log-probabilities of the grades that follow from them.

    Thresholds start where a location of 0 and a scale of 1 make all grades equally likely.

    Args:
        net: puts out location and raw scale, [batch, 2].
        classes: the number of grades K, at least 2.
    """

    def __init__(self, net: nn.Module, classes: int) -> None:
        super().__init__()
        self.net = net
        shares = torch.arange(1, classes) / classes
        start = shares.logit()
        gaps = start.diff() - SMALLEST_GAP
        self.first = nn.Parameter(start[:1] / GAIN)
        self.gaps = nn.Parameter(torch.expm1(gaps).log() / GAIN)  # softplus's inverse

    def thresholds(self) -> Tensor:
        """Returns c_1 < ... < c_{K-1}, [K - 1]."""
        first, gaps = GAIN * self.first, F.softplus(GAIN * self.gaps) + SMALLEST_GAP
        return torch.cat([first, first + gaps.cumsum(dim=0)])

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        features: Tensor = self.net.features(images, vectors)  # type: ignore[operator]
        return features

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        """Returns log-probabilities of the grades, [batch, classes], in float32."""
        location, raw_scale = self.net(images, vectors).float().chunk(2, dim=1)
        scale = positive(raw_scale) + SMALLEST_SCALE
        return grade_log_probs((self.thresholds() - location) / scale)


def grade_log_probs(ends: Tensor) -> Tensor:
    """Returns log(sigmoid(e_k) - sigmoid(e_{k-1})), [batch, K], of rising ends [batch, K - 1] and two infinite ones.

    It is log sigmoid(e_k) + log sigmoid(-e_{k-1}) + log(1 - exp(e_{k-1} - e_k)), which loses no digits far out.
    """
    below, above = F.logsigmoid(ends), F.logsigmoid(-ends)
    gaps = (ends[:, 1:] - ends[:, :-1]).clamp_min(1e-6)
    between = below[:, 1:] + above[:, :-1] + torch.log(-torch.expm1(-gaps))
    return torch.cat([below[:, :1], between, above[:, -1:]], dim=1)
