"""The plan as a table of text, for the commands that show it."""

from __future__ import annotations

from semivae.game.plan import OTHER_PLAYER, Lesson, Plan


def plan_rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Returns a row for each lesson: its stream, the learner, what is completed by whom, and the scored factors."""
    return [
        (lesson.stream, lesson.learner, _completion(lesson), _scored_factors(plan, lesson)) for lesson in plan.lessons
    ]


def _completion(lesson: Lesson) -> str:
    variables = ", ".join(lesson.draws)
    if lesson.self_training:
        teacher = "EMA and the decoder's vote label" if lesson.vote else "EMA labels"
        return f"the encoder's {teacher} {variables} on the weak view"
    return f"{OTHER_PLAYER[lesson.learner]} draws {variables}" if lesson.draws else "all observed"


def _scored_factors(plan: Plan, lesson: Lesson) -> str:
    factors = {factor.target: factor for factor in plan.graphs[lesson.learner]}
    text = ", ".join(factors[target].text(lesson.learner) for target in lesson.scores)
    return f"{text} on the strong view" if lesson.self_training else text
