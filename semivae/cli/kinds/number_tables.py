"""Tables about numbers: how far they are off, and what their intervals hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from semivae.cli.tables import NAMES, bar_text, counted, new_table, nouns_of, validation_count
from semivae.text import percent

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def results_table(report: Mapping[str, Any]) -> Table:
    """Shows RMSE with its 95% interval, MAE, R2, NLL and 90% intervals, for each checkpoint."""
    title = f"{counted(report)}{_unit(report)}"
    table = new_table("", "RMSE", "95% interval", "MAE", "R2", "NLL", "90% intervals hold", "mean width", title=title)
    for key, name in NAMES.items():
        if scores := report.get(key):
            low, high = scores["rmse_interval"]
            found = scores.get("intervals")
            held = ("-", "-") if found is None else (f"{found['covered']:.1%}", f"{found['mean_width']:.4g}")
            numbers = (f"{scores['mae']:.4g}", f"{scores['r2']:.3f}", f"{scores['nll']:.4f}", *held)
            table.add_row(name, f"{scores['rmse']:.4g}", f"{low:.4g} to {high:.4g}", *numbers)
    return table


def _unit(report: Mapping[str, Any]) -> str:
    return f", in {report['unit']}" if report.get("unit") else ""


def reliability_table(report: Mapping[str, Any]) -> Table:
    """How many numbers intervals hold: the normal distribution's own, and those chosen on validation examples.

    A bar is what the intervals hold that were chosen on validation examples, a stroke what they promise.
    """
    table = new_table("promised", "normal", "conformal", "0% to 100%", title="Reliability of intervals: model")
    for row in report["last"]["levels"]:
        held = row.get("covered")
        bar = bar_text(held or 0.0, row["coverage"])
        conformal = "-" if held is None else f"{held:.1%}"
        table.add_row(percent(row["coverage"]), f"{row['normal']:.1%}", conformal, bar)
    return table


def entries_table(report: Mapping[str, Any]) -> Table:
    """Shows RMSE, MAE and R2 of each number of a vector, for the last checkpoint."""
    table = new_table("number", "RMSE", "MAE", "R2", title="Per number of the vector")
    for place, scores in enumerate(report["last"]["entries"]):
        table.add_row(str(place), f"{scores['rmse']:.4g}", f"{scores['mae']:.4g}", f"{scores['r2']:.3f}")
    return table


def interval_lines(report: Mapping[str, Any]) -> list[str]:
    """What the 90% intervals rest on, or why there are none."""
    found = report["last"].get("intervals")
    if found is None:
        return [f"no intervals: they need 9 or more validation {nouns_of(report)[1]} (split.validation)"]
    low, high = found["covered_interval"]
    return [
        f"intervals for a coverage of {percent(found['coverage'])} by {validation_count(report, found['count'])} hold "
        f"{found['covered']:.1%} of the numbers ({low:.1%} to {high:.1%})"
    ]


def details(report: Mapping[str, Any]) -> list[RenderableType]:
    """All tables of an evaluation but the first."""
    entries = [entries_table(report)] if "entries" in report["last"] else []
    return [*interval_lines(report), reliability_table(report), *entries]
