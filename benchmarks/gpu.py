"""Recipes for a GPU, trained and measured in pieces that any machine may go on with.

    python -m benchmarks.gpu --out DIR [cifar10_4000labels svhn_1000labels photos] [--minutes 9] [--data-root DATA]

One call is one piece: it goes on with the first recipe that is not measured yet, and stops after so many minutes at a
checkpoint. Call it again, on this machine or on another one that has got DIR, until it says that all is measured; the
run's folders, DIR/gpu.json and the table DIR/gpu.md are all that it leaves. A recipe whose data are not there is passed
over, with the reason in the table, and tried again by the next call. A recipe's first piece also times its steps, as
they are taken and as one captured graph (`training.capture`), in short runs that are not kept.

    --source photos=clothing.zip     pictures in a folder or .zip take the place of the recipe's source
    --set photos:split.labelled=200  changes a key of one recipe
    --shorten                        a few small steps on any device, to try the script itself

The table names the card and the versions of every piece. Nothing is chosen on test images: it shows last checkpoints.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import semivae
from benchmarks.common.commands import user_errors
from benchmarks.common.machine import machine_text, stamp
from semivae.devices import choose_device
from semivae.errors import DataError, RecipeError
from semivae.files import write_whole
from semivae.recipe import Recipe, read_recipe
from semivae.training.progress import Progress

RECIPES = ("cifar10_4000labels", "svhn_1000labels", "photos")
CELLS_FILE = "gpu.json"
EVERY = 200  # steps between checkpoints, which is what a machine that is taken away costs at most
SHORT_STEPS, SHORT_BATCH = 6, 4
TIMED_STEPS, SHORT_TIMED_STEPS = (40, 240), (4, 8)  # of two runs, whose difference is the time of steps alone
Cells = dict[str, dict[str, Any]]


def recipe_of(name: str, sources: Mapping[str, str], changes: Mapping[str, list[str]], shorten: bool) -> Recipe:
    """A shipped recipe with a user's source and changes, checkpoints that come often, and perhaps few small steps."""
    plain = read_recipe(name)
    own = [f"training.checkpoint_every={EVERY}"]
    if name in sources:
        size = 32 if name != "photos" else plain.source.model_dump()["size"]
        path = json.dumps(str(Path(sources[name]).absolute()))
        own.append(f"source={{name: folder, path: {path}, size: {size}, channels: 3}}")
    if shorten:
        own += [f"training.steps={SHORT_STEPS}", "training.validate_every=3", "training.checkpoint_every=2"]
        own += [f"streams.{stream}.batch={SHORT_BATCH}" for stream in plain.streams]
    return read_recipe(name, [*own, *changes.get(name, [])])


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Asks this process to stop after some time, as Ctrl-C does: training then writes a checkpoint first."""
    timer = threading.Timer(max(seconds, 0.0), os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)


def played(name: str, recipe: Recipe, piece: dict[str, Any], out: Path, data_root: Path | None) -> dict[str, Any]:
    """Goes on with a run for one piece; returns what was measured of it once it is finished.

    Raises:
        KeyboardInterrupt: the piece's time is over, and a checkpoint written.
    """
    started = time.monotonic()
    device, folder = choose_device(piece["device"]), out / name

    def heard(progress: Progress) -> None:
        if progress.step:
            piece["steps"].setdefault(progress.phase, [progress.step, 0])[1] = progress.step

    try:
        resume = (folder / "recipe.yaml").is_file()
        run = semivae.train(
            recipe, out=folder, resume=resume, device=piece["device"], data_root=data_root, progress=heard
        )
        scores, samples = run.evaluate(), run.diagnose(samples=500)["samples"]
        return {"scores": scores, "samples": samples, "seconds": phase_seconds(run)}
    finally:
        piece["seconds"] = time.monotonic() - started
        if device.type == "cuda":
            piece["peak_memory"] = torch.cuda.max_memory_allocated()


def step_times(recipe: Recipe, device: str, data_root: Path | None, lengths: tuple[int, int]) -> dict[str, Any]:
    """Milliseconds of a step of the model as it is taken and captured, and what a run said of capturing it."""
    said: list[str] = []

    def heard(progress: Progress) -> None:
        if "captured" in progress.message and progress.message not in said:
            said.append(progress.message)

    def seconds(capture: bool, steps: int) -> float:
        changed = {"steps": steps, "validate_every": steps, "checkpoint_every": steps, "twin": False}
        training = recipe.training.model_copy(update={**changed, "capture": capture})
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            short = recipe.model_copy(update={"training": training, "painter": None})
            semivae.train(short, out=Path(folder) / "run", device=device, data_root=data_root, progress=heard)
            return time.monotonic() - started

    few, many = lengths
    seconds(False, few)  # reads and sets up what later runs find ready
    times = {
        name: 1000.0 * (seconds(capture, many) - seconds(capture, few)) / (many - few)
        for name, capture in (("taken", False), ("captured", True))
    }
    return {**times, "said": said}


def phase_seconds(run: semivae.Run) -> dict[str, float]:
    """How long the model and its twin have trained, in seconds, all pieces together."""
    twin = {"twin": run.at("twin").facts.seconds} if (run.path / "twin.safetensors").is_file() else {}
    return {"model": run.facts.seconds, **twin}


def cells_of(path: Path) -> Cells:
    """What earlier pieces measured."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def by_recipe(texts: list[str], mark: str) -> list[tuple[str, str]]:
    """Splits `RECIPE<mark>REST` of each text; RecipeError for another recipe."""
    found = []
    for text in texts:
        name, _, rest = text.partition(mark)
        if name not in RECIPES or not rest:
            raise RecipeError(f"{text!r}: write RECIPE{mark}..., with one of {', '.join(RECIPES)}")
        found.append((name, rest))
    return found


