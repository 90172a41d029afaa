"""The kinds of labels, and which one a variable is. Adding a kind adds it to `KINDS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semivae.tasks.classes import CLASSES
from semivae.tasks.maps import MAPS
from semivae.tasks.nothing import NOTHING
from semivae.tasks.task import Task

if TYPE_CHECKING:
    from semivae.recipe.schema import VariableSpec

__all__ = ["CLASSES", "KINDS", "MAPS", "NOTHING", "task_named", "task_of"]

KINDS: tuple[Task, ...] = (MAPS, CLASSES, NOTHING)
"""In the order in which they are asked whether a variable fits; NOTHING fits every variable."""


def task_of(name: str, variable: VariableSpec) -> Task:
    """The kind of label that a recipe's variable is; NOTHING where it is none."""
    return next(task for task in KINDS if task.fits(name, variable))


def task_named(name: str) -> Task:
    """The kind of that name."""
    return next(task for task in KINDS if task.name == name)
