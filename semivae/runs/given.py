"""What a user gives for a variable of a run, as a tensor."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from semivae.errors import RunError
from semivae.runs.model import TrainedModel
from semivae.runs.palettes import run_palette
from semivae.tasks.kinds import NOTHING, task_of
from semivae.tasks.user_values import UserValue


def given_values(run: TrainedModel, name: str, value: Any, count: int) -> Tensor:
    """Returns what a user gave for a variable, (count, *shape): int64 classes or float32 numbers.

    Raises:
        RunError: an unknown variable, or a value that does not fit it.
    """
    variables = run.recipe.variables
    if name not in variables:
        raise RunError(f"{name}: unknown variable; this run has {', '.join(variables)}")
    given = UserValue(name, value, count, variables[name], tuple(run.facts.further.get(name, ())))
    if name == run.roles.label:
        fit = run.preprocessing.fit if run.preprocessing else "crop"
        given = UserValue(name, value, count, variables[name], run.classes, partial(run_palette, run), fit)
    # a code may be of a family that labels have, too; what it is given are numbers
    code = name in run.roles.codes and name not in run.facts.further
    return (NOTHING if code else task_of(name, variables[name])).parse(given)
