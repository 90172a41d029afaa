"""Whether data are still those that a run was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from semivae.data.dataset import Dataset
from semivae.errors import DataError
from semivae.recipe import Recipe
from semivae.runs.checkpoint import Facts
from semivae.scenario.plan import Roles
from semivae.text import join_names

if TYPE_CHECKING:
    from semivae.data.inputs.table_encoding import TableEncoding


def refuse_changed(
    found: Dataset, path: Path, recipe: Recipe, roles: Roles, facts: Facts, encoding: TableEncoding | None
) -> None:
    """Raises DataError for data of another shape, or with other classes or columns, than a run has learnt.

    Args:
        found: the data as they are now.
        path: the run's folder, for the message.
        recipe: of the run, resolved.
        roles: of its variables.
        facts: what its checkpoint says of itself, the classes among it.
        encoding: how the columns of a table became numbers; None for all other data.
    """
    shape, changed = recipe.variables[roles.image].shape, ""
    shown = tuple(found.train[roles.image].shape[1:])
    if shown != shape:
        changed = f"one {roles.image} was {list(shape or ())} and is {list(shown)}"
    elif lost := sorted(set(roles.labels) - set(found.labels)):
        changed = f"{join_names(lost)} is gone"
    elif roles.label in found.labels and found.classes != tuple(facts.classes):
        changed = f"the classes were {join_names(tuple(facts.classes))} and are {join_names(found.classes)}"
    elif found.encoding != encoding:  # a test table of its own would be encoded otherwise than what was learnt
        changed = "a column has another mean, deviation or set of categories"
    if changed:
        raise DataError(
            f"{path}: {found.name} has changed since the run was trained: {changed}; put the data back, or train again"
        )
