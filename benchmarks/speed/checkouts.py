"""What a step costs: operations, waits and time a step, of this checkout or of several in turn.

    python -m benchmarks.speed checkouts --data-root DATA
    python -m benchmarks.speed checkouts --data-root DATA --recipes digits_50labels,mnist_100labels --old OTHER_CHECKOUT

Counts do not depend on what else the machine does: a *kernel* is an operation that computes (views of a tensor and
empty ones left out; one call for many tensors counts once), a *wait* is one that a GPU would stand still for (a number
asked for by Python). Times are processor time, alternating between the checkouts, with one thread. Each checkout runs
in a process of its own that goes through public doors: what a GPU would do is counted on a CPU.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks.common.machine import machine_text, stamp
from benchmarks.made_data import lay_out_data

RECIPES = "digits_50labels,mnist_100labels,fashion_mnist_1000labels,cifar10_4000labels_cpu,faces_masks,mnist_ladder"
SMALL: dict[str, object] = {
    "split.labelled": 100,
    "split.validation": 50,
}  # the made CIFAR-10 has few images; a step has as many
CHANGES: dict[str, dict[str, object]] = {"cifar10_4000labels": SMALL, "cifar10_4000labels_cpu": SMALL}
WORKER = r"""
import json, resource, sys, time
from collections import Counter
import torch
from torch.utils._python_dispatch import TorchDispatchMode
torch.set_num_threads(1)
import semivae
try:
    from semivae.training.phase import Phase
except ImportError:  # before it had this name
    from semivae.training_loop import Loop as Phase
STEP = "_take_step" if hasattr(Phase, "_take_step") else "_step"
try:
    from semivae.training import muon
except ImportError:
    muon = None
try:
    from semivae.cli.freed_memory import keep_freed_memory
    keep_freed_memory()  # as `semivae train` does
except ImportError:
    pass

FREE = {"view", "_unsafe_view", "reshape", "expand", "t", "transpose", "permute", "slice", "select", "unsqueeze",
    "squeeze", "detach", "alias", "as_strided", "unbind", "split", "chunk", "split_with_sizes", "empty", "empty_like",
    "empty_strided", "new_empty", "new_empty_strided", "_local_scalar_dense", "is_nonzero", "view_as", "lift_fresh",
    "unfold", "diagonal", "_record_function_enter_new", "_record_function_exit",
    "movedim", "narrow", "mT", "_reshape_alias", "numpy_T", "is_same_size", "equal"}
WAITS = {"_local_scalar_dense", "is_nonzero", "nonzero", "equal"}

class Count(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.found, self.waits = Counter(), 0
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.found[name] += name not in FREE
        self.waits += name in WAITS
        return function(*args, **(kwargs or {}))

class Enough(Exception):
    pass

original = getattr(Phase, STEP)

def serve(job):
    times, counts, steps = [], {}, job["steps"]
    def take(self):
        if self.step == 0:
            self.step = int(job["at"] * self.spec.steps)  # the lessons of that time
        serve.taken += 1
        if serve.taken <= 2:
            return original(self)
        if serve.taken == 3:
            if hasattr(self.optimizers, "wait"):
                self.optimizers.wait = False  # as on a GPU
            one_dnn = getattr(muon, "_has_one_dnn", None)
            if one_dnn:
                muon._has_one_dnn = lambda: False
            with Count() as count:
                original(self)
            if one_dnn:
                muon._has_one_dnn = one_dnn
            if hasattr(self.optimizers, "wait"):
                self.optimizers.wait = True
            counts.update(kernels=sum(count.found.values()), waits=count.waits, most=count.found.most_common(12))
            return
        start = time.process_time()
        original(self)
        times.append(time.process_time() - start)
        if len(times) == steps:
            self.optimizers.check() if hasattr(self.optimizers, "check") else None
            raise Enough
    serve.taken = 0
    setattr(Phase, STEP, take)
    try:
        semivae.train(job["recipe"], set=job["changes"], out=job["out"], data_root=job["data_root"], device="cpu",
                      overwrite=True)
    except Enough:
        pass
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"times": times, **counts, "memory": memory, "error": ""}

