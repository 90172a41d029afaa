"""Kills training again and again, resumes it, and compares what it leaves bit for bit with a run that nobody killed.

    python -m benchmarks.kills --kills 50 --seed 0
    python -m benchmarks.kills --recipes masks --kills 10

Four small recipes train (tests/data/recipes: classes with a twin, a table with a twin, masks, a ladder of codes), each
in a process that gets SIGKILL, one to three times before it may end:

- `clock`: at any moment, also while data are read or files are written;
- `half`: when a checkpoint is half written;
- `move`: before or after a file that is whole takes the name of the one before.

Whoever starts it again does what semivae's messages say: `--resume` where there is a run, else the same command. In the
end every tensor of every checkpoint, every record but its seconds, and the names of all files must be equal. The exit
status is 1 if anything differs. `benchmarks/kills.md` holds figures.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

import torch
import typer
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

import semivae
from semivae.runs.folder import is_run_folder, read_metrics
from tests.data.make_run import write_data

RECIPES = Path(__file__).parents[1] / "tests" / "data" / "recipes"
NAMES = ("classes", "table", "masks", "ladder")
How = Literal["clock", "half", "move"]
context = multiprocessing.get_context("fork")  # a process that has imported torch already


@dataclass(frozen=True)
class Kill:
    """How a training dies.

    Attributes:
        how: see this module.
        place: seconds after which (`clock`), or the number of the checkpoint or the move, from 1.
        share: of the checkpoint that is written; of a move, whether it is made first (above 1/2).
    """

    how: How
    place: float
    share: float = 0.0


@dataclass
class Result:
    """What became of a recipe's runs: how many kills of each kind, and what differed."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    differences: list[str] = field(default_factory=list)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(kill: Kill) -> None:
    """Sees to it that this process dies at a checkpoint or a move."""
    import semivae.runs.checkpoint as checkpoint

    save, replace, seen = vars(checkpoint)["save_file"], os.replace, Counter[str]()

    def save_half(tensors: Any, path: Any, metadata: Any = None) -> None:
        save(tensors, path, metadata=metadata)
        seen["half"] += 1
        if seen["half"] == kill.place:
            os.truncate(path, int(Path(path).stat().st_size * kill.share))
            die()

    def replace_or_die(source: Any, target: Any) -> None:
        seen["move"] += 1
        if seen["move"] == kill.place and kill.share <= 0.5:
            die()
        replace(source, target)
        if seen["move"] == kill.place:
            die()

    if kill.how == "half":
        vars(checkpoint)["save_file"] = save_half
    elif kill.how == "move":
        os.replace = replace_or_die  # type: ignore[assignment]


def start(name: str, folder: Path, root: Path, kill: Kill | None) -> None:
    """Trains, or resumes, as semivae's messages say; the body of a process."""
    torch.set_num_threads(1)
    if kill is not None:
        arm(kill)
    try:
        semivae.train(
            RECIPES / f"{name}.yaml", out=folder, data_root=root, device="cpu", resume=is_run_folder(folder),
            progress=lambda _: None,
        )  # fmt: skip
    except BaseException:
        (folder.parent / "failure.txt").write_text(traceback.format_exc(), encoding="utf-8")
        sys.exit(1)


def run_once(name: str, folder: Path, root: Path, kill: Kill | None) -> bool:
    """Starts a training and returns whether it was killed. Raises RuntimeError where it fails by itself."""
    process = context.Process(target=start, args=(name, folder, root, kill))
    process.start()
    if kill is not None and kill.how == "clock":
        process.join(kill.place)
        process.kill()
    process.join()
    if process.exitcode == -signal.SIGKILL:
        return True
    if process.exitcode:
        raise RuntimeError((folder.parent / "failure.txt").read_text(encoding="utf-8"))
    return False


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two runs: files, tensors, records."""
    names = {path.name for path in one.iterdir()}
    found = [f"file {name}" for name in sorted(names ^ {path.name for path in other.iterdir()})]
    for path in sorted(one.glob("*.safetensors")):
        first, second = load_file(path), load_file(other / path.name)
        found += [
            f"{path.name}: {key}" for key in first if key not in second or not torch.equal(first[key], second[key])
        ]
    first_rows, second_rows = (
        [{key: value for key, value in row.items() if key != "seconds"} for row in read_metrics(folder)]
        for folder in (one, other)
    )
    return found + ["metrics.jsonl"] * (repr(first_rows) != repr(second_rows))


def drawn_kill(draw: Random, seconds: float) -> Kill:
    how: How = draw.choice(("clock", "half", "move"))
    if how == "clock":
        return Kill(how, draw.uniform(0.0, seconds))
    return Kill(how, draw.randrange(1, 6 if how == "half" else 14), draw.random())


def measure(name: str, kills: int, seed: int, folder: Path) -> Result:
    """Runs of one recipe until so many kills were made, each compared with an uninterrupted one."""
    draw, result = Random(f"{seed} {name}"), Result()
    started = time.monotonic()
    run_once(name, folder / "whole", folder, None)
    seconds = time.monotonic() - started
    while result.kills.total() < kills:
        run = folder / f"run{result.runs}" / "run"
        run.parent.mkdir()
        for _ in range(min(draw.choice((1, 2, 3)), kills - result.kills.total())):
            kill = drawn_kill(draw, seconds)
            if not run_once(name, run, folder, kill):
                break
            result.kills[kill.how] += 1
        run_once(name, run, folder, None)
        result.runs += 1
        result.differences += [f"{name}, run {result.runs}: {what}" for what in differences(folder / "whole", run)]
    return result


def main(
    kills: Annotated[int, typer.Option("--kills", min=1, help="In all, over the recipes.")] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    recipes: Annotated[str, typer.Option("--recipes", help="With commas between.")] = ",".join(NAMES),
) -> None:
    table = Table("recipe", "kills", "clock", "half", "move", "runs compared", "differences")
    differing: list[str] = []
    chosen = recipes.split(",")
    for number, name in enumerate(chosen):
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder))
            share = kills // len(chosen) + (number < kills % len(chosen))
            found = measure(name, share, seed, Path(folder))
        counts = [found.kills.total(), *(found.kills[how] for how in ("clock", "half", "move")), found.runs]
        table.add_row(name, *map(str, counts), str(len(found.differences)))
        differing += found.differences
    Console(width=100).print(table)
    print(*differing, sep="\n")
    raise typer.Exit(int(bool(differing)))


if __name__ == "__main__":
    typer.run(main)
