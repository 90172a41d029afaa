"""How single classes with strangers are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from semivae.cli.kinds.class_tables import results_table
from semivae.cli.kinds.classes import SHOWN as CLASSES
from semivae.cli.tables import NAMES, new_table, nouns_of
from semivae.text import count_of

if TYPE_CHECKING:
    from rich.table import Table


def strangers_table(report: Mapping[str, Any]) -> Table:
    """Shows how well strangers are separated from examples of known classes, for each checkpoint."""
    count, total = report["last"]["strangers"], count_of(report["count"], *nouns_of(report))
    title = f"Strangers: {count:,} of {total}; errors are of the other {report['count'] - count:,}"
    table = new_table("", "AUROC", "strangers found", "known ones lost", title=title)
    for key, name in NAMES.items():
        if scores := report.get(key):
            auroc, found = scores["strangers_auroc"], scores["strangers_found"]
            cells = ("-" if auroc is None else f"{auroc:.3f}", "-" if found is None else f"{found:.1%}")
            table.add_row(name, *cells, f"{scores['known_lost']:.1%}")
    return table


SHOWN = replace(CLASSES, results=lambda report: [results_table(report), strangers_table(report)])
