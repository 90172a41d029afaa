"""`semivae train`: one run, or one per split seed, then what it reached on the test images."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semivae.cli.freed_memory import keep_freed_memory
from semivae.cli.importing import kept_modules
from semivae.cli.launching import devices_asked, is_following, train_together, words_without
from semivae.cli.options import (
    DataRootOption,
    DeviceOption,
    JsonOption,
    OverwriteOption,
    RecipeArgument,
    SetOption,
    share_or_all,
)
from semivae.cli.recipe_commands import note_former_names
from semivae.cli.showing import console, lost_output, note, reply, result_tables
from semivae.cli.side_by_side import run_side_by_side
from semivae.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console


def train(
    recipe: RecipeArgument,
    changes: SetOption = [],  # noqa: B006  typer copies it
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="The run's folder. Default: runs/RECIPE-NAME in the current folder."
        ),
    ] = None,
    data_root: DataRootOption = None,
    split: Annotated[
        Path | None,
        typer.Option("--split", metavar="FILE", help="Use this split manifest instead of the recipe's split."),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", metavar="0..4", help="Train one run per split seed, and show mean and standard deviation."
        ),
    ] = None,
    twin: Annotated[
        bool | None,
        typer.Option(
            "--twin/--no-twin", help="Train the supervised baseline (the twin) too. Default: as the recipe says."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="RUN", help="Start from the weights of this run; classes that it knows keep theirs."
        ),
    ] = None,
    more_steps: Annotated[
        int | None, typer.Option("--more-steps", metavar="N", min=1, help="Add steps to a finished run.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--at-rate",
            metavar="SHARE",
            parser=share_or_all,
            help="With --more-steps: begin at this share of the learning rate. Default: 30%.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices",
            metavar="N",
            help="Train on several devices of this machine: 4 (the first four) or 0,2 (these); on a CPU, so many "
            "processes. With --seeds, a run on each; otherwise one run on all.",
        ),
    ] = None,
    log: Annotated[
        list[str],
        typer.Option(
            "--log", metavar="NAME", help="Log to tensorboard, mlflow, trackio or wandb. Repeatable; needs its extra."
        ),
    ] = [],  # noqa: B006  typer copies it
    as_json: JsonOption = False,
) -> None:
    """Train the model of a recipe, and measure it on test data."""
    several = [] if devices is None else devices_asked(devices)
    if len(several) > 1 and seeds is None:
        raise typer.Exit(train_together(words_without(sys.argv[1:], ["--devices"]), several))
    options: dict[str, Any] = {"data_root": data_root, "twin": twin, "resume": resume, "overwrite": overwrite}
    options |= {"device": device, "loggers": log, "start_from": start_from, "more_steps": more_steps}
    if learning_rate is not None and more_steps is None:
        raise typer.BadParameter("the rate is that of added steps; give --more-steps too", param_hint="--at-rate")
    options |= {} if learning_rate is None else {"learning_rate": learning_rate}
    if is_following():
        follow(recipe, changes, out, seeds, split=split, **options)
        return
    shown = console(to_stderr=as_json, outlived=True)
    note_former_names(recipe, changes)
    if seeds is None:
        folder = out or Path("runs") / Path(recipe).stem
        report = train_one(shown, recipe, changes, folder, split=split, **options)
        reply(report, as_json, shown, *result_tables(report))
        refuse_lost_output(shown, folder)
        return
    if split is not None:
        raise typer.BadParameter("a split manifest fixes the split; leave out --seeds or --split")
    from semivae.cli.kinds import shown_as
    from semivae.runs.folder import is_run_folder

    base = out or Path("runs") / Path(recipe).stem
    numbers = seed_numbers(seeds)
    refuse_seed_folders(base, numbers, overwrite, resume or more_steps is not None)
    reports = {}
    if len(several) > 1:
        reports = train_side_by_side(shown, recipe, changes, base, numbers, several, resume)
    for seed in numbers if len(several) < 2 else ():
        shown.print(f"\nsplit seed {seed}", style="bold")
        folder = base / f"seed{seed}"
        there = options | {"resume": resume and is_run_folder(folder)}
        reports[seed] = train_one(shown, recipe, [*changes, f"split.seed={seed}"], folder, **there)
    by_seed = {"recipe": recipe, "seeds": {str(seed): report for seed, report in reports.items()}}
    tables = shown_as(reports[numbers[0]]["kind"]).seeds(reports)
    reply(by_seed, as_json, shown, *tables, f"The runs are in {base}")
    refuse_lost_output(shown, base / f"seed{numbers[0]}")


def train_side_by_side(
    shown: Console,
    recipe: str,
    changes: Sequence[str],
    base: Path,
    seeds: Sequence[int],
    devices: Sequence[str],
    resume: bool,
) -> dict[int, dict[str, Any]]:
    """Trains one run per seed, as many at a time as there are devices, each in a process of its own."""
    from semivae.recipe import read_recipe
    from semivae.runs.folder import is_run_folder

    read_recipe(recipe, changes)  # a mistake in it is said once
    shared = words_without(sys.argv[1:], ["--devices", "--seeds", "--out", "-o"], ["--resume", "--json"])
    commands = {}
    for seed in seeds:
        folder = base / f"seed{seed}"
        own = ["--resume"] if resume and is_run_folder(folder) else []
        commands[f"seed {seed}"] = [*shared, "--set", f"split.seed={seed}", "--out", str(folder), *own]
    try:
        reports = run_side_by_side(commands, devices, lambda line: shown.print(line, soft_wrap=True))
    except KeyboardInterrupt:
        note(f"stopped; the runs are kept in {base}. To go on: {resuming(sys.argv[1:])}")
        raise typer.Exit(130) from None
    return dict(zip(seeds, reports.values(), strict=True))


def follow(recipe: str, changes: Sequence[str], out: Path | None, seeds: str | None, **options: Any) -> None:
    """Trains as one of several processes, of which the first one shows and measures."""
    from semivae import api

    folder = out or Path("runs") / Path(recipe).stem
    if seeds is None:
        keep_freed_memory()
        api.train(recipe, set=changes, out=folder, progress=False, **options)
        return
    raise RunError("several processes train one run; give --seeds without torchrun, or with --devices alone")


def refuse_lost_output(shown: Console, folder: Path) -> None:
    """Raises RunError where training has ended well, but not all of its output could be written."""
    if lost_output(shown):
        raise RunError(
            f"training has ended and its runs are kept, but not all output could be written; semivae evaluate {folder} "
            "shows the results again"
        )


def train_one(shown: Console, recipe: str, changes: Sequence[str], folder: Path, **options: Any) -> dict[str, Any]:
    """Trains with a display; returns the evaluation's report, or only {"run": ...} where there are no labels."""
    from semivae.cli.tables import plan_table
    from semivae.display import ProgressDisplay
    from semivae.recipe import read_recipe

    read = read_recipe(recipe, changes)  # before torch, whose import takes seconds
    keep_freed_memory()
    with kept_modules():
        from semivae import api
    from semivae.scenario.plan import plan_of

    display = ProgressDisplay(shown, plan_table(plan_of(read), read.training.objective))
    try:
        with display:
            run = api.train(recipe, set=changes, out=folder, progress=display, **options)
    except KeyboardInterrupt:
        note(resume_hint(folder, display.begun or not options["overwrite"]))
        raise typer.Exit(130) from None
    return run.evaluate() if run.roles.labels else {"run": str(folder), "kind": run.task.name}


