"""`semivae strangers`: which images belong to none of the classes, in groups that may be new ones."""

from __future__ import annotations

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
    from semivae.classification.strangers import Strangers
    from semivae.data.inputs.reading import Reading

HEADER = ("name", "group", "probability")
SHOWN = 20  # of each group on the sheet, the likeliest ones


def strangers(
    run: RunArgument,
    images: ImagesArgument,
    groups: Annotated[
        int | None,
        typer.Option("-n", "--groups", min=1, help="Number of groups. Default: as many as seem to be there."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.csv", help="File for the list. Default: standard output."),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="SHEET.png", help="Draw the likeliest strangers, a row for each group."),
    ] = None,
    copy_to: Annotated[
        Path | None,
        typer.Option(
            "--copy-to",
            metavar="FOLDER",
            help="Copy the strangers into FOLDER/group-1/ and so on, to be named.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of the groups.")] = 0,
    skip_unreadable: SkipOption = False,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the images that belong to none of the classes, in groups that may be new classes."""
    check_target(out, overwrite, ".csv")
    check_sheet(sheet, overwrite)
    if copy_to is not None:
        check_copies(copy_to, images)
    opened = open_run(run, checkpoint, device)
    from semivae.classification.strangers import strangers as find

    refuse_sheet(opened, sheet, opened.canvas)
    given = read_given(opened, images, skip_unreadable=skip_unreadable)
    found = find(opened, given.values, given.names, groups, seed)
    if sheet is not None and len(found.rows):
        write_file(sheet, picture_of(opened, images, given, found, sheet.suffix.lower()))
        note(f"{sheet}: the likeliest strangers of each group")
    if copy_to is not None:
        places = places_in([title(group) for group in found.groups], found.names, "leave out --copy-to")
        copy_files(images, found.names, copy_to, places)
        note(f"{copy_to}: copies of {count_of(len(found.rows), 'file', 'files')}")
    rows = rows_of(found)
    report = {"run": str(opened.path), "count": len(rows), "examples": len(given.names), **given.report()}
    report |= {"groups": found.sizes.tolist(), "expected": float(found.everyone.sum())}
    lines = [] if out is None else summary(found, len(given.names), out)
    reply_list(HEADER, rows, report, lines, {"out": out, "sheet": sheet, "copies": copy_to}, as_json)


def rows_of(found: Strangers) -> list[list[Any]]:
    """Cells as HEADER names them."""
    numbers = zip(found.names, (found.groups + 1).tolist(), found.probabilities.tolist(), strict=True)
    return [[name, group, round(probability, 6)] for name, group, probability in numbers]


def summary(found: Strangers, examples: int, out: Path) -> list[str]:
    """What was found, in lines."""
    count = len(found.rows)
    lines = [f"{out}: {count:,} of {examples:,} examples are probably of no class that the run knows"]
    if count:
        sizes = ", ".join(f"{number} of {size:,}" for number, size in enumerate(found.sizes.tolist(), start=1))
        lines.append(f"groups that may be new classes: {sizes}")
    return lines


def title(group: int) -> str:
    """What a group is called, from number 0."""
    return f"group-{group + 1}"


def picture_of(run: Run, images: Path, given: Reading, found: Strangers, ending: str) -> bytes:
    """The content of a picture file with the likeliest strangers of each group."""
    first = [place for place, group in enumerate(found.groups) if (found.groups[:place] == group).sum() < SHOWN]
    titles = [title(group) for group in found.groups[first]]
    drawn = pictures_of(run, images, given, found.rows[first])
    return picture(run, drawn, titles, list(dict.fromkeys(titles)), ending)
