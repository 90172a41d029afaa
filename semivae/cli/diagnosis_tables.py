"""What `semivae diagnose` shows: curves, codes and readers as tables, then warnings in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from semivae.cli.tables import new_table
from semivae.tasks.task import Headline
from semivae.training.progress import bits_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

CONSISTENCY = Headline("class consistency")
MOST_ROWS = 12  # of a curve; more are read in metrics.jsonl


def shown(report: Mapping[str, Any]) -> list[RenderableType]:
    """The report for people: tables, then one paragraph per warning, then what could not be measured."""
    headline = Headline(**report["headline"])
    parts: list[RenderableType] = [curve_table(report["curve"], headline)] if report["curve"] else []
    if report["bits"]:
        parts.append(bits_table(report["bits"]))
    if report["validation"]:
        parts.append(readers_table(report["validation"], f"Validation {report['nouns'][1]}", "error", headline))
    if report["samples"]:
        parts.append(readers_table(report["samples"], "Samples of the decoder", "read_as_intended", CONSISTENCY))
    parts += evidence_tables(report["evidence"])
    parts += [warning_text(warning) for warning in report["warnings"]] or ["No warnings."]
    return parts + [f"not measured: {text}" for text in report["not_measured"]]


def curve_table(rows: Sequence[Mapping[str, Any]], headline: Headline) -> Table:
    """Returns the table of validations, evenly chosen where they are many, the last one always."""
    streams, codes = ([*dict.fromkeys(name for row in rows for name in row[key])] for key in ("confident", "bits"))
    columns = [*(f"confident, {name}" for name in streams), "error if confident", *(f"{code}, bits" for code in codes)]
    table = new_table("step", f"validation {headline.name}", "twin's", "class consistency", *columns, title="Curve")
    for row in evenly(rows):
        figures = (row["validation_error"], row["twin_validation_error"])
        shown = ["-" if figure is None else headline.brief(figure) for figure in figures]
        shares = (row["read_as_intended"], *(row["confident"].get(name) for name in streams), row["confident_error"])
        bits = [bits_text(row["bits"][code]) if code in row["bits"] else "-" for code in codes]
        table.add_row(f"{row['step']:,}", *shown, *map(percent, shares), *bits)
    return table


def evenly(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns at most `MOST_ROWS` of the rows, the last among them."""
    every = -(-len(rows) // MOST_ROWS)
    return list(rows[(len(rows) - 1) % every :: every])


def bits_table(codes: Mapping[str, Mapping[str, float | None]]) -> Table:
    """Bits in use of each code, and the most that it could carry."""
    table = new_table("code", "bits in use", "at most", title="Codes")
    for name, bits in codes.items():
        most = "-" if bits["at_most"] is None else f"{bits['at_most']:.4g}"
        table.add_row(name, f"{max(bits['in_use'] or 0.0, 0.0):.2f}", most)
    return table


def readers_table(found: Mapping[str, Any], title: str, column: str, headline: Headline) -> Table:
    """A figure by each reader, with its 95% interval; `headline` says what it is, and how it is written."""
    table = new_table("read by", headline.name, "95% interval", title=f"{title}: {found['count']:,}")
    for reader, numbers in found["readers"].items():
        interval = "-" if numbers["interval"] is None else " to ".join(map(headline.text, numbers["interval"]))
        table.add_row(reader, headline.text(numbers[column]), interval)
    return table


def evidence_tables(evidence: Mapping[str, Any]) -> list[RenderableType]:
    """How often annotators are right, in one table, and what was learnt of each class of the label."""
    parts: list[RenderableType] = []
    if annotators := {name: found for name, found in evidence.items() if "accuracy" in found}:
        table = new_table("written by", "right", "95% interval", "labels", title="Annotators")
        for name, found in annotators.items():
            ends = "-" if found["interval"] is None else " to ".join(map(percent, found["interval"]))
            table.add_row(
                name, percent(found["accuracy"]), ends, "-" if found["shown"] is None else f"{found['shown']:,}"
            )
        parts.append(table)
    return parts + [probabilities_table(name, found) for name, found in evidence.items() if found["learnt"]]


def probabilities_table(name: str, found: Mapping[str, Any]) -> Table:
    """Returns p(c | y), a row for each class of the label: what is written most often, with its interval."""
    label = found["label"]
    table = new_table(label, "examples", f"{name}, most often", "95% interval", "and", title=f"p({name} | {label})")
    for number, row in enumerate(found["table"]):
        order = sorted(range(len(row)), key=lambda column: -row[column])
        first, second = order[:2]
        count = "-" if found["counts"] is None else f"{found['counts'][number]:,.1f}"
        ends = "-" if found["intervals"] is None else " to ".join(map(percent, found["intervals"][number][first]))
        columns = found["columns"]
        table.add_row(
            found["classes"][number],
            count,
            f"{columns[first]} {percent(row[first])}",
            ends,
            f"{columns[second]} {percent(row[second])}",
        )
    return table


def warning_text(warning: Mapping[str, Any]) -> str:
    """Returns one paragraph: since when, what was seen, what it means, what to do."""
    when = "" if warning["since"] is None else f" (since step {warning['since']:,})"
    if not warning["holds"]:
        when = f" (reported at step {warning['since']:,}, no longer holds)"
    return f"warning{when}: {warning['seen']}: {warning['means']}. What to do: {warning['advice']}."


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
