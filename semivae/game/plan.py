"""The plan: which player learns which factors from which stream, and who completes the sample.

One rule (docs/method.md, section 2) gives the whole table. For a player and a stream, the *other* player draws the
unobserved variables in its own ancestral order. It may do so only if its factors contain every observed variable, and
if no variable that it draws has an observed descendant; otherwise clamping the observed value would bias the draw. The
player then scores each of its learnable factors whose variables are all known. If the other player may not draw, the
player scores only the factors whose variables the stream itself shows. A player never scores its own draws, because
the expected gradient of their log-probability is zero.

An observed variable whose only parent in the decoder is a label that the stream does not show, and that the encoder
does not know, is *evidence* of the label. The encoder draws the label y given evidence c from q(y | x, c), which is
proportional to q(y | x) p(c | y): the one draw before an observed descendant that is not biased. The encoder's own
lesson is then the likelihood of the evidence, log sum_y q(y | x) p(c | y).

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
    """A conditional as the plan sees it.

    Args:
        target: its variable.
        given: the parents.
        learnable: whether it learns.
        input: whether the target is what the encoder's inputs were computed from, which says nothing beside them.
    """

    target: str
    given: tuple[str, ...] = ()
    learnable: bool = True
    input: bool = False

    def text(self, player: PlayerName) -> str:
        return (
            f"{SYMBOL[player]}({self.target} | {', '.join(self.given)})"
            if self.given
            else f"{SYMBOL[player]}({self.target})"
        )


@dataclass(frozen=True)
class StreamGraph:
    """A stream as the plan sees it: what it shows, the label of its self-training, and the factors switched off.

    `through` names what it shows that the encoder sees by way of another observed variable, a known function of it.
    """

    name: str
    observes: tuple[str, ...]
    pseudo_label: str | None = None
    vote: bool = False
    without: frozenset[tuple[PlayerName, str]] = frozenset()
    through: frozenset[str] = frozenset()


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
        evidence: the observed variables that say something of a label, which is drawn given them; or, in a lesson of
            the encoder that draws nothing, the variables whose likelihood teaches the label.
    """

    stream: str
    learner: PlayerName
    draws: tuple[str, ...]
    scores: tuple[str, ...]
    self_training: bool = False
    vote: bool = False
    evidence: tuple[str, ...] = ()


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
        problems += _encoder_order_problems(graphs, stream)
        learners: tuple[PlayerName, ...] = ("decoder", "encoder")
        candidates = [_lesson(graphs, stream, learner) for learner in learners]
        candidates += _evidence_lessons(graphs, stream)
        if stream.pseudo_label is not None:
            label = (stream.pseudo_label,)
            known = _children(evidence_in(graphs, stream.observes), label)
            candidates.append(Lesson(stream.name, "encoder", label, label, True, stream.vote, known))
        useful = [lesson for lesson in candidates if lesson.scores]
        if not useful:
            problems.append(_nobody_learns(stream))
        lessons += useful
    problems += _untaught(graphs, lessons)
    if problems:
        raise RecipeError("this scenario cannot teach:\n" + "\n".join(f"- {problem}" for problem in problems))
    return Plan(tuple(lessons), graphs)


def _lesson(graphs: Mapping[PlayerName, tuple[Factor, ...]], stream: StreamGraph, learner: PlayerName) -> Lesson:
    other, evidence = (
        graphs[OTHER_PLAYER[learner]],
        evidence_in(graphs, stream.observes) if learner == "decoder" else (),
    )
    draws = drawable(other, stream.observes)
    seen = {name for factor in (*other, *evidence) for name in (factor.target, *factor.given)} | stream.through
    if not seen.issuperset(stream.observes):  # its draws would not depend on all that is observed
        draws = ()
    if any(_observed_after(name, other, evidence, stream.observes) for name in draws):
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
    useful = _with_ancestors(other, needed & set(draws))
    draws = tuple(name for name in draws if name in useful)
    return Lesson(stream.name, learner, draws, scores, evidence=_children(evidence, draws))


