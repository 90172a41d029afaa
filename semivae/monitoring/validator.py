"""A validation: what is measured every so often while a game is played, and what there is to warn of.

Draws come from a seed of the step's own and the images are fixed, so that a validation changes nothing that is learnt
and a resumed run finds what the uninterrupted one found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from semivae.game.game import Game
from semivae.monitoring.failures import Alarm, Row, Setting, alarms, new_alarms, worse_than_twin
from semivae.monitoring.measures import (
    SAMPLES,
    LabelFindings,
    SampleFindings,
    draw_samples,
    examine_label,
    examine_samples,
    gates_in,
    setting_of,
)
from semivae.scenario.build import Scenario
from semivae.seeds import seed_for
from semivae.variables import Sample


class Validator:
    """Examines one phase's game.

    Args:
        phase: "model", or "twin", whose decoder learns nothing and is not looked at.
        game: what is examined.
        scenario: what it was made from.
        part: the validation part, images and labels on the game's device; may be empty.
        classes: names of the label's classes.
    """

    def __init__(
        self, phase: str, game: Game, scenario: Scenario, part: Mapping[str, Tensor], classes: Sequence[str]
    ) -> None:
        self.phase, self.game, self.part, self.classes = phase, game, part, classes
        self.recipe, self.roles, self.plan = scenario.recipe, scenario.roles, scenario.plan
        self.images = part if len(part[self.roles.image]) else self._unlabelled(scenario)

    def _unlabelled(self, scenario: Scenario) -> Sample:
        """A few hundred unlabelled images, which show at least the classes' shares."""
        inputs, labels = set(self.roles.inputs), set(self.roles.labels)
        for stream in scenario.streams.values():
            if self.phase == "model" and inputs.issubset(stream.observes) and labels.isdisjoint(stream.observes):
                steps = range(math.ceil(SAMPLES / stream.batch_size))
                batches = [stream.batch(step) for step in steps]
                most = min(SAMPLES, stream.size or SAMPLES)
                return {name: torch.cat([batch[name] for batch in batches])[:most] for name in self.roles.inputs}
        return {name: self.part[name] for name in self.roles.inputs}

    def measure(self, step: int) -> dict[str, Any]:
        """A row's part of a run's metrics: `LabelFindings`, and of the model `SampleFindings`.

        Raises:
            FloatingPointError: a network puts out values that are not finite.
        """
        label, samples = LabelFindings(), SampleFindings()
        if self.roles.predicted is not None:
            threshold = min((gate.threshold for gate in gates_in(self.recipe)), default=None)
            label = examine_label(self.game.ema_encoder, self.roles, self.images, threshold)
        if self.phase == "model":
            seed = seed_for(self.recipe.training.seed, "bits", step)
            drawn = draw_samples(self.game.decoder, self.roles, SAMPLES, seed, dict(self.part))
            samples = examine_samples(self.game.decoder, self.game.ema_encoder, self.roles, drawn)
        return {**asdict(label), **asdict(samples)}

    def new_alarms(self, rows: Sequence[Row]) -> list[Alarm]:
        """What the last of `rows` gives reason to warn of, and no row before it has told."""
        model, own = ([row for row in rows if row["phase"] == phase] for phase in ("model", self.phase))
        setting = self._setting()
        found = alarms(own, setting) if self.phase == "model" else list(worse_than_twin(model, own, setting))
        return new_alarms(found, own[:-1])

    def _setting(self) -> Setting:
        return setting_of(self.recipe, self.roles, self.plan, self.game.decoder, self.images, self.classes)