for line in sys.stdin:
    try:
        answer = serve(json.loads(line))
    except Exception as failure:
        answer = {"error": f"{type(failure).__name__}: {failure}"}
    print(json.dumps(answer), flush=True)
"""


def checkouts(
    data_root: Annotated[Path, typer.Option(help="where the data lie")] = Path("data"),
    recipes: Annotated[str, typer.Option(help="names, with commas between")] = RECIPES,
    old: Annotated[
        list[Path] | None, typer.Option(help="another checkout to alternate with; may be given again")
    ] = None,
    rounds: Annotated[int, typer.Option(help="alternating rounds")] = 3,
    steps: Annotated[int, typer.Option(help="timed steps a round")] = 5,
    at: Annotated[float, typer.Option(help="the share of the training whose lessons are timed")] = 0.6,
    precision: Annotated[str, typer.Option(help="of the networks; `auto` is as shipped")] = "float32",
    out: Annotated[Path | None, typer.Option(help="a JSON file for all figures")] = None,
) -> None:
    """Count and time the steps of recipes, of this checkout or of several in turn."""
    console = Console(width=160)
    compared = [Path(__file__).resolve().parents[2], *(path.resolve() for path in old or ())]
    found: dict[str, list[dict[str, Any]]] = {}
    console.print(
        "| recipe | checkout | kernels | waits | ms a step | time of the first / of this |\n|---|---|---|---|---|---|"
    )
    for recipe in recipes.split(","):
        found[recipe] = measured(recipe, compared, data_root.resolve(), rounds, steps, at, precision)
        for checkout, figures in zip(compared, found[recipe], strict=True):
            console.print(_row(recipe, checkout.name, figures, found[recipe][0]), markup=False)
    facts = stamp(torch.device("cpu"))
    console.print(f"\n{machine_text(facts['machine'])}; torch {torch.__version__}; {facts['date']}", markup=False)
    if out is not None:
        out.write_text(json.dumps({**facts, "recipes": found}, indent=1))


def measured(
    recipe: str, checkouts: list[Path], data: Path, rounds: int, steps: int, at: float, precision: str
) -> list[dict[str, Any]]:
    """The figures of one recipe by each checkout; the rounds alternate between them."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "data"
        lay_out_data(root, data)
        workers = [_worker(checkout) for checkout in checkouts]
        answers: list[list[dict[str, Any]]] = [[] for _ in checkouts]
        for _ in range(rounds):
            for number, worker in enumerate(workers):
                job = {
                    "recipe": recipe,
                    "changes": {
                        "training.precision": precision,
                        "training.validate_every": 10**9,
                        **CHANGES.get(recipe, {}),
                    },
                    "out": f"{scratch}/{number}",
                    "data_root": str(root),
                    "steps": steps,
                    "at": at,
                }
                assert worker.stdin is not None and worker.stdout is not None
                worker.stdin.write(json.dumps(job) + "\n")
                worker.stdin.flush()
                answers[number].append(json.loads(worker.stdout.readline()))
        for worker in workers:
            worker.communicate()
    return [_together(of_one) for of_one in answers]


def _worker(checkout: Path) -> subprocess.Popen[str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", WORKER]
    return subprocess.Popen(
        command, env=environment, cwd=tempfile.gettempdir(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _together(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    if errors := [answer["error"] for answer in rounds if answer["error"]]:
        return {"error": errors[0]}
    times = [statistics.median(answer["times"]) for answer in rounds]
    return {**rounds[0], "times": times, "memory": max(answer["memory"] for answer in rounds)}


def _row(recipe: str, name: str, figures: dict[str, Any], first: dict[str, Any]) -> str:
    if figures["error"]:
        return f"| {recipe} | {name} | {figures['error'][:100]} | | | |"
    ratios = (
        [own / other for own, other in zip(first["times"], figures["times"], strict=True)] if "times" in first else []
    )
    ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]" if ratios else ""
    time = 1000 * statistics.median(figures["times"])
    return f"| {recipe} | {name} | {figures['kernels']:,} | {figures['waits']} | {time:.1f} | {ratio} |"
