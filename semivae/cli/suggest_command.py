"""`semivae suggest`: which unlabelled images to label next."""

from __future__ import annotations

import math
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
    from semivae.classification.suggestions import Suggestions

HEADER = ("name", "label", "probability", "uncertainty", "group")
UNKNOWN = "unknown"  # folder of copies, and row of the sheet, where the run has learnt no label


def suggest(
    run: RunArgument,
    images: ImagesArgument,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of examples to suggest.")] = 20,
    out: ListOption = None,
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
    """Choose the examples to label next.

    They are unsure and typical ones, one from each of n groups of features.
    """
    if flat and copy_to is None:
        raise typer.BadParameter("give the folder of the copies too (--copy-to FOLDER)", param_hint="--flat")
    targets = Targets(out, sheet, copy_to)
    targets.check(images, overwrite)
    opened, read = targets.read(run, images, checkpoint, device, skip_unreadable)
    from semivae.classification.suggestions import suggest as choose

    found = choose(opened, read.examples, read.names, count, seed)
    given = once_used(read)
    titles = [label or UNKNOWN for label in found.labels]
    places = targets.places(None if flat else titles, found.names, "copy all classes into one folder (--flat)")
    order = [label or UNKNOWN for label in dict.fromkeys(sorted(found.labels, key=[*opened.classes, ""].index))]
    targets.draw(opened, images, given, found.rows, titles, order, "the suggested images")
    targets.copy(images, found.names, places)
    rows = rows_of(found)
    report = {"run": str(opened.path), "count": len(rows), "examples": len(given.names), **given.report()}
    lines = [] if out is None else summary(found, len(given.names), out)
    reply_list(HEADER, rows, report, lines, targets.named(), as_json)


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
