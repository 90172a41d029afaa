"""How a kind of label is shown that has no module of its own in a room of them: as the kind that it is made from."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semivae.tasks.task import Task


def module_of(package: str, kinds: Sequence[str]) -> ModuleType:
    """Returns the module of the first of some kinds that has one.

    Args:
        package: where the modules lie.
        kinds: names, the kind itself first.
    """
    return import_module(f"{package}.{next(kind for kind in kinds if find_spec(f'{package}.{kind}'))}")


def own_figures(task: Task) -> dict[str, tuple[str, str]]:
    """Returns the key, name and format of the figures that a kind has beyond those of the kinds it is made from."""
    inherited = {key for each in type(task).__mro__[1:] for key in getattr(each, "figures", ())}
    return {key: (name, form) for key, (name, _, form) in task.figures.items() if key not in inherited}
