"""Readings: what the lessons of a turn ask of networks, answered with one pass of each network for all of them.

A lesson is a generator. It yields its questions, which are factors and the samples to read; it is sent the factors'
distributions; and it returns its loss. So a lesson reads from top to bottom, and yet a network that several lessons
teach runs once, on the samples of all of them. The answers are the same, because a network that norms over a batch
reads the samples of each question by themselves (`Conditional.reads_alone`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from semivae.errors import RecipeError
from semivae.game.conditionals import Conditional
from semivae.game.finite import finite
from semivae.variables import Sample

T = TypeVar("T")
Question = tuple[Conditional, Sample]
Asking = Generator[Sequence[Question], Sequence[Distribution], T]
"""Asks once, and returns something made of the answers."""


def asking_of(given: object, where: str) -> Asking[Any]:
    """Returns a lesson as it is, if it is a generator.

    Raises:
        RecipeError: a lesson of the user's own that is none, for want of a `yield`; `where` names it.
    """
    if isinstance(given, Generator):
        return given
    raise RecipeError(
        f"{where} is no generator: it yields once what it asks of networks, pairs of a factor and a sample ([] for "
        "nothing), and then returns its loss"
    )


def answered(askings: Sequence[Asking[T]]) -> list[T]:
    """Returns what the generators return, when all have asked and every factor has read all that it was asked."""
    asked = [list(next(asking)) for asking in askings]
    places: dict[Conditional, list[tuple[int, int]]] = {}
    for who, questions in enumerate(asked):
        for number, (conditional, _) in enumerate(questions):
            places.setdefault(conditional, []).append((who, number))
    answers: dict[tuple[int, int], Distribution] = {}
    for conditional, at in places.items():
        samples = [asked[who][number][1] for who, number in at]
        answers |= zip(at, distributions_of(conditional, samples), strict=True)
    return [
        _end(asking, [answers[who, number] for number in range(len(asked[who]))]) for who, asking in enumerate(askings)
    ]


def distributions_of(conditional: Conditional, samples: Sequence[Sample]) -> list[Distribution]:
    """Returns the distribution of a factor's target given each of several samples, of any sizes."""
    if len(samples) < 2 or conditional.reads_alone:  # a flow of nothing given, too, needs to know how many
        return [conditional(sample) for sample in samples]
    if not conditional.given:
        return [conditional({})] * len(samples)
    return _each(conditional, samples, _parameters_of(conditional, samples))


def distributions_to_draw(
    conditional: Conditional, samples: Sequence[Sample], batches: Sequence[int]
) -> list[Distribution]:
    """Returns what `Conditional.to_draw` does of each of several samples.

    Raises:
        FloatingPointError: as `Conditional.to_draw`.
    """
    if len(samples) < 2 or conditional.reads_alone or not conditional.given:
        return [conditional.to_draw(sample, batch) for sample, batch in zip(samples, batches, strict=True)]
    return _each(conditional, samples, finite(_parameters_of(conditional, samples), conditional.words))


def _parameters_of(conditional: Conditional, samples: Sequence[Sample]) -> Tensor:
    """Returns the parameters of a factor with parents given several samples, one after the other."""
    read = {*conditional.parents, *conditional.also_reads}
    together = {name: torch.cat([sample[name] for sample in samples]) for name in samples[0] if name in read}
    return conditional.parameters_of(together).float()  # for log-probabilities, also where networks run in bfloat16


def _each(conditional: Conditional, samples: Sequence[Sample], parameters: Tensor) -> list[Distribution]:
    parts = torch.split(parameters, [len(sample[conditional.given[0].name]) for sample in samples])
    return [conditional.distribution_of(part) for part in parts]


def _end(asking: Asking[T], answers: Sequence[Distribution]) -> T:
    try:
        asking.send(answers)
    except StopIteration as end:
        returned: T = end.value
        return returned
    raise RuntimeError("a lesson may ask once only")
