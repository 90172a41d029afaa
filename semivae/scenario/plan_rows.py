"""The plan as a table of text, for the commands that show it."""

from __future__ import annotations

from semivae.game.graphs import OTHER_PLAYER
from semivae.game.plan import Lesson, Plan


def plan_rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Returns a row for each lesson: its stream, the learner, what is completed by whom, and the scored factors."""
    return [
        (lesson.stream, lesson.learner, _completion(lesson), _scored_factors(plan, lesson)) for lesson in plan.lessons
    ]


def evidence_notes(plan: Plan) -> list[str]:
    """Returns what evidence does, a line for each label that has some; empty without evidence."""
    parents = {factor.target: factor.given[0] for factor in plan.graphs["decoder"] if factor.given}
    names = list(dict.fromkeys(name for lesson in plan.lessons for name in lesson.evidence))
    notes = []
    for label in dict.fromkeys(parents[name] for name in names):
        own = [name for name in names if parents[name] == label]
        factors = " ".join(f"p({name} | {label})" for name in own)
        notes.append(
            f"evidence of {label}: {', '.join(own)}. {label} is drawn from q({label} | x) {factors}, normalised; the "
            f"encoder learns by log sum_{label} of that. What an example does not show adds nothing."
        )
    return notes


def _completion(lesson: Lesson) -> str:
    variables, known = ", ".join(lesson.draws), ", ".join(lesson.evidence)
    if lesson.self_training:
        teacher = "EMA and the decoder's vote label" if lesson.vote else "EMA labels"
        return f"the encoder's {teacher} {variables} on the weak view" + (
            f", times p({known} | {variables})" if known else ""
        )
    if lesson.draws:
        return f"{OTHER_PLAYER[lesson.learner]} draws {variables}" + (f" given {known}" if known else "")
    return f"{known} observed, {', '.join(lesson.scores)} summed out" if known else "all observed"


def _scored_factors(plan: Plan, lesson: Lesson) -> str:
    factors = {factor.target: factor for factor in plan.graphs[lesson.learner]}
    text = ", ".join(factors[target].text(lesson.learner) for target in lesson.scores)
    if lesson.evidence and not lesson.draws:
        return f"{text} by the likelihood of {', '.join(lesson.evidence)}"
    return f"{text} on the strong view" if lesson.self_training else text