def table(cells: Cells, names: list[str]) -> str:
    """The page: a row for each recipe, then the pieces with their machines."""
    lines = [
        "| recipe | test error, 95% | twin | NLL | samples read as intended | training, twin | ms a step, captured |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        cell = cells.get(name, {})
        if "scores" not in cell:
            lines.append(f"| `{name}` | {cell.get('left_out') or 'not finished'} | | | | | {_milliseconds(cell)} |")
            continue
        last, twin, seconds = cell["scores"]["last"], cell["scores"]["twin"], cell["seconds"]
        low, high = last["error_interval"]
        readers = (cell["samples"] or {"readers": {}})["readers"]
        read = ", ".join(f"{reader} {of['read_as_intended']:.1%}" for reader, of in readers.items()) or "-"
        entries = [
            f"{last['error']:.2%} ({low:.2%} to {high:.2%})",
            f"{twin['error']:.2%}" if twin else "-",
            f"{last['nll']:.3f}",
            read,
            ", ".join(f"{value / 60:.1f} min" for value in seconds.values()),
            _milliseconds(cell),
        ]
        lines.append(f"| `{name}` | " + " | ".join(entries) + " |")
    lines += ["", "Pieces:", ""]
    for name in names:
        for number, piece in enumerate(cells.get(name, {}).get("pieces", []), start=1):
            steps = ", ".join(f"{phase} {first:,} to {last:,}" for phase, (first, last) in piece["steps"].items())
            seconds = f"{piece['seconds']:.0f} s" if "seconds" in piece else "killed"
            memory = f", {piece['peak_memory'] / 2**30:.1f} GiB of the card" if "peak_memory" in piece else ""
            versions = ", ".join(f"{what} {which}" for what, which in piece["versions"].items())
            lines.append(
                f"- `{name}` {number}, {piece['date']}: steps {steps or '-'}; {seconds}{memory}; "
                f"{machine_text(piece['machine'])}; {versions}"
            )
    return "\n".join(lines) + "\n"


def _milliseconds(cell: Mapping[str, Any]) -> str:
    """Milliseconds of a step as it is taken and captured; or that it was not captured."""
    times = cell.get("step_ms")
    if times is None:
        return "-"
    captured = "not captured" if times["said"] else f"{times['captured']:.1f}"
    return f"{times['taken']:.1f}, {captured}"


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[RECIPE]...")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR")] = Path("gpu"),
    minutes: Annotated[float, typer.Option(help="After which a piece stops.")] = 9.0,
    data_root: Annotated[Path | None, typer.Option()] = None,
    source: Annotated[list[str], typer.Option(metavar="RECIPE=PATH")] = [],  # noqa: B006
    changes: Annotated[list[str], typer.Option("--set", metavar="RECIPE:KEY=VALUE")] = [],  # noqa: B006
    device: Annotated[str, typer.Option()] = "cuda",
    shorten: Annotated[bool, typer.Option("--shorten")] = False,
) -> None:
    """Trains and measures for some minutes, and prints the table."""
    asked = names or list(RECIPES)
    by_recipe([f"{name}:-" for name in asked], ":")
    sources, own = dict(by_recipe(source, "=")), dict[str, list[str]]()
    for name, change in by_recipe(changes, ":"):
        own.setdefault(name, []).append(change)
    machine, stopped = stamp(choose_device(device)), True
    out.mkdir(parents=True, exist_ok=True)
    cells = cells_of(out / CELLS_FILE)
    with interrupted_after(60.0 * minutes), suppress(KeyboardInterrupt):
        for name in asked:
            cell = cells.setdefault(name, {"pieces": []})
            if "scores" in cell:
                continue
            piece = {**machine, "device": device, "steps": {}}
            cell["pieces"].append(piece)
            cell.pop("left_out", None)
            save(out, cells, asked)  # a piece that is killed leaves a line
            try:
                recipe = recipe_of(name, sources, own, shorten)
                if "step_ms" not in cell:
                    lengths = SHORT_TIMED_STEPS if shorten else TIMED_STEPS
                    cell["step_ms"] = step_times(recipe, device, data_root, lengths)
                    save(out, cells, asked)
                cell |= played(name, recipe, piece, out, data_root)
            except (DataError, RecipeError) as error:
                cell["left_out"] = str(error)
                cell["pieces"].pop()
            finally:
                save(out, cells, asked)
        stopped = False
    typer.echo(table(cells, asked))
    typer.echo(f"{out}: call this again to go on" if stopped else f"{out}: all is measured that can be")


def save(out: Path, cells: Cells, names: list[str]) -> None:
    """Keeps what was measured, and the page."""
    write_whole(out / CELLS_FILE, json.dumps(cells, indent=1) + "\n")
    write_whole(out / "gpu.md", table(cells, names))


if __name__ == "__main__":
    with user_errors():
        typer.run(main)
