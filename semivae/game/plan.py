"""The plan: who learns which factors from which stream, completed by whom.

One rule (docs/method.md, section 2) gives the whole table: for a player and a stream, the *rival* draws the unobserved
variables in its own ancestral order. It may, if its factors speak of all that is observed, and nothing that it draws
has an observed descendant among them; else clamping the observed value would bias the draw. Then the player scores
every learnable factor of its own whose variables are all known. If the rival may not draw, the player scores only
factors that the stream observes whole. A player never scores what it drew itself: the expected gradient of that is
zero.

One addition (docs/method.md, sections 5 and 6): a stream with a pair of views, or with the decoder's vote, teaches the
encoder's label directly, its own slow average being the teacher, alone or combined with the vote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from semivae.errors import RecipeError

PlayerName = Literal["decoder", "encoder"]
RIVAL: dict[PlayerName, PlayerName] = {"decoder": "encoder", "encoder": "decoder"}
SYMBOL: dict[PlayerName, str] = {"decoder": "p", "encoder": "q"}


@dataclass(frozen=True)
class Factor:
    """A conditional as the plan sees it: its target, what it is given, whether it learns."""

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
    """A stream as the plan sees it: what it observes, which label its views or its vote teach, switched-off factors."""

    name: str
    observes: tuple[str, ...]
    views_of: str | None = None
    vote: bool = False
    without: frozenset[tuple[PlayerName, str]] = frozenset()


@dataclass(frozen=True)
class Lesson:
    """One row of the plan.

    Args:
        stream: where the batch comes from.
        learner: the player that scores, and learns.
        draws: the variables that the rival completes first, in its order; empty where all is observed.
        scores: the learner's factors that are scored, by their target.
        views: whether the encoder's average is the teacher, not the rival.
        vote: whether the decoder's vote joins that teacher.
    """

    stream: str
    learner: PlayerName
    draws: tuple[str, ...]
    scores: tuple[str, ...]
    views: bool = False
    vote: bool = False


@dataclass(frozen=True)
class Plan:
    """All lessons, and the graphs that they were derived from."""

    lessons: tuple[Lesson, ...]
    graphs: Mapping[PlayerName, tuple[Factor, ...]]

    def of(self, learner: PlayerName) -> tuple[Lesson, ...]:
        return tuple(lesson for lesson in self.lessons if lesson.learner == learner)

    def table(self) -> list[tuple[str, str, str, str]]:
        """Rows (stream, who learns, who completes what, what is scored), in words."""
        return [
            (lesson.stream, lesson.learner, self._completion(lesson), self._scores(lesson)) for lesson in self.lessons
        ]

    def _completion(self, lesson: Lesson) -> str:
        if lesson.views:
            teacher = "average and the decoder's vote label" if lesson.vote else "average labels"
            return f"the encoder's {teacher} {', '.join(lesson.draws)} on the weak view"
        return f"{RIVAL[lesson.learner]} draws {', '.join(lesson.draws)}" if lesson.draws else "all observed"

    def _scores(self, lesson: Lesson) -> str:
        factors = {factor.target: factor for factor in self.graphs[lesson.learner]}
        text = ", ".join(factors[target].text(lesson.learner) for target in lesson.scores)
        return f"{text} on the strong view" if lesson.views else text


def derive_plan(decoder: Sequence[Factor], encoder: Sequence[Factor], streams: Sequence[StreamGraph]) -> Plan:
    """Derives who learns what from which stream, by the rule above.

    Raises:
        RecipeError: a stream teaches nobody, a learnable factor is never taught, or a draw would be biased because
            the encoder draws a variable before one that the stream observes. All such faults in one message.
    """
    graphs: dict[PlayerName, tuple[Factor, ...]] = {"decoder": tuple(decoder), "encoder": tuple(encoder)}
    lessons: list[Lesson] = []
    problems: list[str] = []
    for stream in streams:
        problems += _encoder_order_problems(graphs["encoder"], stream)
        learners: tuple[PlayerName, ...] = ("decoder", "encoder")
        candidates = [_lesson(graphs, stream, learner) for learner in learners]
        if stream.views_of is not None:
            view_of = stream.views_of
            candidates.append(Lesson(stream.name, "encoder", (view_of,), (view_of,), views=True, vote=stream.vote))
        taught = [lesson for lesson in candidates if lesson.scores]
        if not taught:
            problems.append(_nobody_learns(stream))
        lessons += taught
    problems += _untaught(graphs, lessons)
    if problems:
        raise RecipeError("this scenario cannot teach:\n" + "\n".join(f"- {problem}" for problem in problems))
    return Plan(tuple(lessons), graphs)


def _lesson(graphs: Mapping[PlayerName, tuple[Factor, ...]], stream: StreamGraph, learner: PlayerName) -> Lesson:
    rival = graphs[RIVAL[learner]]
    draws = drawable(rival, stream.observes)
    knows = {name for factor in rival for name in (factor.target, *factor.given)}
    if not knows.issuperset(stream.observes):  # a rival without a word for what is observed would draw regardless of it
        draws = ()
    if any(_descendants(rival, name) & set(stream.observes) for name in draws):
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
    """The unknown variables that a player can draw, in its order: those whose parents are known or drawn before."""
    have, draws = set(known), []
    for factor in factors:
        if factor.target not in have and have.issuperset(factor.given):
            have.add(factor.target)
            draws.append(factor.target)
    return tuple(draws)


def _descendants(factors: Iterable[Factor], name: str) -> set[str]:
    found = {name}
    for factor in factors:  # ancestral order: one pass reaches all
        if found & set(factor.given):
            found.add(factor.target)
    return found - {name}


def _encoder_order_problems(encoder: Sequence[Factor], stream: StreamGraph) -> list[str]:
    problems = []
    for drawn in drawable(encoder, stream.observes):
        late = [
            factor.target for factor in encoder if factor.target in _descendants(encoder, drawn) & set(stream.observes)
        ]
        if late:
            problems.append(
                f"stream {stream.name} observes {late[0]}, but the encoder draws {drawn} before it, so {drawn} could "
                f"not be drawn given {late[0]}; in the encoder put {late[0]} first and let {drawn} be given it"
            )
    return problems


def _nobody_learns(stream: StreamGraph) -> str:
    seen = ", ".join(stream.observes) or "nothing"
    return (
        f"stream {stream.name} (observes {seen}) teaches nobody: no learnable factor has all its variables observed or "
        f"drawn by the other player; remove the stream, or let a factor depend on what it observes"
    )


def _untaught(graphs: Mapping[PlayerName, tuple[Factor, ...]], lessons: Sequence[Lesson]) -> list[str]:
    advice: dict[PlayerName, str] = {
        "decoder": "add a stream that observes what the encoder starts from (usually the images)",
        "encoder": "add a stream that observes only labels, or nothing, so that the decoder can draw the rest",
    }
    return [
        f"{player} factor {factor.text(player)} learns, but no stream teaches it; {advice[player]}, or fix the factor"
        for player, factors in graphs.items()
        for factor in factors
        if factor.learnable
        and not any(lesson.learner == player and factor.target in lesson.scores for lesson in lessons)
    ]
