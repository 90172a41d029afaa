"""Conditionals that are tables: one row of parameters for each class of a label."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semivae.game.conditionals import Conditional
from semivae.variables import Sample, Variable


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
