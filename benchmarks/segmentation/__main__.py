"""Compares segmentation runs with their supervised twins, in one page and one JSON file.

    semivae train recipes/faces_masks.yaml --data-root DIR --seeds 0..2
    semivae train recipes/faces_masks.yaml --data-root DIR --out runs/faces_masks_all \\
        --set split.labelled=all --set streams.masks.values=labelled
    python -m benchmarks.segmentation RUN RUN RUN --ceiling runs/faces_masks_all --data-root DIR

RUNs are of one recipe with few pairs, one per split. The ceiling, where there is one, is a run with all pairs; its twin
also segments the images that the others generate. Nothing is trained here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.common.commands import user_errors
from benchmarks.common.machine import stamp
from benchmarks.common.pages import json_path, read_content, write_page
from benchmarks.segmentation.page import page
from semivae.api import Run
from semivae.cli.options import DataRootOption, DeviceOption
from semivae.devices import choose_device
from semivae.errors import RunError
from semivae.generative.grids import save_grid
from semivae.generative.sampling import draw
from semivae.reports.painted import agreement
from semivae.runs.folder import read_metrics
from semivae.runs.palettes import run_palette
from semivae.tasks.map_pictures import coloured

FORMAT = "semivae-segmentation-2"
SCORES = ("mean_iou", "mean_iou_interval", "pixel_accuracy", "nll", "ece", "per_class")
COLUMNS = 8  # of the picture

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__, rich_markup_mode=None)


@app.command()
def segmentation(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="With few pairs, one per split, with twins.")],
    ceiling: Annotated[
        Path | None, typer.Option("--ceiling", metavar="RUN", help="The same recipe with all pairs, with its twin.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="PATH.json and PATH.md.")] = Path(
        "runs/segmentation"
    ),
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE.png", help="Masks, predicted masks, images of masks, free images."),
    ] = None,
    note: Annotated[
        str, typer.Option("--note", metavar="TEXT", help="A line for the page: what trained the runs.")
    ] = "",
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Score runs and their twins on the test images, and the images that they generate for test masks."""
    with user_errors():
        read_content(json_path(out), FORMAT)  # any other file is refused before the work
        where: Mapping[str, Any] = {"data_root": data_root, "device": device}
        external = Run.load(ceiling, "twin", **where) if ceiling else None
        content = {
            "format": FORMAT,
            "recipe": Run.load(runs[0], **where).recipe.model_dump(mode="json"),
            "runs": [score(Run.load(path, **where), external) for path in runs],
            "ceiling": score(Run.load(ceiling, **where), None) if ceiling else None,
            **stamp(choose_device(device)),
            "note": note,
        }
        write_page(out, json.dumps(content, indent=1) + "\n", page(content))
        if picture is not None:
            save_grid(rows_of(Run.load(runs[0], **where)), picture, columns=COLUMNS, overwrite=True)


def rows_of(run: Run) -> Tensor:
    """Rows of a picture, for evenly spaced test images: masks, predicted masks, images of the masks; then free samples.

    The images themselves are left out: the licence of a data set may not allow showing them.
    """
    test, palette = run.dataset().test, run_palette(run)
    chosen = torch.linspace(0, len(test[run.image]) - 1, COLUMNS).long()
    maps = test[run.label][chosen]
    predicted = torch.from_numpy(run.predict(test[run.image][chosen]))
    generated = draw(run, COLUMNS, {run.label: maps}, seed=0)[run.image]
    free = draw(run, COLUMNS, {}, seed=1)[run.image]
    shown = [torch.from_numpy(coloured(each.numpy(), palette)).permute(0, 3, 1, 2) / 255 for each in (maps, predicted)]
    rows = torch.cat([*shown, *(each.expand(-1, 3, -1, -1) for each in (generated, free))])
    return interpolate(rows, scale_factor=2, mode="nearest")


def score(run: Run, external: Run | None) -> dict[str, Any]:
    """The scores of a run and its twin, how well twins segment its generated images, bits in use, training seconds.

    Raises:
        RunError: the run is no segmentation, or has no finished twin.
    """
    report = run.evaluate()
    if report.get("twin") is None or "mean_iou" not in report["last"]:
        raise RunError(f"{run.path}: no segmentation with a finished twin; train it with --twin --resume")
    rows = read_metrics(run.path)
    last = {phase: [row for row in rows if row["phase"] == phase][-1] for phase in ("model", "twin")}
    agreements = {"own twin": report["painted"]["agreement"]}
    if external is not None:
        agreements["twin of all pairs"] = agreement(run, external, run.dataset().test[run.label])
    return {
        "pairs": len(run.split().labelled),
        "seed": run.recipe.split.seed,
        "test_images": report["count"],
        **{name: {score: report[name][score] for score in SCORES} for name in ("last", "twin")},
        "painted": agreements,
        "bits": sum(last["model"]["bits"].values()),
        "seconds": {phase: row["seconds"] for phase, row in last.items()},
    }


if __name__ == "__main__":
    app()
