"""`semivae strangers`: which images belong to none of the classes, in groups that may be new ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semivae.cli.chosen import Targets
from semivae.cli.listing import reply_list
from semivae.cli.opening import once_used
from semivae.cli.options import (
    Checkpoint,
    CheckpointOption,
    DeviceOption,
    ImagesArgument,
    JsonOption,
    ListOption,
    OverwriteOption,
    RunArgument,
    SkipOption,
)

if TYPE_CHECKING:
    from semivae.classification.strangers import Strangers

HEADER = ("name", "group", "probability")
SHOWN = 20  # of each group on the sheet, the likeliest ones


def strangers(
    run: RunArgument,
    images: ImagesArgument,
    groups: Annotated[
        int | None,
        typer.Option("-n", "--groups", min=1, help="Number of groups. Default: as many as seem to be there."),
    ] = None,
    out: ListOption = None,
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
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Makes the groups repeatable.")] = 0,
    skip_unreadable: SkipOption = False,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the examples that belong to none of the classes.

    They are shown in groups that may be new classes.
    """
    targets = Targets(out, sheet, copy_to)
    targets.check(images, overwrite)
    opened, read = targets.read(run, images, checkpoint, device, skip_unreadable)
    from semivae.classification.strangers import strangers as find

    found = find(opened, read.examples, read.names, groups, seed)
    given = once_used(read)
    if len(found.rows):
        first = [place for place, group in enumerate(found.groups) if (found.groups[:place] == group).sum() < SHOWN]
        titles = [title(group) for group in found.groups[first]]
        order = list(dict.fromkeys(titles))
        targets.draw(opened, images, given, found.rows[first], titles, order, "the likeliest strangers of each group")
        folders = [title(group) for group in found.groups]
        targets.copy(images, found.names, targets.places(folders, found.names, "leave out --copy-to"))
    else:
        targets = Targets(out, None, None)  # nothing is drawn or copied
    rows = rows_of(found)
    report = {"run": str(opened.path), "count": len(rows), "examples": len(given.names), **given.report()}
    report |= {"groups": found.sizes.tolist(), "expected": float(found.everyone.sum())}
    lines = [] if out is None else summary(found, len(given.names), out)
    reply_list(HEADER, rows, report, lines, targets.named(), as_json)


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
