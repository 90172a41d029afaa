"""A random variable of the model: a name, a family and a shape. A label is a variable that some streams observe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

VOID = -1  # at a place of a categorical map: not known; it adds nothing to any log-probability or score
Sample = dict[str, Tensor]
"""A batch of some variables, name to tensor [batch, *shape]. A variable that is missing is an absent key."""


@dataclass(frozen=True)
class Variable:
    """One random variable.

    Args:
        name: what streams, factors and recipes call it.
        family: a name in `semivae.game.families.FAMILIES`.
        shape: shape of one value: () for a class, (n,) for a code or a table row, (channels, height, width) for an
            image, (height, width) for a segmentation map.
        classes: number of classes of a categorical variable, else None.
        complete_with: what a player hands to the other when it completes a sample: a draw (the method), the
            distribution's mean (less noise; Bernoulli, Gaussian and logistic variables only), or its mode (categorical
            variables only: the most likely class of every place).
    """

    name: str
    family: str
    shape: tuple[int, ...]
    classes: int | None = None
    complete_with: Literal["sample", "mean", "mode"] = "sample"
