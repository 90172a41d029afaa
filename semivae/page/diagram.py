"""The plan as small diagrams: a node for each variable, an arrow for each factor, one diagram for each lesson."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from semivae.game.graphs import Factor
from semivae.game.plan import Lesson, Plan
from semivae.scenario.plan import Roles
from semivae.scenario.plan_rows import plan_rows

RADIUS = 14.0
ACROSS, DOWN, EDGE = 62.0, 58.0, 30.0  # between nodes of a level, between levels, around all
HEAD = 6.0  # of an arrow

Place = tuple[float, float]


@dataclass(frozen=True)
class Node:
    """A variable: where, and whether it is "observed", "drawn" by the other player, "pseudo" (labelled by a teacher),
    or "absent"."""

    name: str
    x: float
    y: float
    state: str


@dataclass(frozen=True)
class Arrow:
    """A factor's arrow from a parent: the `d` of its path, the points of its head, and whether it is learnt now."""

    path: str
    head: str
    scored: bool


@dataclass(frozen=True)
class Diagram:
    """One lesson: who learns what from which stream.

    Attributes:
        stream, learner, completion, scores: in words, as `semivae show` says them.
        alt: the same in a sentence.
        width, height: of the view box.
        nodes, arrows: what is drawn.
    """

    stream: str
    learner: str
    completion: str
    scores: str
    alt: str
    width: float
    height: float
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]


def diagrams_of(plan: Plan, roles: Roles, observed: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[Diagram]:
    """A diagram for each lesson of a plan.

    Args:
        plan: who learns what.
        roles: of the variables.
        observed: by stream, the variables that it shows.
        names: of all variables, in the recipe's order.
    """
    places = places_of(plan, roles, names)
    width = max(x for x, _ in places.values()) + EDGE
    height = max(y for _, y in places.values()) + EDGE
    found = []
    for lesson, (stream, learner, completion, scores) in zip(plan.lessons, plan_rows(plan), strict=True):
        nodes = tuple(
            Node(name, x, y, _state(lesson, name, observed[lesson.stream])) for name, (x, y) in places.items()
        )
        alt = f"Stream {stream} teaches the {learner} {scores}; {completion}"
        arrows = _arrows(plan.graphs[lesson.learner], lesson, places)
        found.append(Diagram(stream, learner, completion, scores, alt, width, height, nodes, arrows))
    return found


def places_of(plan: Plan, roles: Roles, names: Sequence[str]) -> dict[str, Place]:
    """Where each variable lies: below what the decoder draws it from, the inputs lowest."""
    depth: dict[str, int] = {}
    for factor in plan.graphs["decoder"]:
        depth[factor.target] = 1 + max((depth.get(parent, 0) for parent in factor.given), default=-1)
    lowest = max([1, *depth.values()])
    for name in names:
        depth[name] = lowest if name in roles.inputs else depth.get(name, 0)
    levels = [[name for name in names if depth[name] == level] for level in range(lowest + 1)]
    widest = max(len(level) for level in levels)
    middle = EDGE + 8 + ACROSS * (widest - 1) / 2
    return {
        name: (middle + ACROSS * (place - (len(level) - 1) / 2), EDGE + 6 + DOWN * number)
        for number, level in enumerate(levels)
        for place, name in enumerate(level)
    }


def _state(lesson: Lesson, name: str, observed: Sequence[str]) -> str:
    if name in lesson.draws:
        return "pseudo" if lesson.self_training else "drawn"
    return "observed" if name in observed else "absent"


def _arrows(factors: Sequence[Factor], lesson: Lesson, places: Mapping[str, Place]) -> tuple[Arrow, ...]:
    found = []
    for factor in factors:
        scored = factor.target in lesson.scores
        if not factor.given and scored:  # a prior that learns: an arrow from nowhere
            x, y = places[factor.target]
            found.append(_arrow((x - 26, y - 26), (x, y), 0.0, scored, bare=True))
        for parent in factor.given:
            start, end = places[parent], places[factor.target]
            level = abs(start[1] - end[1]) / DOWN
            far = abs(start[0] - end[0]) / ACROSS
            bend = 16.0 if (level > 1.5 and far < 0.1) or (level < 0.5 and far > 1.5) else 0.0
            found.append(_arrow(start, end, bend, scored))
    return tuple(sorted(found, key=lambda arrow: arrow.scored))


def _arrow(start: Place, end: Place, bend: float, scored: bool, bare: bool = False) -> Arrow:
    """From the rim of one node to that of another, bent to the right by so much; `bare`: from no node."""
    length = math.dist(start, end)
    along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    aside = (-along[1], along[0])
    middle = tuple((start[axis] + end[axis]) / 2 + 2 * bend * aside[axis] for axis in (0, 1))
    first = start if bare else _towards(start, middle, RADIUS)
    tip = _towards(end, middle, RADIUS + 1)
    neck = _towards(end, middle, RADIUS + HEAD)
    back = ((tip[0] - neck[0]), (tip[1] - neck[1]))
    size = math.hypot(*back) or 1.0
    wing = (-back[1] / size * HEAD * 0.6, back[0] / size * HEAD * 0.6)
    head = (tip, (neck[0] + wing[0], neck[1] + wing[1]), (neck[0] - wing[0], neck[1] - wing[1]))
    path = f"M{_point(first)}Q{_point((middle[0], middle[1]))} {_point(neck)}"
    return Arrow(path, " ".join(_point(corner) for corner in head), scored)


def _towards(start: Place, end: Sequence[float], distance: float) -> Place:
    length = math.dist(start, end) or 1.0
    return (start[0] + (end[0] - start[0]) * distance / length, start[1] + (end[1] - start[1]) * distance / length)


def _point(place: Place) -> str:
    return f"{place[0]:.1f},{place[1]:.1f}"
