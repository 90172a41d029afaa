"""`semivae suggest`: which unlabelled images to label next."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semivae.cli.copying import check_copies, copy_files, places_in
from semivae.cli.listing import reply_list
from semivae.cli.opening import open_run, read_given
from semivae.cli.options import (
    Checkpoint,
    CheckpointOption,
    DeviceOption,
    ImagesArgument,
    JsonOption,
    OverwriteOption,
    RunArgument,
    SkipOption,
)
from semivae.cli.sheets import check_sheet, picture, pictures_of, refuse_sheet
from semivae.cli.showing import note
from semivae.cli.writing import check_target, write_file
from semivae.text import count_of

if TYPE_CHECKING:
    from semivae.api import Run
    from semivae.classification.suggestions import Suggestions
    from semivae.data.inputs.reading import Reading

HEADER = ("name", "label", "probability", "uncertainty", "group")
UNKNOWN = "unknown"  # folder of copies, and row of the sheet, where the run has learnt no label


def suggest(
    run: RunArgument,
    images: ImagesArgument,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of images to suggest.")] = 20,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.csv", help="File for the list. Default: standard output."),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="SHEET.png", help="Draw the suggested images, a row for each class."),
    ] = None,
    copy_to: Annotated[
        Path | None,
        typer.Option(
            "--copy-to", metavar="FOLDER", help="Copy the suggested files into FOLDER/CLASS/, to be sorted by hand."
        ),
    ] = None,
    flat: Annotated[bool, typer.Option("--flat", help="With --copy-to: copy into FOLDER itself.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Makes the groups repeatable.")] = 0,
    skip_unreadable: SkipOption = False,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Choose the images to label next: unsure and typical ones, one from each of n groups of features."""
    check_target(out, overwrite, ".csv")
    check_sheet(sheet, overwrite)
    if flat and copy_to is None:
        raise typer.BadParameter("give the folder of the copies too (--copy-to FOLDER)", param_hint="--flat")
    if copy_to is not None:
        check_copies(copy_to, images)
    opened = open_run(run, checkpoint, device)
    from semivae.classification.suggestions import suggest as choose

    refuse_sheet(opened, sheet, opened.canvas)
    given = read_given(opened, images, skip_unreadable=skip_unreadable)
    found = choose(opened, given.values, given.names, count, seed)
    folders = None if flat else [label or UNKNOWN for label in found.labels]
    places = [] if copy_to is None else places_in(folders, found.names, "copy all classes into one folder (--flat)")
    if sheet is not None:
        write_file(sheet, picture_of(opened, images, given, found, sheet.suffix.lower()))
        note(f"{sheet}: the suggested images")
    if copy_to is not None:
        copy_files(images, found.names, copy_to, places)
        note(f"{copy_to}: copies of {count_of(count, 'file', 'files')}")
    rows = rows_of(found)
    report = {"run": str(opened.path), "count": len(rows), "examples": len(given.names), **given.report()}
    lines = [] if out is None else summary(found, len(given.names), out)
    reply_list(HEADER, rows, report, lines, {"out": out, "sheet": sheet, "copies": copy_to}, as_json)


def rows_of(found: Suggestions) -> list[list[Any]]:
    """Cells as HEADER names them; None where the run has learnt no label."""
    numbers = [
        [None if math.isnan(value) else round(value, 6) for value in column.tolist()]
        for column in (found.probabilities, found.uncertainty)
    ]
    labels = [label or None for label in found.labels]
    return [list(row) for row in zip(found.names, labels, *numbers, range(len(labels)), strict=True)]


def summary(found: Suggestions, examples: int, out: Path) -> list[str]:
    """What was chosen, in lines."""
    lines = [f"{out}: {len(found.rows):,} of {examples:,} examples, one from each group; label the first ones first"]
    if math.isnan(found.uncertainty[0]):
        return [*lines, "this run has learnt no label, so they are typical examples by its features alone"]
    return [
        *lines,
        f"mean uncertainty {found.uncertainty.mean():.3f} nats, mean probability {found.probabilities.mean():.3f}",
    ]


def picture_of(run: Run, images: Path, given: Reading, found: Suggestions, ending: str) -> bytes:
    """The content of a picture file with the suggested images, a row for each class."""
    titles = [label or UNKNOWN for label in found.labels]
    order = [label or UNKNOWN for label in dict.fromkeys(sorted(found.labels, key=[*run.classes, ""].index))]
    return picture(run, pictures_of(run, images, given, found.rows), titles, order, ending)
