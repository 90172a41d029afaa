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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from semivae.errors import RecipeError
from semivae.game.graphs import (
    OTHER_PLAYER,
    Factor,
    Graphs,
    PlayerName,
    StreamGraph,
    drawable,
    evidence_in,
    evidence_of,
    observed_after,
    variables_of,
    with_ancestors,
)
from semivae.game.refusals import biased_draws, nobody_learns, untaught


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
    graphs: Graphs

    def of(self, learner: PlayerName) -> tuple[Lesson, ...]:
        """Returns the lessons of one player."""
        return tuple(lesson for lesson in self.lessons if lesson.learner == learner)


def derive_plan(decoder: Sequence[Factor], encoder: Sequence[Factor], streams: Sequence[StreamGraph]) -> Plan:
    """Derives the plan by the rule above.

    Raises:
        RecipeError: a stream teaches nobody, a learnable factor is never taught, or a draw would be biased because
            the encoder draws a variable before one that the stream observes. The message lists all such problems.
    """
    graphs: Graphs = {"decoder": tuple(decoder), "encoder": tuple(encoder)}
    lessons: list[Lesson] = []
    problems: list[str] = []
    for stream in streams:
        found = [lesson for lesson in _lessons(graphs, stream) if lesson.scores]
        problems += biased_draws(graphs, stream) + ([] if found else [nobody_learns(stream)])
        lessons += found
    problems += untaught(graphs, {(lesson.learner, target) for lesson in lessons for target in lesson.scores})
    if problems:
        raise RecipeError("this scenario cannot teach:\n" + "\n".join(f"- {problem}" for problem in problems))
    return Plan(tuple(lessons), graphs)


def _lessons(graphs: Graphs, stream: StreamGraph) -> Iterator[Lesson]:
    """Yields the lessons of one stream; some score nothing."""
    evidence = evidence_in(graphs, stream.observes)
    yield _completed_lesson(graphs, stream, "decoder", evidence)
    yield _completed_lesson(graphs, stream, "encoder", ())  # the decoder draws nothing from evidence
    yield from _evidence_lessons(graphs, stream, evidence)
    if stream.pseudo_label is not None:
        label = (stream.pseudo_label,)
        seen = evidence_of(label, evidence)
        yield Lesson(stream.name, "encoder", label, label, self_training=True, vote=stream.vote, evidence=seen)


def _completed_lesson(graphs: Graphs, stream: StreamGraph, learner: PlayerName, evidence: Sequence[Factor]) -> Lesson:
    """Returns what a player scores on what the stream shows, completed by the other player where that may draw."""
    own, other, observed = graphs[learner], graphs[OTHER_PLAYER[learner]], stream.observes
    draws = drawable(other, observed)
    sees_all = (variables_of((*other, *evidence)) | stream.through).issuperset(observed)
    if not sees_all or any(observed_after(name, other, evidence, observed) for name in draws):
        draws = ()  # as they would not depend on all that is observed
    known = {*observed, *draws}
    scored = [
        factor
        for factor in own
        if factor.learnable and known >= variables_of([factor]) and (learner, factor.target) not in stream.without
    ]
    useful = with_ancestors(variables_of(scored) & set(draws), other)
    draws = tuple(name for name in draws if name in useful)
    scores = tuple(factor.target for factor in scored)
    return Lesson(stream.name, learner, draws, scores, evidence=evidence_of(draws, evidence))


def _evidence_lessons(graphs: Graphs, stream: StreamGraph, evidence: Sequence[Factor]) -> Iterator[Lesson]:
    """Yields the encoder's lessons from evidence of labels that the stream does not show, but that its images tell."""
    for factor in graphs["encoder"]:
        label = (factor.target,)
        if (
            factor.learnable
            and factor.target not in stream.observes
            and set(stream.observes).issuperset(factor.given)
            and ("encoder", factor.target) not in stream.without
            and (seen := evidence_of(label, evidence))
            and not observed_after(factor.target, graphs["encoder"], evidence, stream.observes)
        ):
            yield Lesson(stream.name, "encoder", (), label, evidence=seen)
