"""Gives random inputs to the real readers and commands and counts what becomes of them.

    python -m benchmarks.fuzz --count 1000                       so many of each kind
    python -m benchmarks.fuzz --kinds images,masks --count 20000 --seed 1 --jobs 2
    python -m benchmarks.fuzz --kinds images --only 1234         one input again, with what became of it

An input is a function of (seed, kind, number). It may be accepted, or refused with one of the typed errors of
`semivae.errors` and the exit status that belongs to it. Everything else is a fault: another exception, another status,
a stray warning, no answer within 20 seconds of the processor, a process that dies. Each faulty input is kept below
--out with what became of it; the exit status is 1 if there is any. `benchmarks/fuzz.md` holds figures.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.fuzz.further import FurtherArrays, FurtherTables, LabelTables
from benchmarks.fuzz.kept import SOURCE, KeptFeatures, Packed
from benchmarks.fuzz.outcomes import SECONDS, Kind, Outcome, outcome_of
from benchmarks.fuzz.pictures import Masks, Pictures
from benchmarks.fuzz.recipes import Changes, GivenValues, Recipes
from benchmarks.fuzz.tables import Arrays, ParquetTables, Rows, Tables
from semivae.recipe import Recipe

HUNG = 20 * SECONDS  # of the clock, after which a process that does not end its input is killed


@dataclass(frozen=True)
class Job:
    """Numbers of a kind that one process takes after each other."""

    kind: Kind
    seed: int
    numbers: range


def kinds(folder: Path) -> Mapping[str, Kind]:
    """All kinds by name; small runs are trained below `folder` for those that need one."""
    import semivae
    from tests.data.make_run import write_data

    write_data(folder)
    recipes = Path(__file__).parents[2] / "tests" / "data" / "recipes"
    runs = {}
    for name in ("classes", "table", "masks"):
        changes: dict[str, object] = {"training.steps": 4, "training.twin": False}
        runs[name] = semivae.train(
            recipes / f"{name}.yaml", set=changes, out=folder / f"run_{name}", data_root=folder, device="cpu"
        )
    rows = (folder / "flowers.csv").read_text(encoding="utf-8").split("\n")[:20]
    found: list[Kind] = [
        Pictures(), Masks(), Tables(), ParquetTables(), Arrays(), Rows(runs["table"], "\n".join(rows)),
        GivenValues(list(runs.values())), Recipes(), Changes(), FurtherTables(), LabelTables(), FurtherArrays(),
        Packed(folder / "to_pack"), KeptFeatures(folder / "to_extract", featured_recipe()),
    ]  # fmt: skip
    return {kind.name: kind for kind in found}


def featured_recipe() -> Recipe:
    """A recipe whose pictures go through a small network with random weights."""
    from semivae.recipe import read_recipe

    net = {"name": "torchvision", "model": "shufflenet_v2_x0_5", "weights": "none"}
    features = {"f": {"net": net, "size": 32, "draws": {"weak": 1, "strong": 1}}}
    return read_recipe("photos", {"source": SOURCE, "features": features})


@contextlib.contextmanager
def made(kind: Kind, seed: int, number: int) -> Iterator[tuple[Path, Outcome]]:
    """Yields the folder of an input and what became of it; the folder goes afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        action = kind.make(Random(f"{seed} {kind.name} {number}"), folder)
        yield folder, outcome_of(action)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(folder: Path, out: Path, kind: Kind, seed: int, number: int, outcome: Outcome) -> None:
    """Copies a faulty input to `out`, with what became of it."""
    place = out / f"{kind.name.replace(' ', '_')}-{seed}-{number}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place, symlinks=True)
    (place / "fault.txt").write_text(f"{outcome.word}\n{outcome.detail}\n", encoding="utf-8", errors="replace")


