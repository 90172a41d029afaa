"""The loss of one turn of the game: the value to minimise, its terms, and how many labels a teacher accepted."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

MASK_RATE = "share"  # the key of mask rates in metrics and checkpoints


class Term(NamedTuple):
    """One term of a loss: a factor, learnt from a stream.

    Args:
        kind: "decoder" or "encoder" for a scored factor; "views" or "information" for what the EMA teaches.
        stream: the stream that the batch came from.
        factor: the target of the factor.
    """

    kind: str
    stream: str
    factor: str

    def __str__(self) -> str:
        return ".".join(self)


@dataclass(frozen=True)
class Losses:
    """The loss of one turn and its parts.

    Args:
        total: the weighted sum that the learners minimise, [], nats per sample, with its gradient.
        terms: negative log-probabilities, [], nats per sample, unweighted and without gradient.
        mask_rate: by stream, the fraction of its examples (or pixels) with a confident pseudo-label, [].
    """

    total: Tensor
    terms: Mapping[Term, Tensor] = field(default_factory=dict)
    mask_rate: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def sum(cls, parts: Sequence[Losses], device: torch.device) -> Losses:
        """Returns the loss of a turn with several lessons, or with none."""
        if not parts:
            return cls(torch.zeros((), device=device))
        terms = {term: value for part in parts for term, value in part.terms.items()}
        rates = {stream: value for part in parts for stream, value in part.mask_rate.items()}
        return cls(total_of([part.total for part in parts]), terms, rates)

    def by_name(self) -> dict[str, Tensor]:
        """Returns terms and mask rates under their keys in metrics and checkpoints."""
        named = {str(term): value for term, value in self.terms.items()}
        return named | {f"{MASK_RATE}.{stream}": value for stream, value in self.mask_rate.items()}


def total_of(values: Sequence[Tensor]) -> Tensor:
    """Returns the sum of at least one value, []."""
    return functools.reduce(torch.add, values)


def terms_of(named: Mapping[str, float]) -> dict[Term, float]:
    """Returns the terms among values with the keys of `Losses.by_name`."""
    return {Term(*name.split(".")): value for name, value in named.items() if name.count(".") == 2}


def mask_rates_of(named: Mapping[str, float]) -> dict[str, float]:
    """Returns the mask rates, by stream, among values with the keys of `Losses.by_name`."""
    prefix = f"{MASK_RATE}."
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
