"""How long a training will take on this machine, from a few of its steps: `semivae start --time`."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from semivae.recipe import read_recipe

if TYPE_CHECKING:
    from semivae.training.progress import Progress

SECONDS = 5.0  # of steps that are looked at; of slower steps, two
STEPS = 2


class _EnoughError(Exception):
    """Ends the training whose steps are looked at."""


class _Watch:
    """Hears a training, leaves out what comes before its first step has ended, and stops it."""

    def __init__(self) -> None:
        self.start: tuple[float, int] | None = None
        self.end = (0.0, 0)

    def __call__(self, progress: Progress) -> None:
        if progress.step < 1:
            return
        self.end = (time.perf_counter(), progress.step)
        self.start = self.start or self.end
        seconds, steps = self.taken
        if seconds >= SECONDS and steps >= STEPS:
            raise _EnoughError

    @property
    def taken(self) -> tuple[float, int]:
        """Seconds, and the steps in them."""
        first = self.start or self.end
        return self.end[0] - first[0], self.end[1] - first[1]


def time_estimate(recipe: Path) -> str:
    """Says how long a recipe's training will take, after a few steps in a folder that is deleted.

    Of a recipe with features nothing is tried: before it computes them, a training says how long that takes.
    """
    read = read_recipe(recipe)
    if read.features:
        return (
            "time: the pictures go through the pretrained network once, and training says first how long that takes; "
            "the steps after it take a minute or two on two processor cores"
        )
    from semivae.training.train import train

    watch, steps = _Watch(), read.training.steps
    alone = {"training.twin": False, "training.validate_every": steps}
    with tempfile.TemporaryDirectory() as folder, suppress(_EnoughError):
        train(recipe, set=alone, out=Path(folder) / "run", progress=watch)
    seconds, taken = watch.taken
    twin = "; the supervised twin, which sees labelled examples alone, takes less" if read.training.twin else ""
    if not taken:
        return f"time: below a second for {steps:,} steps{twin}"
    whole = duration(seconds / taken * steps)
    return f"time: about {whole} on this machine for {steps:,} steps, by {taken:,} of them{twin}"


def duration(seconds: float) -> str:
    """Seconds as people say them, rounded: "40 seconds", "12 minutes", "2.5 hours"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds" if seconds >= 1.5 else "a second"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
