"""Lists of examples, the answer of commands: in a file, as text, or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from semivae.cli.showing import console, reply
from semivae.cli.writing import csv_bytes, write_file


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
    out = written.get("out")
    report = {**report, **{name: str(path) for name, path in written.items() if path is not None}}
    text = csv_bytes(header, [["" if cell is None else cell for cell in row] for row in rows])
    if out is not None:
        write_file(out, text)
        reply(report, as_json, console(), *lines)
    elif as_json:
        reply(report | {"images": [dict(zip(header, row, strict=True)) for row in rows]}, as_json, console())
    else:
        typer.echo(text, nl=False)