def work(job: Job, start: int, out: Path, at: Synchronized[int], counts: Synchronized[int]) -> None:
    """Takes the numbers of a job from `start` on; `at` is where it is, `counts` how many were accepted and refused."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)  # libraries in C speak to it of damaged files
    for number in range(start, job.numbers.stop):
        at.value = number
        with made(job.kind, job.seed, number) as (folder, outcome):
            if outcome.is_fault:
                keep(folder, out, job.kind, job.seed, number, outcome)
            counts[("accepted", "refused").index(outcome.word) if not outcome.is_fault else 2] += 1  # type: ignore[index]
    at.value = job.numbers.stop


def done(job: Job, out: Path) -> Counter[str]:
    """What became of all numbers of a job, in processes of their own; one that dies is followed by another."""
    context = multiprocessing.get_context("fork")
    counts = context.Array("q", 3)
    at: Synchronized[int] = context.Value("q", job.numbers.start)
    start, crashes = job.numbers.start, 0
    while start < job.numbers.stop:
        process = context.Process(target=work, args=(job, start, out, at, counts))
        process.start()
        seen, since = -1, time.monotonic()
        while process.is_alive():
            process.join(0.5)
            if at.value != seen:
                seen, since = at.value, time.monotonic()
            elif time.monotonic() - since > HUNG:
                process.kill()
        if at.value < job.numbers.stop:
            crashes += 1
            keep_crash(job, at.value, out, process.exitcode)
        start = at.value + 1
    accepted, refused, faults = counts[:]
    return Counter(accepted=accepted, refused=refused, faults=faults + crashes)


def keep_crash(job: Job, number: int, out: Path, status: int | None) -> None:
    """Keeps the input at which a process died or hung."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    job.kind.make(Random(f"{job.seed} {job.kind.name} {number}"), folder)
    keep(folder, out, job.kind, job.seed, number, Outcome("crash", f"the process ended with {status}"))
    shutil.rmtree(folder)


def summary(found: Mapping[str, tuple[Counter[str], float]]) -> Table:
    table = Table("kind", "inputs", "accepted", "refused", "faults", "minutes")
    total: Counter[str] = Counter()
    for name, (counts, seconds) in found.items():
        table.add_row(name, *_cells(counts), f"{seconds / 60:.1f}")
        total += counts
    table.add_row("all", *_cells(total), f"{sum(seconds for _, seconds in found.values()) / 60:.1f}", style="bold")
    return table


def _cells(counts: Counter[str]) -> list[str]:
    return [f"{number:,}" for number in (counts.total(), counts["accepted"], counts["refused"], counts["faults"])]


def main(
    count: Annotated[int, typer.Option("--count", min=1, help="Inputs of each kind.")] = 1000,
    first: Annotated[int, typer.Option("--first", min=0, help="The number of the first one.")] = 0,
    names: Annotated[str, typer.Option("--kinds", help="Kinds, with commas between; all by default.")] = "",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes at a time.")] = 1,
    only: Annotated[int | None, typer.Option("--only", help="One number; prints what became of it.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for faulty inputs.")] = Path("runs/fuzz"),
) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        known = kinds(Path(folder))
        chosen = [name.strip() for name in names.split(",")] if names else list(known)
        if unknown := [name for name in chosen if name not in known]:
            raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(known)}", param_hint="--kinds")
        out.mkdir(parents=True, exist_ok=True)
        if only is not None:
            with made(known[chosen[0]], seed, only) as (place, outcome):
                keep(place, out, known[chosen[0]], seed, only, outcome)
                print(outcome.word, outcome.detail, sep="\n")
            raise typer.Exit(int(outcome.is_fault))
        found = {name: _counted(known[name], seed, range(first, first + count), jobs, out) for name in chosen}
    Console(width=100).print(summary(found))
    if any(counts["faults"] for counts, _ in found.values()):
        print(f"faulty inputs: {out}")
        raise typer.Exit(1)


def _counted(kind: Kind, seed: int, numbers: range, jobs: int, out: Path) -> tuple[Counter[str], float]:
    """How many inputs ended how, and the seconds that it took."""
    started = time.monotonic()
    size = -(-len(numbers) // jobs)
    parts: Sequence[Job] = [
        Job(kind, seed, range(start, min(start + size, numbers.stop)))
        for start in range(numbers.start, numbers.stop, size)
    ]
    with ThreadPoolExecutor(jobs) as pool:
        counts = sum(pool.map(lambda job: done(job, out), parts), Counter[str]())
    seconds = time.monotonic() - started
    print(f"{kind.name}: {dict(counts)} in {seconds:.0f} s", file=sys.stderr, flush=True)
    return counts, seconds


if __name__ == "__main__":
    typer.run(main)
