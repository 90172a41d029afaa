"""`semivae start`: from data to the recipe that fits them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from semivae.cli.options import SetOption
from semivae.cli.showing import note, say
from semivae.cli.writing import check_target, write_file


def start(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder or .zip of images, a table, or an .npz file.")],
    destination: Annotated[
        Path | None, typer.Argument(metavar="[DEST]", help="The recipe. Default: NAME.yaml in the current folder.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="The column of a table that holds the class.")
    ] = None,
    changes: SetOption = [],  # noqa: B006  typer copies it
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the steps, to see something soon.")] = False,
) -> None:
    """Inspect data and write the recipe that fits them; never overwrite a file."""
    if others := [text for text in changes if not text.strip().startswith("source.")]:
        raise typer.BadParameter(f"{others[0]}: only keys of source are set here; edit the recipe", param_hint="--set")
    target = destination or Path(f"{path.absolute().stem}.yaml")
    if target.is_dir():
        target = target / f"{path.absolute().stem}.yaml"
    check_target(target, False, ".yaml", ".yml", hint="choose another name")
    from semivae.inspection.inspecting import asked_for, inspect_asked
    from semivae.inspection.starting import recipe_text

    asked = asked_for(path, changes, label, bare=True)
    inspected = inspect_asked(asked)
    text = recipe_text(asked, inspected, quick)
    for warning in inspected.report.warnings:
        note(warning, "warning")
    write_file(target, text.encode())
    say(f"{target}: {asked.chosen}; {text.splitlines()[0].partition(': ')[2]}")
    say(f"next: semivae train {shlex.quote(str(target))}")
