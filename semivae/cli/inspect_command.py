"""`semivae inspect`: what data hold, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semivae.cli.options import DataRootOption, JsonOption, LabelOption, OverwriteOption, SetOption
from semivae.cli.showing import console, note, reply
from semivae.cli.writing import check_target, write_file


def inspect(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PATH_OR_RECIPE", help="A folder or .zip of images, a table, an .npz file; or a recipe."
        ),
    ],
    label: LabelOption = None,
    changes: SetOption = [],  # noqa: B006  typer copies it
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="SHEET.png", help="Draw a sheet of examples as the model would see them."),
    ] = None,
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what data hold, and all that training would refuse.

    Classes, sizes, duplicates, damaged and unused files are named; nothing is trained.
    """
    check_target(out, overwrite, ".png", ".jpg", ".jpeg")
    from semivae.inspection.inspecting import asked_for, inspect_asked

    asked = asked_for(place, changes, label, data_root)
    report = inspect_asked(asked).report
    if out is not None:
        from semivae.inspection.sheet import sheet

        picture = sheet(asked.source, asked.data_root, out.suffix.lower())
        write_file(out, picture)
        note(f"{out}: examples of each class, as the model would see them")
    reply(report.to_dict(), as_json, console(), *report.lines())
    if report.mistakes:
        raise typer.Exit(1)
