"""Readings: what the lessons of a turn ask of networks, answered with one pass of each network for all of them.

A lesson is a generator. It yields its questions, which are factors and the samples to read; it is sent the factors'
distributions; and it returns its loss. So a lesson reads from top to bottom, and yet a network that several lessons
teach runs once, on the samples of all of them. The answers are the same, because a network that norms over a batch
reads the samples of each question by themselves (`Conditional.of_all`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from torch.distributions import Distribution

from semivae.game.conditionals import Conditional
from semivae.variables import Sample

T = TypeVar("T")
Question = tuple[Conditional, Sample]
Asking = Generator[Sequence[Question], Sequence[Distribution], T]
"""Asks once, and returns something made of the answers."""


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
        answers |= zip(at, conditional.of_all(samples), strict=True)
    return [
        _end(asking, [answers[who, number] for number in range(len(asked[who]))]) for who, asking in enumerate(askings)
    ]


def _end(asking: Asking[T], answers: Sequence[Distribution]) -> T:
    try:
        asking.send(answers)
    except StopIteration as end:
        returned: T = end.value
        return returned
    raise RuntimeError("a lesson may ask once only")