def evidence_in(graphs: Mapping[PlayerName, tuple[Factor, ...]], observed: Iterable[str]) -> tuple[Factor, ...]:
    """Returns the decoder's factors of observed variables that are evidence: c, given one variable that is inferred.

    The encoder does not know c, and the decoder draws nothing from it. Whether the stream shows the parent, too, is not
    asked here: where it does, c says nothing more.
    """
    inferred = {factor.target for factor in graphs["encoder"]}
    known = inferred | {parent for factor in graphs["encoder"] for parent in factor.given}
    parents = {parent for factor in graphs["decoder"] for parent in factor.given}
    return tuple(
        factor
        for factor in graphs["decoder"]
        if factor.target in set(observed) - known - parents
        and not factor.input
        and len(factor.given) == 1
        and factor.given[0] in inferred
    )


def _evidence_lessons(graphs: Mapping[PlayerName, tuple[Factor, ...]], stream: StreamGraph) -> list[Lesson]:
    """The encoder's lessons from evidence of labels that the stream does not show, but that its images tell."""
    evidence, observed = evidence_in(graphs, stream.observes), set(stream.observes)
    return [
        Lesson(stream.name, "encoder", (), (factor.target,), evidence=_children(evidence, (factor.target,)))
        for factor in graphs["encoder"]
        if factor.learnable
        and factor.target not in observed
        and observed.issuperset(factor.given)
        and ("encoder", factor.target) not in stream.without
        and _children(evidence, (factor.target,))
        and not _observed_after(factor.target, graphs["encoder"], evidence, stream.observes)
    ]


def _children(evidence: Iterable[Factor], labels: Iterable[str]) -> tuple[str, ...]:
    return tuple(factor.target for factor in evidence if factor.given[0] in labels)


def _observed_after(
    name: str, factors: Sequence[Factor], evidence: Sequence[Factor], observed: Iterable[str]
) -> list[str]:
    """Returns the observed descendants of a variable, evidence included, but for evidence of the variable itself."""
    after = _descendants((*factors, *evidence), name) & set(observed)
    return [other for other in observed if other in after and other not in _children(evidence, (name,))]


def drawable(factors: Iterable[Factor], known: Iterable[str]) -> tuple[str, ...]:
    """Returns the unknown variables that a player can draw, in its order: their parents are known or drawn before."""
    available, draws = set(known), []
    for factor in factors:
        if factor.target not in available and available.issuperset(factor.given):
            available.add(factor.target)
            draws.append(factor.target)
    return tuple(draws)


def _with_ancestors(factors: Sequence[Factor], names: set[str]) -> set[str]:
    family = set(names)
    for factor in reversed(factors):  # against the ancestral order, so one pass reaches all ancestors
        if factor.target in family:
            family |= set(factor.given)
    return family


def _descendants(factors: Iterable[Factor], name: str) -> set[str]:
    family = {name}
    for factor in factors:  # in ancestral order, so one pass reaches all descendants
        if family & set(factor.given):
            family.add(factor.target)
    return family - {name}


def _encoder_order_problems(graphs: Mapping[PlayerName, tuple[Factor, ...]], stream: StreamGraph) -> list[str]:
    problems = []
    evidence = evidence_in(graphs, stream.observes)
    parent_of = {factor.target: factor.given[0] for factor in evidence}
    for drawn in drawable(graphs["encoder"], stream.observes):
        later = _observed_after(drawn, graphs["encoder"], evidence, stream.observes)
        if later:
            first, shown = parent_of.get(later[0], later[0]), later[0]
            what, it = (shown, "it") if first == shown else (f"{shown}, which is evidence of {first}", first)
            problems.append(
                f"stream {stream.name} observes {what}, but the encoder draws {drawn} before {it}, so {drawn} cannot "
                f"be drawn given {shown}; in the encoder, put {first} first and add it to what {drawn} is given"
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
