"""`semivae suggest`: which unlabelled images to label next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from semivae.cli.showing import console, note, reply
from semivae.cli.writing import check_target, csv_bytes, write_file
from semivae.errors import DataError, RunError

if TYPE_CHECKING:
    from semivae.api import Run
    from semivae.classification.suggestions import Suggestions
    from semivae.data.inputs.reading import Reading

PICTURES = (".png", ".jpg", ".jpeg")
HEADER = ("name", "label", "probability", "uncertainty", "group")
UNKNOWN = "unknown"  # folder of copies, and row of the sheet, where the run has learnt no label
OF_WINDOWS = '<>:"|?*\\/'  # what names of folders may not hold everywhere


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
    flat: Annotated[bool, typer.Option("--flat", help="With --copy-to: into FOLDER itself.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of the groups.")] = 0,
    skip_unreadable: SkipOption = False,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Choose the images to label next: unsure and typical ones, one from each of n groups of features."""
    check_target(out, overwrite, ".csv")
    if sheet is not None and sheet.suffix.lower() not in PICTURES:
        raise typer.BadParameter(f"{sheet} must end in {', '.join(PICTURES)}", param_hint="--sheet")
    check_target(sheet, overwrite)
    if flat and copy_to is None:
        raise typer.BadParameter("give the folder of the copies too (--copy-to FOLDER)", param_hint="--flat")
    if copy_to is not None:
        check_copies(copy_to, images)
    from semivae.classification.suggestions import suggest as choose

    opened = open_run(run, checkpoint, device)
    if sheet is not None and not shows_pictures(opened):
        raise RunError(
            f"{opened.path}: its examples of shape {list(opened.inputs.shape)} are no pictures; leave out --sheet"
        )
    given = read_given(opened, images, skip_unreadable=skip_unreadable)
    found = choose(opened, given.values, given.names, count, seed)
    places = [] if copy_to is None else targets(found, flat)
    if sheet is not None:
        write_file(sheet, picture(opened, given, found, sheet.suffix.lower()))
        note(f"{sheet}: the suggested images")
    if copy_to is not None:
        copy_files(images, found.names, copy_to, places)
        note(f"{copy_to}: copies of {count:,} files")
    show(opened, given, found, out, as_json, {"sheet": sheet, "copies": copy_to})


def show(
    run: Run, given: Reading, found: Suggestions, out: Path | None, as_json: bool, written: dict[str, Path | None]
) -> None:
    """Writes OUT.csv, or shows it; as JSON the rows too where there is no file."""
    rows = rows_of(found)
    text = csv_bytes(HEADER, [["" if cell is None else cell for cell in row] for row in rows])
    report: dict[str, Any] = {"run": str(run.path), "count": len(rows), "examples": len(given.names)}
    report |= {name: str(path) for name, path in ({"out": out} | written).items() if path is not None}
    report |= given.report()
    if out is not None:
        write_file(out, text)
        reply(report, as_json, console(), *summary(found, len(given.names), out))
    elif as_json:
        reply(report | {"images": [dict(zip(HEADER, row, strict=True)) for row in rows]}, as_json, console())
    else:
        typer.echo(text, nl=False)


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


def shows_pictures(run: Run) -> bool:
    """Whether an example is an image of one channel or three."""
    return run.inputs.are_images and run.inputs.shape[0] in (1, 3)


def picture(run: Run, given: Reading, found: Suggestions, ending: str) -> bytes:
    """The content of a picture file: rows of the suggested images as the model sees them, class by class."""
    import numpy as np

    from semivae.data.inputs.pixels import as_model_values
    from semivae.inspection.sheet import COLUMNS, drawn, encoded

    shown = run.inputs.as_shown(as_model_values(given.values[found.rows]))
    pixels = (shown * 255).round().byte().expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    rows = []
    for label in dict.fromkeys(sorted(found.labels, key=[*run.classes, ""].index)):
        members = [np.ascontiguousarray(each) for each, of in zip(pixels, found.labels, strict=True) if of == label]
        parts = [members[start : start + COLUMNS] for start in range(0, len(members), COLUMNS)]
        rows += [(label or UNKNOWN, part) for part in parts]
    return encoded(drawn(rows), ending)


def check_copies(folder: Path, images: Path) -> None:
    """Refuses a folder that holds anything, one among the images, and images that are no files."""
    if images.is_file() and images.suffix.lower() != ".zip":
        raise DataError(f"{images} is no folder or .zip of image files, so nothing can be copied; leave out --copy-to")
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: this is a file; give the name of a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise RunError(f"{folder}: exists and is not empty; choose another folder, nothing is ever copied over files")
    if folder.resolve().is_relative_to(images.resolve()):
        raise RunError(f"{folder}: lies in {images}, whose images it would double; choose a folder outside")


def targets(found: Suggestions, flat: bool) -> list[str]:
    """Where each file is copied, relative to the folder: CLASS/NAME, or NAME if flat.

    Where two files share a name, all get the number of their group in front.

    Raises:
        RunError: the name of a class can be no folder.
    """
    names = [PurePosixPath(name).name for name in found.names]
    if len({name.lower() for name in names}) < len(names):
        names = [f"{group}-{name}" for group, name in enumerate(names)]
    if flat:
        return names
    if bad := [label for label in found.labels if label and not names_a_folder(label)]:
        raise RunError(f"the class {bad[0]!r} can be no folder; copy into one folder for all classes (--flat)")
    return [f"{label or UNKNOWN}/{name}" for label, name in zip(found.labels, names, strict=True)]


def names_a_folder(label: str) -> bool:
    """Whether a class can be a folder on every system, and one that is read as a class."""
    return (
        label.isprintable()
        and label != ""
        and label == label.strip(" .")
        and not any(sign in label for sign in OF_WINDOWS)
    )


def copy_files(images: Path, names: Sequence[str], folder: Path, places: Sequence[str]) -> None:
    """Copies files of a folder or .zip, byte for byte; none is written over another.

    Raises:
        RunError: a file has gone meanwhile, or cannot be written.
    """
    from semivae.data.formats.file_trees import open_files

    with open_files(images) as files:
        for name, place in zip(names, places, strict=True):
            try:
                content = files.read(name)
            except (OSError, ValueError) as error:
                raise RunError(f"{images}: {name} cannot be copied: {error}; give the command again") from None
            if (folder / place).exists():
                raise RunError(f"{folder / place}: exists; choose another folder, nothing is ever copied over files")
            write_file(folder / place, content)
