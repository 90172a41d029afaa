"""`semivae doubts`: which given labels are probably wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semivae.cli.copying import check_copies, copy_files, places_in
from semivae.cli.opening import open_run
from semivae.cli.options import (
    Checkpoint,
    CheckpointOption,
    DataRootOption,
    DeviceOption,
    JsonOption,
    OverwriteOption,
    RunArgument,
    share,
)
from semivae.cli.sheets import check_sheet, picture, refuse_sheet
from semivae.cli.showing import console, note, reply
from semivae.cli.writing import check_target, csv_bytes, write_file
from semivae.errors import RunError
from semivae.text import count_of

if TYPE_CHECKING:
    from rich.table import Table

    from semivae.api import Run
    from semivae.label_errors.doubts import Doubts

HEADER = ("name", "part", "label", "proposed", "doubt")
MOST_SHOWN = 30  # rows of the table; a file holds all
MEANING = (
    "doubt is the probability that a label is wrong, by models that have not learnt it; what is hard to tell apart is "
    "doubted too, so look before you change a label"
)
MEANING_OF_ANNOTATORS = (
    "part says who wrote the label; doubt is the probability that it is wrong, by the example, by all that was written "
    "of it, and by how often each annotator is right (semivae diagnose)"
)


def doubts(
    run: RunArgument,
    at_least: Annotated[
        float | None,
        typer.Option(
            "--at-least", metavar="SHARE", parser=share, help="List labels of at least this doubt. Default: 50%."
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("-n", "--count", min=1, help="List so many labels, whatever their doubt.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.csv", help="File for the list, as a table.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="SHEET.png", help="Draw the images, a row for each pair of classes."),
    ] = None,
    copy_to: Annotated[
        Path | None,
        typer.Option(
            "--copy-to", metavar="FOLDER", help="Copy the files into folders, each named 'LABEL, perhaps PROPOSED'."
        ),
    ] = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Number of parts; each is judged by the others.")] = 5,
    retrain: Annotated[
        bool,
        typer.Option("--retrain", help="Train anew for each part; for runs that have learnt their labels by heart."),
    ] = False,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps of each such training. Default: half of the run's.")
    ] = None,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find labels that are probably wrong.

    They are looked for among the labelled and the validation examples.
    """
    check_target(out, overwrite, ".csv")
    check_sheet(sheet, overwrite)
    if steps is not None and not retrain:
        raise typer.BadParameter("steps are those of a training; give --retrain too", param_hint="--steps")
    if at_least is not None and count is not None:
        raise typer.BadParameter("choose by --at-least or by --count, not by both", param_hint="--count")
    opened = open_run(run, checkpoint, device, data_root)
    from semivae.label_errors.doubts import SURELY

    refuse_sheet(opened, sheet)
    if copy_to is not None:
        check_copies(copy_to, files_of(opened))
    found = judged(opened, folds, retrain, steps, to_stderr=as_json or out is None)
    listed = found.above(at_least or SURELY) if count is None else found.first(count)
    folders = [f"{given}, perhaps {proposed}" for given, proposed in zip(listed.given, listed.proposed, strict=True)]
    places = [] if copy_to is None else places_in(folders, listed.names, "leave out --copy-to, and look at the list")
    if sheet is not None and len(listed):
        write_file(sheet, picture_of(opened, listed, sheet.suffix.lower()))
        note(f"{sheet}: the images whose labels are doubted")
    if copy_to is not None and len(listed):
        copy_files(files_of(opened), listed.names, copy_to, places)
        note(f"{copy_to}: copies of {count_of(len(listed), 'file', 'files')}")
    report: dict[str, Any] = {
        "run": str(opened.path),
        "judged": len(found),
        "not_judged": found.not_judged,
        "expected_wrong": found.expected_wrong,
        "rate": found.rate,
        "how": found.how,
        "folds": found.folds,
        "listed": len(listed),
    }
    drawn_or_copied = {"sheet": sheet, "copies": copy_to} if len(listed) else {}
    report |= {name: str(path) for name, path in ({"out": out} | drawn_or_copied).items() if path is not None}
    report["labels"] = [dict(zip(HEADER, row, strict=True)) for row in rows_of(listed)]
    if out is not None:
        write_file(out, csv_bytes(HEADER, rows_of(listed)))
    reply(report, as_json, console(), *shown(found, listed, out))


def judged(run: Run, folds: int, retrain: bool, steps: int | None, to_stderr: bool) -> Doubts:
    """The doubts of all labels, with a display of the trainings where there are any."""
    from semivae.display import ProgressDisplay

    if not retrain:
        return run.doubts(folds=folds)
    with ProgressDisplay(console(to_stderr=to_stderr)) as display:
        return run.doubts(folds=folds, retrain=True, steps=steps, progress=display)


def shown(found: Doubts, listed: Doubts, out: Path | None) -> list[str | Table]:
    """What is printed for people: how many labels are probably wrong, and the first of the list."""
    share_wrong = found.expected_wrong / max(1, len(found))
    expected = (
        f"about {found.expected_wrong:,.1f} of {count_of(len(found), 'label is', 'labels are')} expected to be wrong "
        f"({share_wrong:.1%})"
    )
    lines: list[str | Table] = [] if not len(listed) else [table_of(listed.first(MOST_SHOWN))]
    rest = len(listed) - MOST_SHOWN
    if rest > 0:
        lines.append(f"... and {rest:,} more" + ("" if out else "; --out FILE.csv lists them all"))
    lines.append(f"{expected}; {len(listed):,} listed" + (f" in {out}" if out else ""))
    if found.how == "annotators":
        return [*lines, MEANING_OF_ANNOTATORS]
    if found.not_judged:
        lines.append(
            f"{count_of(found.not_judged, 'label was', 'labels were')} not judged: each is the only one of its class"
        )
    return [*lines, MEANING]


def table_of(listed: Doubts) -> Table:
    from rich.table import Table

    table = Table(box=None)
    for name in HEADER:
        table.add_column(name, justify="right" if name == "doubt" else "left", overflow="fold")
    for *texts, doubt in rows_of(listed):
        table.add_row(*texts, f"{doubt:.1%}")
    return table


def rows_of(listed: Doubts) -> list[list[Any]]:
    """Cells as HEADER names them."""
    doubt = [round(value, 6) for value in listed.doubt.tolist()]
    columns = (listed.names, listed.parts, listed.given, listed.proposed, doubt)
    return [list(row) for row in zip(*columns, strict=True)]


def picture_of(run: Run, listed: Doubts, ending: str) -> bytes:
    """The content of a picture file, a row for each pair of given and proposed class, the most doubtful first."""
    titles = [f"{given}: {proposed}?" for given, proposed in zip(listed.given, listed.proposed, strict=True)]
    return picture(run, run.dataset().of_all(run.image)[listed.rows], titles, list(dict.fromkeys(titles)), ending)


def files_of(run: Run) -> Path:
    """The folder or .zip that the run's images lie in. Raises RunError where they lie in none."""
    from semivae.data.paths import resolve

    path = getattr(run.recipe.source, "path", None)
    if path is None:
        raise RunError(
            f"{run.path}: its examples are no files in a folder, so nothing can be copied; leave out --copy-to"
        )
    return resolve(path, run.data_root)
