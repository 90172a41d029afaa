"""Segmentation runs beside their supervised twins, to one page and one JSON file.

    semivae train recipes/faces_masks.yaml --data-root DIR --seeds 0..2
    semivae train recipes/faces_masks.yaml --data-root DIR --out runs/faces_masks_all \\
        --set split.labelled=all --set streams.masks.values=labelled
    python benchmarks/segmentation.py RUN RUN RUN --ceiling runs/faces_masks_all --data-root DIR

The runs of one recipe with few pairs, one a split, and where there is one the ceiling, a run with all pairs, whose twin
also reads what the others paint. Nothing is trained here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.accuracy import user_errors
from benchmarks.cells import write_text
from benchmarks.hierarchies_tables import table
from benchmarks.machine import machine, machine_text, versions
from benchmarks.tables import read_content, versions_text
from semivae.api import Run
from semivae.cli.options import DataRootOption, DeviceOption
from semivae.cli.progress import clock
from semivae.devices import choose_device
from semivae.errors import RunError
from semivae.generative.grids import save_grid
from semivae.generative.sampling import draw
from semivae.reports.painted import agreement
from semivae.runs.folder import read_metrics
from semivae.runs.model import run_palette
from semivae.tasks.map_pictures import coloured

FORMAT = "semivae-segmentation-2"
SCORES = ("mean_iou", "mean_iou_interval", "pixel_accuracy", "nll", "ece", "per_class")
COLUMNS = 8  # of the picture
Content = Mapping[str, Any]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__, rich_markup_mode=None)


@app.command()
def segmentation(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="With few pairs, one a split, with twins.")],
    ceiling: Annotated[
        Path | None, typer.Option("--ceiling", metavar="RUN", help="The same recipe with all pairs, with its twin.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="PATH.json and PATH.md.")] = Path(
        "runs/segmentation"
    ),
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE.png", help="Masks, predicted masks, painted and free images."),
    ] = None,
    note: Annotated[
        str, typer.Option("--note", metavar="TEXT", help="A line for the page: what trained the runs.")
    ] = "",
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Score runs and their twins on the test images; read what they paint for test masks."""
    target = out.with_name(out.name + ".json")
    with user_errors():
        read_content(target, FORMAT)  # a file that is another is refused before the work
        where: Mapping[str, Any] = {"data_root": data_root, "device": device}
        judge = Run.load(ceiling, "twin", **where) if ceiling else None
        found = {
            "format": FORMAT,
            "recipe": Run.load(runs[0], **where).recipe.model_dump(mode="json"),
            "runs": [scored(Run.load(path, **where), judge) for path in runs],
            "ceiling": scored(Run.load(ceiling, **where), None) if ceiling else None,
            "machine": machine(choose_device(device)),
            "versions": versions(),
            "note": note,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_text(target, json.dumps(found, indent=1) + "\n")
        write_text(out.with_name(out.name + ".md"), page(found))
        if picture is not None:
            save_grid(rows_of(Run.load(runs[0], **where)), picture, columns=COLUMNS, overwrite=True)


def rows_of(run: Run) -> Tensor:
    """Of test images at equal distances: masks, predicted masks, images painted for the masks; then free samples.

    The images themselves are left out: whoever may see a data set need not be allowed to show it.
    """
    test, palette = run.dataset().test, run_palette(run)
    chosen = torch.linspace(0, len(test[run.image]) - 1, COLUMNS).long()
    maps = test[run.label][chosen]
    predicted = torch.from_numpy(run.predict(test[run.image][chosen]))
    painted = draw(run, COLUMNS, {run.label: maps}, seed=0)[run.image]
    free = draw(run, COLUMNS, {}, seed=1)[run.image]
    shown = [torch.from_numpy(coloured(each.numpy(), palette)).permute(0, 3, 1, 2) / 255 for each in (maps, predicted)]
    rows = torch.cat([*shown, *(each.expand(-1, 3, -1, -1) for each in (painted, free))])
    return interpolate(rows, scale_factor=2, mode="nearest")


def scored(run: Run, judge: Run | None) -> dict[str, Any]:
    """A run's scores and its twin's, who reads its painted images how well, bits in use, and seconds of training.

    Raises:
        RunError: the run is no segmentation, or has no twin that has finished.
    """
    report = run.evaluate()
    if report.get("twin") is None or "mean_iou" not in report["last"]:
        raise RunError(f"{run.path}: no segmentation with a finished twin; train it with --twin --resume")
    rows = read_metrics(run.path)
    last = {phase: [row for row in rows if row["phase"] == phase][-1] for phase in ("model", "twin")}
    painted = {"own twin": report["painted"]["agreement"]}
    if judge is not None:
        painted["twin of all pairs"] = agreement(run, judge, run.dataset().test[run.label])
    return {
        "pairs": len(run.split().labelled),
        "seed": run.recipe.split.seed,
        "test_images": report["count"],
        **{name: {score: report[name][score] for score in SCORES} for name in ("last", "twin")},
        "painted": painted,
        "bits": sum(last["model"]["bits"].values()),
        "seconds": {phase: row["seconds"] for phase, row in last.items()},
    }


def page(found: Content) -> str:
    """The page of the JSON file's content."""
    runs: list[Content] = found["runs"]
    gains = [run["last"]["mean_iou"] - run["twin"]["mean_iou"] for run in runs]
    classes = list(runs[0]["last"]["per_class"])
    rows = [["", "whole", "supervised twin"], *scores_rows(runs, classes)]
    ceiling_parts: list[str] = []
    if found["ceiling"]:
        ceiling_rows = [["", "whole", "supervised twin"], *scores_rows([found["ceiling"]], classes)]
        title = f"## All {found['ceiling']['pairs']} pairs, split seed {found['ceiling']['seed']}"
        ceiling_parts = [title, table(ceiling_rows)]
    painted = [["who reads", "pixels as the mask says"]]
    painted += [[name, spread([run["painted"][name] for run in runs])] for name in runs[0]["painted"]]
    parts = [
        "# Segmentation",
        f"{found['recipe']['about']} Last checkpoint, {runs[0]['test_images']} test images, nothing chosen on them. "
        "Mean ± standard deviation over the splits, then each split's. The twin is the same network with the same "
        "pairs, views of them, start and steps, and nothing else.",
        f"## {runs[0]['pairs']} pairs, split seeds {', '.join(str(run['seed']) for run in runs)}",
        table(rows),
        f"Gain in mean IoU: {100 * mean(gains):.2f} points ({', '.join(f'{100 * gain:+.2f}' for gain in gains)}).",
        *ceiling_parts,
        "## Images painted for the test masks",
        "Share of the pixels that a network reads as the mask says, which the image was painted for; one image a mask.",
        table(painted),
        "Bits of the codes in use: " + ", ".join(f"{run['bits']:.1f}" for run in runs) + ".",
        "## How",
        "\n".join(origin(found)),
    ]
    return "\n\n".join(parts) + "\n"


def scores_rows(runs: Sequence[Content], classes: Sequence[str]) -> list[list[str]]:
    """A row for every score: of the whole, and of the twin."""

    def both(form: str, *keys: str) -> list[str]:
        values = [[value_at(run[name], keys) for run in runs] for name in ("last", "twin")]
        return [spread(each) if form == "%" else f"{mean(each):{form}}" for each in values]

    return [
        ["**mean IoU**", *both("%", "mean_iou")],
        *[[f"IoU, {name}", *both("%", "per_class", name)] for name in classes],
        ["pixels right", *both("%", "pixel_accuracy")],
        ["NLL, nats a pixel", *both(".3f", "nll")],
        ["ECE", *both(".3f", "ece")],
    ]


def value_at(content: Content, keys: Sequence[str]) -> float:
    """A number; not a number where no image has the class."""
    value: Any = content
    for key in keys:
        value = value[key]
    return math.nan if value is None else float(value)


def spread(values: Sequence[float]) -> str:
    """`76.91% ± 0.41 (77.17, 77.13, 76.44)`, of a single value `76.84%`."""
    if any(map(math.isnan, values)):
        return "-"
    text = f"{100 * mean(values):.2f}%"
    if len(values) == 1:
        return text
    return f"{text} ± {100 * stdev(values):.2f} ({', '.join(f'{100 * value:.2f}' for value in values)})"


def origin(found: Content) -> list[str]:
    runs = [*found["runs"], *([found["ceiling"]] if found["ceiling"] else [])]
    order = "in this order, all pairs last" if found["ceiling"] else "in this order"
    times = {phase: ", ".join(clock(run["seconds"][phase]) for run in runs) for phase in ("model", "twin")}
    return [
        "- Commands: at the top of `benchmarks/segmentation.py`.",
        f"- Training, min:s, {order}: {times['model']}; the twins {times['twin']}.",
        *([f"- {found['note']}"] if found.get("note") else []),
        f"- Scored {found['date'][:10]}. {machine_text(found['machine'])}.",
        f"- {versions_text(found['versions'])}.",
    ]


if __name__ == "__main__":
    app()
