"""The kinds of labels, and which of them a variable is. To add a kind, add its object to `KINDS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semivae.tasks.attributes import ATTRIBUTES
from semivae.tasks.classes import CLASSES
from semivae.tasks.maps import MAPS
from semivae.tasks.nothing import NOTHING
from semivae.tasks.numbers import NUMBERS
from semivae.tasks.open_classes import OPEN_CLASSES
from semivae.tasks.ordinal import ORDINAL
from semivae.tasks.task import Task

if TYPE_CHECKING:
    from semivae.recipe.schema import VariableSpec

__all__ = [
    "ATTRIBUTES",
    "CLASSES",
    "KINDS",
    "MAPS",
    "NOTHING",
    "NUMBERS",
    "OPEN_CLASSES",
    "ORDINAL",
    "kind_of_data",
    "parents_of",
    "task_named",
    "task_of",
]

KINDS: tuple[Task, ...] = (MAPS, OPEN_CLASSES, CLASSES, ORDINAL, ATTRIBUTES, NUMBERS, NOTHING)
"""The kinds in the order in which they are tried; NOTHING fits every variable."""


def task_of(name: str, variable: VariableSpec) -> Task:
    """Returns the kind of label that a recipe's variable is; NOTHING if it is not a label."""
    return next(task for task in KINDS if task.fits(name, variable))


def task_named(name: str) -> Task:
    """Returns the kind of that name."""
    return next(task for task in KINDS if task.name == name)


def kind_of_data(name: str) -> Task:
    """Returns the kind that data say a label is (`LabelInfo.kind`); NOTHING for evidence of a label, as candidates."""
    return next((task for task in KINDS if task.name == name), NOTHING)


def parents_of(name: str) -> tuple[str, ...]:
    """Returns the name of a kind, and those of the kinds that it is made from, the nearest first."""
    kinds = {type(task): task.name for task in KINDS}
    return tuple(kinds[each] for each in type(task_named(name)).__mro__ if each in kinds)
