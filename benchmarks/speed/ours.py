"""This toolkit's training, a turn at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import torch

from benchmarks.speed.examples import Examples
from semivae.monitoring.measures import measure_label
from semivae.monitoring.validator import Validator
from semivae.runs.checkpoint import Facts
from semivae.scenario.build import build_scenario
from semivae.training.phase import Listener, Phase
from semivae.training.records import Records


class Ours:
    """The game of a recipe with its streams, views and optimizers, as `semivae train` plays it.

    Args:
        examples: the recipe and its data.
        progress: where in the training its first step is, in [0, 1]: lessons start and grow at their times.
    """

    def __init__(self, examples: Examples, progress: float = 0.0) -> None:
        recipe, data, parts = examples.recipe, examples.data, examples.parts
        scenario = build_scenario(recipe, data, parts, torch.device("cpu"))
        self.part = {name: values[parts.validation] for name, values in data.train.items()}
        self.roles = scenario.roles
        validator = Validator("model", scenario.game, scenario, self.part, data.classes, recipe.training.steps)
        records = Records(Path(), "model", Facts(), writes=False)
        listener = Listener(lambda _: None, threading.Event())
        self.phase = Phase(scenario.game, scenario, validator, records, listener)
        self.phase.step = int(progress * recipe.training.steps)
        seen = [stream for stream in recipe.streams.values() if "x" in stream.observe]
        viewed = [stream for stream in seen if stream.views is not None]
        # a stream for the decoder alone is a part of what the others cost, not more images
        self.images = sum(stream.batch for stream in viewed or seen)

    def turn(self, steps: int) -> int:
        for _ in range(steps):
            self.phase._take_step()
        self.phase.optimizers.check()
        return steps * self.images

    def error(self) -> float:
        found = measure_label(self.phase.game.ema_encoder, self.roles, self.part, None).validation_error
        assert found is not None
        return found
