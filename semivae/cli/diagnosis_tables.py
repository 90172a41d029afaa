"""What `semivae diagnose` shows: curves, codes and readers as tables, then warnings in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from semivae.cli.tables import new_table
from semivae.training.progress import bits_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

COLUMNS = {"error": "error", "read_as_intended": "class consistency"}
MOST_ROWS = 12  # of a curve; more are read in metrics.jsonl


def shown(report: Mapping[str, Any]) -> list[RenderableType]:
    """The report for people: tables, then one paragraph per warning, then what could not be measured."""
    parts: list[RenderableType] = [curve_table(report["curve"])] if report["curve"] else []
    if report["bits"]:
        parts.append(bits_table(report["bits"]))
    if report["validation"]:
        parts.append(readers_table(report["validation"], "Validation images", "error"))
    if report["samples"]:
        parts.append(readers_table(report["samples"], "Samples of the decoder", "read_as_intended"))
    parts += [warning_text(warning) for warning in report["warnings"]] or ["No warnings."]
    return parts + [f"not measured: {text}" for text in report["not_measured"]]


def curve_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Validations, evenly chosen where they are many, the last one always."""
    streams, codes = ([*dict.fromkeys(name for row in rows for name in row[key])] for key in ("confident", "bits"))
    columns = [*(f"confident, {name}" for name in streams), "error if confident", *(f"{code}, bits" for code in codes)]
    table = new_table("step", "validation error", "twin's", "class consistency", *columns, title="Curve")
    for row in evenly(rows):
        shares = (row["validation_error"], row["twin_validation_error"], row["read_as_intended"])
        confident = (*(row["confident"].get(name) for name in streams), row["confident_error"])
        bits = [bits_text(row["bits"][code]) if code in row["bits"] else "-" for code in codes]
        table.add_row(f"{row['step']:,}", *map(percent, (*shares, *confident)), *bits)
    return table


def evenly(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most `MOST_ROWS` of the rows, the last among them."""
    every = -(-len(rows) // MOST_ROWS)
    return list(rows[(len(rows) - 1) % every :: every])


def bits_table(codes: Mapping[str, Mapping[str, float | None]]) -> Table:
    """Bits in use of each code, and the most that it could carry."""
    table = new_table("code", "bits in use", "at most", title="Codes")
    for name, bits in codes.items():
        most = "-" if bits["at_most"] is None else f"{bits['at_most']:.4g}"
        table.add_row(name, f"{max(bits['in_use'] or 0.0, 0.0):.2f}", most)
    return table


def readers_table(found: Mapping[str, Any], title: str, column: str) -> Table:
    """A share by each reader, with its 95% interval."""
    table = new_table("read by", COLUMNS[column], "95% interval", title=f"{title}: {found['count']:,}")
    for reader, numbers in found["readers"].items():
        low, high = numbers["interval"]
        table.add_row(reader, f"{numbers[column]:.2%}", f"{low:.2%} to {high:.2%}")
    return table


def warning_text(warning: Mapping[str, Any]) -> str:
    """Returns one paragraph: since when, what was seen, what it means, what to do."""
    when = "" if warning["since"] is None else f" (since step {warning['since']:,})"
    if not warning["holds"]:
        when = f" (reported at step {warning['since']:,}, no longer holds)"
    return f"warning{when}: {warning['seen']}: {warning['means']}. What to do: {warning['advice']}."


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