def resume_hint(folder: Path, own: bool) -> str:
    """Returns what to say after Ctrl-C: how to go on, if the run in the folder is the command's `own`."""
    if not own or not (folder / "last.safetensors").exists():
        return "stopped before training began"
    return f"stopped; the run is kept in {folder}. To go on: {resuming(sys.argv[1:])}"


def resuming(words: Sequence[str]) -> str:
    """Returns what to type to go on with a command of these words: nothing is replaced, no steps are added again."""
    kept = words_without(words, ["--more-steps", "--at-rate"], ["--overwrite", "--resume"])
    return shlex.join(["semivae", *kept, "--resume"])


def seed_numbers(text: str) -> list[int]:
    """Returns `0..4` or `0,2,5` as numbers."""
    first, dots, last = text.partition("..")
    try:
        numbers = list(range(int(first), int(last) + 1)) if dots else [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        raise typer.BadParameter(f"{text!r} is no list of seeds; write 0..4 or 0,2,5", param_hint="--seeds")
    return list(dict.fromkeys(numbers))


def refuse_seed_folders(base: Path, seeds: Iterable[int], overwrite: bool, resume: bool) -> None:
    """Refuses before the first of several runs, not after hours, what one of them would be refused for."""
    from semivae.runs.folder import check_folder, is_run_folder
    from semivae.runs.replacing import put_back

    folders = [base / f"seed{seed}" for seed in seeds]
    for folder in folders:
        put_back(folder)
    there = [folder for folder in folders if is_run_folder(folder)]
    if there and not (overwrite or resume):
        names = ", ".join(map(str, there))
        raise RunError(f"{names}: exists; go on with --resume, replace with --overwrite, or choose --out")
    if resume and not there:
        raise RunError(
            f"{base}: no seed has a run to resume; leave out --resume, or name the folder of the runs with --out"
        )
    for folder in folders:
        check_folder(folder, overwrite, resume and (overwrite or folder in there))
