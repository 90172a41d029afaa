"""What a turn of the game costs: the loss to descend, its terms for the display, and how much a teacher let through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

MASK_RATE = "share"  # how metrics call the fraction of a stream that was confident enough to teach


class Term(NamedTuple):
    """One term of a loss: a factor, learnt from a stream.

    Args:
        kind: "decoder" or "encoder", whose factor was scored; "views" or "information" where the average taught it.
        stream: whose batch it was.
        factor: the factor's target.
    """

    kind: str
    stream: str
    factor: str

    def __str__(self) -> str:
        return ".".join(self)


@dataclass(frozen=True)
class Losses:
    """The loss of one turn, and what it is made of.

    Args:
        total: the weighted sum that the learners descend, [], nats per sample; it carries the gradient.
        terms: negative log-probabilities, [], nats per sample, unweighted and without gradient.
        mask_rate: by stream, the fraction of its examples (or places) that were confident enough to teach, [].
    """

    total: Tensor
    terms: Mapping[Term, Tensor] = field(default_factory=dict)
    mask_rate: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def none(cls, device: torch.device) -> Losses:
        """Returns the loss of a turn in which nobody learns."""
        return cls(torch.zeros((), device=device))

    def __add__(self, other: Losses) -> Losses:
        return Losses(self.total + other.total, {**self.terms, **other.terms}, {**self.mask_rate, **other.mask_rate})

    def by_name(self) -> dict[str, Tensor]:
        """Returns terms and mask rates by the names that metrics and checkpoints have for them."""
        named = {str(term): value for term, value in self.terms.items()}
        return named | {f"{MASK_RATE}.{stream}": value for stream, value in self.mask_rate.items()}


def terms_of(named: Mapping[str, float]) -> dict[Term, float]:
    """Returns the terms among values that metrics name as `Losses.by_name` does."""
    return {Term(*name.split(".")): value for name, value in named.items() if name.count(".") == 2}


def mask_rates_of(named: Mapping[str, float]) -> dict[str, float]:
    """Returns the mask rates by stream among values that metrics name as `Losses.by_name` does."""
    prefix = f"{MASK_RATE}."
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
