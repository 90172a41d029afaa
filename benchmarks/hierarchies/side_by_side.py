"""Training steps of the authors' code and of ours in turn, so that both meet the same machine in the same state."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.hierarchies.peer import Clock, run_script
from semivae.game.game import Game
from semivae.recipe import Recipe, change_recipe, read_recipe
from semivae.scenario.build import build_game
from semivae.scenario.plan import plan_of
from semivae.training.optimizer import Optimizers

Precision = Literal["float32", "bfloat16"]
IMAGES = 4096  # of noise: what a step costs does not depend on what is in the pictures


def recipe_with(batch: int, width: int, **changes: Any) -> Recipe:
    """mnist_ladder with this batch and these channels, and no data yet."""
    sizes = {"streams.images.batch": batch, "streams.prior.batch": batch}
    widths = {"decoder.x.net.width": width, "bottom_up.width": width}
    return change_recipe(read_recipe("mnist_ladder"), {**sizes, **widths, **changes})


class Stepper:
    """Our game, ready to take single steps.

    Args:
        recipe: an unsupervised one whose variables all say their shape.
        images: float32 [n, 1, 28, 28].
    """

    def __init__(self, recipe: Recipe, images: Tensor) -> None:
        self.images, self.batch = images, recipe.streams["images"].batch
        self.game: Game = build_game(recipe, plan_of(recipe), torch.device("cpu"))
        self.optimizers = Optimizers.of_game(self.game, recipe.training)
        self.generator = torch.Generator()

    def step(self, precision: Precision) -> None:
        rows = torch.randint(len(self.images), (self.batch,))
        batches = {"images": {"x": self.images[rows]}, "prior": {}}
        sizes = dict.fromkeys(batches, self.batch)
        # progress 1: with every lesson that a training ever has, those that start late too
        step = self.game.begin(batches, sizes, 1.0, self.generator)
        for players in self.game.turns:
            with context_of(precision):
                losses = self.game.loss(players, step)
            self.optimizers.step(players, losses, 0)
        self.game.update_average()


def context_of(precision: Precision) -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def side_by_side(
    checkout: Path,
    batch: int,
    width: int,
    steps: int,
    precision: Precision,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Median seconds a step of the symmetric game on the ladder, by a clock; the first step of each is left out.

    Their code knows float32 alone; for bfloat16 their whole script runs in the context that ours runs in.
    """
    images = (torch.rand(IMAGES, 1, 28, 28) < 0.2).float()
    stepper = Stepper(recipe_with(batch, width), images)
    seconds: dict[str, list[float]] = {"authors": [], "ours": []}
    ended = [0.0]

    def our_turn(done: int, _: float) -> None:
        if done:
            seconds["authors"].append(clock() - ended[0])
        torch.autograd.set_detect_anomaly(False)  # theirs, and global
        began = clock()
        stepper.step(precision)
        seconds["ours"].append(clock() - began)
        torch.autograd.set_detect_anomaly(True)
        ended[0] = clock()

    with tempfile.TemporaryDirectory() as working, context_of(precision):
        watch = Clock(steps=steps, every=0.0, look=our_turn)
        run_script(checkout.resolve(), "mnist-ladder", "symmetric", images, batch, 1e-4, watch, width=width,
                   working=Path(working), made=[])  # fmt: skip
    medians = {name: median(values[1:]) for name, values in seconds.items()}
    return {
        "steps": steps,
        "precision": precision,
        "seconds": {name: [round(value, 4) for value in values] for name, values in seconds.items()},
        "median": medians,
        "ratio": medians["authors"] / medians["ours"],
    }
