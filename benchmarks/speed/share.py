"""How much of what a processor can multiply in the same minute a training step of each recipe does.

    python -m benchmarks.speed share --data-root DATA

Floating-point operations are those of torch's formulas for products and convolutions, two for a multiplication and its
sum; the rate is theirs over the processor time of a step, all else included. It is divided by that of a product of two
matrices of 1024 x 1024, and of a convolution, both in the precision of the step, one thread, between the steps.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from unittest import mock

import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

import semivae
from benchmarks.common.machine import machine_text, stamp
from benchmarks.made_data import lay_out_data
from benchmarks.speed.checkouts import CHANGES, RECIPES
from semivae.cli.freed_memory import keep_freed_memory
from semivae.training import muon
from semivae.training.phase import Phase

SIDE = 1024  # of the matrices
SKIPPED = 2  # steps that are not timed


class EnoughError(Exception):
    """Ends a training that was measured."""


@dataclass
class Measured:
    """Of one recipe: operations of a step, processor seconds of steps, and operations a second of what is compared.

    Args:
        at: the share of the training whose lessons are measured.
        steps: how many are timed.
    """

    at: float
    steps: int
    operations: int = 0
    seconds: list[float] = field(default_factory=list)
    products: list[float] = field(default_factory=list)
    convolutions: list[float] = field(default_factory=list)
    precision: str = ""
    taken: int = 0

    def take(self, phase: Phase, step: Callable[[Phase], None]) -> None:
        """Takes a step of a training: the first ones unmeasured, the next one counted, the others timed."""
        if self.taken == 0:
            phase.step = int(self.at * phase.spec.steps)
            self.precision = phase.spec.precision
        self.taken += 1
        if self.taken <= SKIPPED:
            step(phase)
        elif self.taken == SKIPPED + 1:
            # torch's formulas are of its own products alone
            with mock.patch.object(muon, "_has_one_dnn", lambda: False), FlopCounterMode(display=False) as counter:
                step(phase)
            self.operations = counter.get_total_flops()
        else:
            dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
            self.products.append(rate_of_products(dtype))
            self.convolutions.append(rate_of_convolutions(dtype))
            start = time.process_time()
            step(phase)
            self.seconds.append(time.process_time() - start)
            if len(self.seconds) == self.steps:
                raise EnoughError

    def row(self, recipe: str) -> str:
        """A row of the table, in Markdown."""
        time, rate = statistics.median(self.seconds), self.operations / statistics.median(self.seconds)
        product, convolution = statistics.median(self.products), statistics.median(self.convolutions)
        return (
            f"| {recipe} | {self.precision} | {self.operations / 1e9:.1f} | {1000 * time:.1f} | {rate / 1e9:.0f} "
            f"| {product / 1e9:.0f} | {convolution / 1e9:.0f} | {rate / product:.0%} | {rate / convolution:.0%} |"
        )


def rate_of(compute: Callable[[], object], operations: int) -> float:
    """Operations a second of processor time: of the shortest of five."""
    times = []
    for _ in range(5):
        start = time.process_time()
        compute()
        times.append(time.process_time() - start)
    return operations / min(times)


def rate_of_products(dtype: torch.dtype) -> float:
    one, two = torch.randn(SIDE, SIDE, dtype=dtype), torch.randn(SIDE, SIDE, dtype=dtype)
    return rate_of(lambda: one @ two, 2 * SIDE**3)


def rate_of_convolutions(dtype: torch.dtype) -> float:
    images = torch.randn(64, 64, 32, 32, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(64, 64, 3, 3, dtype=dtype)
    return rate_of(lambda: F.conv2d(images, weight, padding=1), 2 * images.numel() * 64 * 9)


def share(
    data_root: Annotated[Path, typer.Option(help="where the data lie")] = Path("data"),
    recipes: Annotated[str, typer.Option(help="names, with commas between")] = RECIPES,
    steps: Annotated[int, typer.Option(help="timed steps")] = 7,
    at: Annotated[float, typer.Option(help="the share of the training whose lessons are measured")] = 0.6,
    precision: Annotated[str, typer.Option(help="of the networks; `auto` is as shipped")] = "auto",
) -> None:
    """Compare the arithmetic of steps with what the processor can do."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as `semivae train` does
    console = Console(width=160)
    console.print("| recipe | precision | GFLOP | ms a step | GFLOP/s | product | convolution | of it | of it |")
    console.print("|---|---|---|---|---|---|---|---|---|")
    step = Phase._take_step
    for recipe in recipes.split(","):
        measured = Measured(at, steps)
        with tempfile.TemporaryDirectory() as scratch:
            lay_out_data(Path(scratch) / "data", data_root.resolve())
            Phase._take_step = lambda phase, measured=measured: measured.take(phase, step)  # type: ignore[method-assign,misc]
            try:
                semivae.train(
                    recipe,
                    set={"training.precision": precision, "training.validate_every": 10**9, **CHANGES.get(recipe, {})},
                    out=Path(scratch) / "run",
                    data_root=Path(scratch) / "data",
                    device="cpu",
                )
            except EnoughError:
                console.print(measured.row(recipe), markup=False)
            finally:
                Phase._take_step = step  # type: ignore[method-assign]
    facts = stamp(torch.device("cpu"))
    console.print(f"\n{machine_text(facts['machine'])}; torch {torch.__version__}; {facts['date']}", markup=False)
