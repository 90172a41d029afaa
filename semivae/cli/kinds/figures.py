"""Tables of the figures that a kind of label names itself (`Task.figures`), for kinds without a module of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from semivae.cli.tables import NAMES, counted, new_table
from semivae.tasks.modules import own_figures

if TYPE_CHECKING:
    from rich.table import Table

    from semivae.tasks.task import Task


def figures_table(report: Mapping[str, Any], task: Task) -> Table:
    """Shows the figures of each checkpoint, with their intervals where there are some."""
    figures = own_figures(task)
    table = new_table("", *(name for name, _ in figures.values()), title=counted(report))
    for checkpoint, name in NAMES.items():
        if scores := report.get(checkpoint):
            table.add_row(name, *(written(scores, key, form) for key, (_, form) in figures.items()))
    return table


def written(scores: Mapping[str, Any], key: str, form: str) -> str:
    """Returns a figure as tables show it, with its interval in brackets; - where it has none."""
    if scores.get(key) is None:
        return "-"
    interval = scores.get(f"{key}_interval")
    return f"{scores[key]:{form}}" + (f" ({interval[0]:{form}} to {interval[1]:{form}})" if interval else "")
