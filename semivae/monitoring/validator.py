"""Validation: the measurements at regular intervals of a training, and the failures that they show.

Draws come from a seed of the step's own and the images are fixed. A validation therefore changes nothing that is
learnt, and a resumed run measures the same as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from semivae.game.game import Game
from semivae.monitoring.context import context_of, smallest_threshold
from semivae.monitoring.failures import Failure, Row, find_failures, new_failures, worse_than_twin
from semivae.monitoring.measures import (
    SAMPLES,
    LabelMetrics,
    SampleMetrics,
    draw_samples,
    eval_mode,
    measure_label,
    measure_samples,
)
from semivae.scenario.build import Scenario
from semivae.seeds import seed_for
from semivae.variables import Sample

PICTURES = 64  # of the decoder's samples, for loggers


class Validator:
    """Measures the game of one phase.

    Args:
        phase: "model", or "twin", whose decoder learns nothing and is not measured.
        game: the game.
        scenario: the scenario that it belongs to.
        part: the validation part, images and labels on the game's device; may be empty.
        classes: names of the label's classes.
        steps: of the whole training; None: as the recipe says.
    """

    def __init__(
        self,
        phase: str,
        game: Game,
        scenario: Scenario,
        part: Mapping[str, Tensor],
        classes: Sequence[str],
        steps: int | None = None,
    ) -> None:
        self.steps = steps or scenario.recipe.training.steps
        self.phase, self.game, self.part, self.classes = phase, game, part, classes
        self.recipe, self.roles, self.plan = scenario.recipe, scenario.roles, scenario.plan
        self.images = part if len(part[self.roles.image]) else self._unlabelled(scenario)

    def _unlabelled(self, scenario: Scenario) -> Sample:
        """Returns a few hundred unlabelled images, which show at least the class frequencies."""
        inputs, labels = set(self.roles.inputs), set(self.roles.labels)
        for stream in scenario.streams.values():
            if self.phase == "model" and inputs.issubset(stream.observes) and labels.isdisjoint(stream.observes):
                steps = range(math.ceil(SAMPLES / stream.batch_size))
                batches = [stream.batch(step) for step in steps]
                most = min(SAMPLES, stream.size or SAMPLES)
                return {name: torch.cat([batch[name] for batch in batches])[:most] for name in self.roles.inputs}
        return {name: self.part[name] for name in self.roles.inputs}

    def measure(self, step: int) -> dict[str, Any]:
        """Returns a part of a row of metrics: `LabelMetrics` and, of the model, `SampleMetrics`.

        Raises:
            FloatingPointError: a network returns values that are not finite.
        """
        label, samples = LabelMetrics(), SampleMetrics()
        if self.roles.predicted_label is not None:
            threshold = smallest_threshold(self.recipe)
            label = measure_label(self.game.ema_encoder, self.roles, self.images, threshold)
        if self.phase == "model":
            seed = seed_for(self.recipe.training.seed, "bits", step)
            sample = draw_samples(self.game.decoder, self.roles, SAMPLES, seed, dict(self.part))
            samples = measure_samples(self.game.decoder, self.game.ema_encoder, self.roles, sample)
        return {**asdict(label), **asdict(samples)}

    @torch.no_grad()
    def pictures(self, step: int, count: int = PICTURES) -> Tensor | None:
        """Returns the pictures' means in the decoder's samples, [count, *shape]; None where it draws none.

        The twin's decoder learns nothing, and some decoders have no factor of pictures.
        """
        decoder, image = self.game.decoder, self.roles.shown
        if self.phase != "model" or image not in decoder:
            return None
        seed = seed_for(self.recipe.training.seed, "bits", step)
        sample = draw_samples(decoder, self.roles, count, seed, dict(self.part))
        if image not in sample:
            return None
        with eval_mode(decoder):
            means: Tensor = decoder[image](sample).mean
        return means

    def new_failures(self, rows: Sequence[Row]) -> list[Failure]:
        """Returns the failures at the last of `rows` that no earlier row reports."""
        model, own = ([row for row in rows if row["phase"] == phase] for phase in ("model", self.phase))
        context = context_of(self.recipe, self.roles, self.plan, self.game.decoder, self.images, self.classes)
        context = replace(context, steps=self.steps)
        found = find_failures(own, context) if self.phase == "model" else worse_than_twin(model, own, context)
        return new_failures(list(found), own[:-1])
