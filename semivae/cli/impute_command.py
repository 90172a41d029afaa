"""`semivae impute`: what is missing of images and their labels, or of the rows of a table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semivae.cli.kinds import shown_as
from semivae.cli.opening import given_values, head, noted, open_run
from semivae.cli.options import (
    Checkpoint,
    CheckpointOption,
    DataRootOption,
    DeviceOption,
    ImagesArgument,
    JsonOption,
    OutFolder,
    OverwriteOption,
    RunArgument,
    SeedOption,
    SkipOption,
)
from semivae.cli.showing import console, reply
from semivae.cli.writing import check_target_folder, csv_bytes, make_folder, write_arrays, write_file
from semivae.errors import DataError
from semivae.text import count_of

if TYPE_CHECKING:
    from semivae.api import Run
    from semivae.data.inputs.reading import Reading
    from semivae.generative.imputation import Imputed


def impute(
    run: RunArgument,
    images: ImagesArgument,
    out: OutFolder,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask",
            metavar="MASK",
            help="Mask in which missing pixels are white: one for all, or a folder of one each.",
        ),
    ] = None,
    given: Annotated[
        list[str], typer.Option("--given", metavar="NAME=VALUE", help="A known variable: y=3, s=MASK.png.")
    ] = [],  # noqa: B006  typer copies it
    draws: Annotated[int, typer.Option("--draws", min=1, help="Number of completions of each example.")] = 8,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often encoder and decoder alternate.")] = 50,
    seed: SeedOption = 0,
    skip_unreadable: SkipOption = False,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Fill in missing pixels, half-drawn masks, or cells of a table."""
    values = given_values(given)
    check_target_folder(out, overwrite)

    opened = open_run(run, checkpoint, device, data_root)  # where the palette of masks lies
    asked = {"draws": draws, "rounds": rounds, "seed": seed}
    if mask is not None:
        found = noted(opened.canvas.read(images, skip_unreadable=skip_unreadable))
        by_name = all(place.is_dir() or place.suffix.lower() == ".zip" for place in (images, mask))  # arrays have none
        facts, lines = impute_images(opened, found, mask, by_name, out, values, asked, overwrite)
    elif not opened.inputs.reads_cells(images):
        raise typer.BadParameter("tell what is missing: an image, white where it is", param_hint="--mask")
    elif values:
        raise typer.BadParameter("the known labels of a table are those in its own column", param_hint="--given")
    else:
        facts, lines = impute_table(opened, images, out, asked)
    reply(head(opened, out=str(out), **asked, **facts), as_json, console(), *lines)


def impute_images(
    run: Run,
    images: Reading,
    mask: Path,
    by_name: bool,
    out: Path,
    values: dict[str, Any],
    asked: dict[str, int],
    overwrite: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Writes OUT/imputed.npz, for images OUT/imputed.png, and for maps OUT/masks/; returns a report and its lines."""
    import numpy as np
    import torch

    from semivae.generative.grids import save_grid
    from semivae.generative.imputation import impute as fill
    from semivae.generative.imputation import missing_of

    names, known = images.names, run.canvas.values(images.values)
    places = run.canvas.masks()
    found = places.read(mask)
    marks = places.values(found.values[partners(names, found.names, mask)] if by_name else found.values)
    missing = missing_of(run, marks, len(known), given=bool(values))
    result = fill(run, known, missing, values, **asked)
    make_folder(out)
    shown = shown_as(run.task.name)
    passed = {"unreadable": np.asarray(list(images.unreadable))} if images.unreadable else {}
    write_imputed(out, names, result, shown.arrays(result, run.classes) | passed)
    draws, rounds = count_of(asked["draws"], "draw", "draws"), count_of(asked["rounds"], "round", "rounds")
    lines = [f"{out}: {count_of(len(known), *run.nouns)}, {draws} each after {rounds}"]
    if run.canvas.are_images:
        holes = torch.where(missing, torch.full_like(known, 0.5), known)
        rows = torch.cat([holes[:, None], result.mean[:, None], result.spread[:, None], result.draws], dim=1)[:16]
        picture = shown.imputed(run, out, images, result, rows, values)
        save_grid(picture, out / "imputed.png", columns=rows.shape[1], overwrite=overwrite)
        lines.append("imputed.png: known part, mean, spread, then the draws")
    return {"count": len(known), "given": values, **images.report()}, lines


def partners(names: list[str], mask_names: list[str], place: Path) -> list[int]:
    """Returns for each image the row of the mask of its name, endings aside; one mask is for all.

    Raises:
        DataError: an image has no mask of its name, or two masks have one name.
    """
    from semivae.data.readers.parts import composed
    from semivae.text import join_names

    if len(mask_names) == 1:
        return [0] * len(names)
    stems, known = (
        [composed(str(PurePosixPath(name).with_suffix(""))) for name in each] for each in (names, mask_names)
    )
    advice = "give one mask for all images, or one of the same name for each"
    if twice := sorted(stem for stem, count in Counter(known).items() if count > 1):
        raise DataError(f"{place} has two masks called {join_names(twice)}; {advice}")
    rows = {stem: row for row, stem in enumerate(known)}
    if lacking := [stem for stem in stems if stem not in rows]:
        raise DataError(f"{place} has no mask for {join_names(lacking)}; {advice}")
    return [rows[stem] for stem in stems]


def impute_table(run: Run, table: Path, out: Path, asked: dict[str, int]) -> tuple[dict[str, Any], list[str]]:
    """Writes OUT/imputed.csv, the table without gaps, and OUT/imputed.npz; returns a report and its lines."""
    from semivae.generative.table_filling import fill_table

    found = fill_table(run, table, **asked)
    rows = len(next(iter(found.cells.values())))
    make_folder(out)
    write_file(out / "imputed.csv", csv_bytes(found.cells, zip(*found.cells.values(), strict=True)))
    write_imputed(
        out,
        [str(row) for row in range(rows)],
        found.imputed,
        shown_as(run.task.name).arrays(found.imputed, run.classes),
    )
    counts = ", ".join(f"{name} {count:,}" for name, count in found.filled.items())
    lines = [
        f"{out / 'imputed.csv'}: {count_of(rows, 'row', 'rows')}, filled in: {counts}",
        "imputed.npz: the draws behind it, their mean and spread, as the model has them (standardised)",
    ]
    return {"count": rows, "filled": found.filled}, lines


def write_imputed(out: Path, names: list[str], imputed: Imputed, labels: dict[str, Any]) -> None:
    """Writes OUT/imputed.npz: names, draws, mean, spread, and what is kept of the labels."""
    import numpy as np

    arrays: dict[str, Any] = {
        "names": np.asarray(names),
        "draws": imputed.draws.numpy(),
        "mean": imputed.mean.numpy(),
        "spread": imputed.spread.numpy(),
        **labels,
    }
    write_arrays(out / "imputed.npz", arrays)
