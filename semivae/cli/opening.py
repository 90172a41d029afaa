"""Opening a run for a command, and the values given to it on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from semivae.cli.importing import kept_modules
from semivae.cli.options import Checkpoint
from semivae.cli.showing import note

if TYPE_CHECKING:
    from semivae.api import Run
    from semivae.data.inputs.pieces import Pieces
    from semivae.data.inputs.reading import Reading


def given_values(texts: Sequence[str]) -> dict[str, Any]:
    """Returns `["y=3"]` as `{"y": 3}`, values read as YAML; but 01, 1e3 and null stay texts: they may name a class."""
    from semivae.recipe.parsing import UnreadableError, parse_value
    from semivae.text import shortened

    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            values[name.strip()] = as_written(parse_value(value), value.strip())
        except UnreadableError as error:
            if not error.syntax:
                message = f"{shortened(text)!r}: {error.message}"
                raise typer.BadParameter(message, param_hint="--given") from None
            equals = ""
        if not equals or values[name.strip()] is None:
            message = f"{shortened(text)!r}: write NAME=VALUE, such as y=3"
            raise typer.BadParameter(message, param_hint="--given")
    return values


def as_written(value: Any, text: str) -> Any:
    """Returns a value, or its text where YAML reads another number or nothing in it; of a list, each entry."""
    entries = text.removeprefix("[").removesuffix("]").split(",")
    if isinstance(value, list) and len(entries) == len(value):
        return [as_written(each, entry.strip()) for each, entry in zip(value, entries, strict=True)]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    changed = value is None or (number and str(value) != text)
    return (text or None) if changed else value


def open_run(path: Path, checkpoint: Checkpoint, device: str, data_root: Path | None = None) -> Run:
    """Opens a run, with a note on stderr where its training is not finished."""
    with kept_modules():  # commands open a run first, and import afterwards what else they need
        from semivae.api import Run
    from semivae.runs.folder import being_written

    run = Run.load(path, checkpoint.value, data_root=data_root, device=device)
    if checkpoint is Checkpoint.last and not run.finished:
        where = f"step {run.facts.step:,} of {run.facts.steps:,}"
        if being_written(path):
            note(f"{path} is being trained now; this is its checkpoint at {where}")
        else:
            note(f"{path} was stopped at {where}; train --resume goes on")
    return run


def head(run: Run, **facts: Any) -> dict[str, Any]:
    """Returns the report of a command on a run: the run, its checkpoint, then the results."""
    return {"run": str(run.path), "checkpoint": run.checkpoint, **facts}


def given_examples(run: Run, given: Path, *, skip_unreadable: bool, kept: bool = False) -> Reading | Pieces:
    """Returns what a user gives to a run; many image files in pieces, which are read while others are computed on.

    Args:
        run: the run.
        given: the path.
        skip_unreadable: pass over image files that cannot be read, and name them.
        kept: whether pieces stay in memory, for whoever looks at them again.
    """
    pieces = run.pieces(given, skip_unreadable=skip_unreadable, kept=kept)
    return read_given(run, given, skip_unreadable=skip_unreadable) if pieces is None else pieces


def once_used(found: Reading | Pieces) -> Reading:
    """Returns what was read, when all of it was used; of pieces, remarks become notes now."""
    from semivae.data.inputs.pieces import Pieces

    return noted(found.reading()) if isinstance(found, Pieces) else found


def read_given(run: Run, given: Path, *, skip_unreadable: bool = False) -> Reading:
    """Returns what a user gives to a run, and notes on stderr what is left out, cut off or nearly black in it."""
    return noted(run.reading(given, skip_unreadable=skip_unreadable))


def noted(found: Reading) -> Reading:
    """Returns what was read, and notes on stderr what is left out, cut off or nearly black in it."""
    for line in found.remarks():
        note(line)
    return found
