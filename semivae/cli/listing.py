"""Lists of examples, the answer of commands: in a file, as text, or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from semivae.cli.showing import console, note, reply
from semivae.cli.writing import csv_bytes, write_file
from semivae.text import count_of


def reply_list(
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    report: Mapping[str, Any],
    lines: Sequence[str],
    written: Mapping[str, Path | None],
    as_json: bool,
) -> None:
    """Writes a list to its file, or shows it as text; as JSON with its rows where there is no file.

    Args:
        header: the names of the columns.
        rows: the cells; None is an empty one.
        report: what else is said as JSON.
        lines: what is said for people where the list is in a file.
        written: the files that were asked for, by what JSON calls them; "out" is that of the list.
        as_json: whether to reply as JSON.
    """
    report = {**report, **{name: str(path) for name, path in written.items() if path is not None}}
    table = csv_bytes(header, rows)  # which leaves the cell of None empty
    examples = (dict(zip(header, row, strict=True)) for row in rows)
    reply_table(table, examples, report, lines, written.get("out"), as_json)


def reply_predictions(
    table: bytes,
    columns: Mapping[str, Sequence[Any]],
    report: Mapping[str, Any],
    notes: Sequence[str],
    out: Path | None,
    as_json: bool,
) -> None:
    """Writes predictions to their file, or shows them, as `reply_table` does.

    Args:
        table: the .csv file.
        columns: what JSON says of every example, by name.
        report: what else is said as JSON, with the "count" of examples.
        notes: what people should know of them.
        out: the file, if one is asked for.
        as_json: whether to reply as JSON.
    """
    examples = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    lines = [f"{out}: {count_of(report['count'], 'example', 'examples')}", *notes]
    reply_table(table, examples, report, lines, out, as_json, notes)


def reply_table(
    table: bytes,
    examples: Iterable[Mapping[str, Any]],
    report: Mapping[str, Any],
    lines: Sequence[str],
    out: Path | None,
    as_json: bool,
    notes: Sequence[str] = (),
) -> None:
    """Writes a table to its file, or shows it as text, with notes on stderr; as JSON `examples` where there is no file.

    Args:
        table: the .csv file.
        examples: its rows for JSON.
        report: what else is said as JSON.
        lines: what is said for people where the table is in a file.
        out: the file, if one is asked for.
        as_json: whether to reply as JSON.
        notes: what is said for people where there is no file.
    """
    if out is not None:
        write_file(out, table)
        reply({**report, "out": str(out)}, as_json, console(), *lines)
    elif as_json:
        reply({**report, "images": list(examples)}, as_json, console())
    else:
        typer.echo(table, nl=False)
        for line in notes:
            note(line)
