"""Tables about attributes: mean average precision, F1 and calibration, and the same of each attribute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from semivae.cli.tables import NAMES, counted, new_table, validation_count

if TYPE_CHECKING:
    from rich.table import Table

KEY = "mean_average_precision"


def attribute_results_table(report: Mapping[str, Any]) -> Table:
    """Shows mean average precision with its 95% interval, F1 at the thresholds and calibration, for each checkpoint."""
    title = counted(report)
    columns = ("mean average precision", "95% interval", "macro F1", "micro F1", "wrong", "NLL", "ECE")
    table = new_table("", *columns, title=title)
    for key, name in NAMES.items():
        if scores := report.get(key):
            interval = scores[f"{KEY}_interval"]
            between = "-" if interval is None else f"{interval[0]:.2%} to {interval[1]:.2%}"
            fractions = (f"{scores[each]:.2%}" for each in ("macro_f1", "micro_f1", "error"))
            table.add_row(
                name, f"{scores[KEY]:.2%}", between, *fractions, f"{scores['nll']:.4f}", f"{scores['ece']:.4f}"
            )
    chosen = report["last"]["thresholds_chosen_on"]
    how = f"thresholds are chosen on {validation_count(report, chosen)}" if chosen else "all thresholds are 0.5"
    table.caption, table.caption_justify = f"F1 and wrong answers: {how}.", "left"
    return table


def attribute_table(report: Mapping[str, Any]) -> Table:
    """Shows how frequent each attribute is, and its scores, for the last checkpoint."""
    columns = ("have it", "average precision", "threshold", "F1", "NLL", "ECE")
    table = new_table("attribute", *columns, title="Per attribute")
    for name, row in report["last"]["per_attribute"].items():
        shares = ("-" if row[key] is None else f"{row[key]:.2%}" for key in ("average_precision", "f1"))
        precision, f1 = shares
        numbers = ("-" if row[key] is None else f"{row[key]:.4f}" for key in ("nll", "ece"))
        table.add_row(
            name, f"{row['positives']:,} of {row['known']:,}", precision, f"{row['threshold']:.2f}", f1, *numbers
        )
    return table
