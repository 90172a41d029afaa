"""The plan: which player learns which factors from which stream, and who completes the sample.

One rule (docs/method.md, section 2) gives the whole table. For a player and a stream, the *other* player draws the
unobserved variables in its own ancestral order. It may do so only if its factors contain every observed variable, and
if no variable that it draws has an observed descendant; otherwise clamping the observed value would bias the draw. The
player then scores each of its learnable factors whose variables are all known. If the other player may not draw, the
player scores only the factors whose variables the stream itself shows. A player never scores its own draws, because
the expected gradient of their log-probability is zero.

One addition (docs/method.md, sections 5 and 6): a stream with a pair of views, or with the decoder's vote, teaches the
encoder's label by self-training. The teacher is the exponential moving average (EMA) of the encoder, alone or combined
with the vote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from semivae.errors import RecipeError

PlayerName = Literal["decoder", "encoder"]
OTHER_PLAYER: dict[PlayerName, PlayerName] = {"decoder": "encoder", "encoder": "decoder"}
SYMBOL: dict[PlayerName, str] = {"decoder": "p", "encoder": "q"}


@dataclass(frozen=True)
class Factor:
    """A conditional as the plan sees it: its target, its parents, and whether it learns."""

    target: str
    given: tuple[str, ...] = ()
    learnable: bool = True

    def text(self, player: PlayerName) -> str:
        return (
            f"{SYMBOL[player]}({self.target} | {', '.join(self.given)})"
            if self.given
            else f"{SYMBOL[player]}({self.target})"
        )


@dataclass(frozen=True)
class StreamGraph:
    """A stream as the plan sees it: what it shows, the label of its self-training, and the factors switched off."""

    name: str
    observes: tuple[str, ...]
    pseudo_label: str | None = None
    vote: bool = False
    without: frozenset[tuple[PlayerName, str]] = frozenset()


@dataclass(frozen=True)
class Lesson:
    """One row of the plan.

    Args:
        stream: the stream that the batch comes from.
        learner: the player that scores and learns.
        draws: the variables that the other player draws first, in its order; empty where all are observed.
        scores: the targets of the learner's factors that are scored.
        self_training: whether the teacher is the EMA of the encoder instead of the other player.
        vote: whether the decoder's vote joins that teacher.
    """

    stream: str
    learner: PlayerName
    draws: tuple[str, ...]
    scores: tuple[str, ...]
    self_training: bool = False
    vote: bool = False


@dataclass(frozen=True)
class Plan:
    """All lessons, and the graphs that they are derived from."""

    lessons: tuple[Lesson, ...]
    graphs: Mapping[PlayerName, tuple[Factor, ...]]

    def of(self, learner: PlayerName) -> tuple[Lesson, ...]:
        """Returns the lessons of one player."""
        return tuple(lesson for lesson in self.lessons if lesson.learner == learner)


def derive_plan(decoder: Sequence[Factor], encoder: Sequence[Factor], streams: Sequence[StreamGraph]) -> Plan:
    """Derives the plan by the rule above.

    Raises:
        RecipeError: a stream teaches nobody, a learnable factor is never taught, or a draw would be biased because
            the encoder draws a variable before one that the stream observes. The message lists all such problems.
    """
    graphs: dict[PlayerName, tuple[Factor, ...]] = {"decoder": tuple(decoder), "encoder": tuple(encoder)}
    lessons: list[Lesson] = []
    problems: list[str] = []
    for stream in streams:
        problems += _encoder_order_problems(graphs["encoder"], stream)
        learners: tuple[PlayerName, ...] = ("decoder", "encoder")
        candidates = [_lesson(graphs, stream, learner) for learner in learners]
        if stream.pseudo_label is not None:
            label = (stream.pseudo_label,)
            candidates.append(Lesson(stream.name, "encoder", label, label, self_training=True, vote=stream.vote))
        useful = [lesson for lesson in candidates if lesson.scores]
        if not useful:
            problems.append(_nobody_learns(stream))
        lessons += useful
    problems += _untaught(graphs, lessons)
    if problems:
        raise RecipeError("this scenario cannot teach:\n" + "\n".join(f"- {problem}" for problem in problems))
    return Plan(tuple(lessons), graphs)


def _lesson(graphs: Mapping[PlayerName, tuple[Factor, ...]], stream: StreamGraph, learner: PlayerName) -> Lesson:
    other = graphs[OTHER_PLAYER[learner]]
    draws = drawable(other, stream.observes)
    variables = {name for factor in other for name in (factor.target, *factor.given)}
    if not variables.issuperset(stream.observes):  # its draws would not depend on all that is observed
        draws = ()
    if any(_descendants(other, name) & set(stream.observes) for name in draws):
        draws = ()
    known = {*stream.observes, *draws}
    scores = tuple(
        factor.target
        for factor in graphs[learner]
        if factor.learnable
        and known >= {factor.target, *factor.given}
        and (learner, factor.target) not in stream.without
    )
    needed = {name for factor in graphs[learner] if factor.target in scores for name in (factor.target, *factor.given)}
    return Lesson(stream.name, learner, draws if needed & set(draws) else (), scores)


def drawable(factors: Iterable[Factor], known: Iterable[str]) -> tuple[str, ...]:
    """Returns the unknown variables that a player can draw, in its order: their parents are known or drawn before."""
    available, draws = set(known), []
    for factor in factors:
        if factor.target not in available and available.issuperset(factor.given):
            available.add(factor.target)
            draws.append(factor.target)
    return tuple(draws)


def _descendants(factors: Iterable[Factor], name: str) -> set[str]:
    family = {name}
    for factor in factors:  # in ancestral order, so one pass reaches all descendants
        if family & set(factor.given):
            family.add(factor.target)
    return family - {name}


def _encoder_order_problems(encoder: Sequence[Factor], stream: StreamGraph) -> list[str]:
    problems = []
    for drawn in drawable(encoder, stream.observes):
        later = [
            factor.target for factor in encoder if factor.target in _descendants(encoder, drawn) & set(stream.observes)
        ]
        if later:
            problems.append(
                f"stream {stream.name} observes {later[0]}, but the encoder draws {drawn} before it, so {drawn} cannot "
                f"be drawn given {later[0]}; in the encoder, put {later[0]} first and add it to what {drawn} is given"
            )
    return problems


def _nobody_learns(stream: StreamGraph) -> str:
    observed = ", ".join(stream.observes) or "nothing"
    return (
        f"stream {stream.name} (observes {observed}) teaches nobody: no learnable factor has all its variables "
        f"observed or drawn by the other player; remove the stream, or let a factor depend on what it observes"
    )


def _untaught(graphs: Mapping[PlayerName, tuple[Factor, ...]], lessons: Sequence[Lesson]) -> list[str]:
    advice: dict[PlayerName, str] = {
        "decoder": "add a stream that observes the encoder's inputs (usually the images)",
        "encoder": "add a stream that observes only labels, or nothing, so that the decoder can draw the rest",
    }
    return [
        f"{player} factor {factor.text(player)} is learnable, but no stream teaches it; {advice[player]}, or make the "
        f"factor fixed"
        for player, factors in graphs.items()
        for factor in factors
        if factor.learnable
        and not any(lesson.learner == player and factor.target in lesson.scores for lesson in lessons)
    ]
