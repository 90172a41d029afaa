"""What is measured of a painter while it learns: whether its pictures are read as they were meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from semivae.game.game import Game
from semivae.game.painter import Painting
from semivae.monitoring.failures import Failure, Row
from semivae.monitoring.measures import (
    SAMPLES,
    LabelMetrics,
    SampleMetrics,
    class_consistency,
    draw_samples,
    eval_mode,
    mean_of,
)
from semivae.monitoring.validator import PICTURES
from semivae.scenario.build import Scenario
from semivae.seeds import seed_for
from semivae.variables import Sample


class PaintingValidator:
    """Measures a painter, beside the players of the finished game.

    Args:
        painting: its lessons.
        scenario: that of the game.
        part: the validation part, as for `semivae.monitoring.validator.Validator`.
    """

    def __init__(self, painting: Game, scenario: Scenario, part: Mapping[str, Tensor]) -> None:
        assert isinstance(painting, Painting)
        self.painting, self.scenario, self.part = painting, scenario, part

    def measure(self, step: int) -> dict[str, Any]:
        """Returns a part of a row of metrics; only `read_as_intended` is measured, on the painter's pictures.

        Where the encoder sees features of them, `semivae diagnose` measures it.
        """
        decoder, reader, roles = self.scenario.game.decoder, self.painting.ema_encoder, self.scenario.roles
        read = None
        if roles.image_label is not None:
            sample = self._sample(step, SAMPLES)
            if roles.shown == roles.image and {roles.image, roles.image_label} <= set(sample):
                with eval_mode(decoder):
                    pictures = self.painting.painter.picture(sample)
                read = mean_of(class_consistency(reader, roles, pictures, sample[roles.image_label]))
        return {**asdict(LabelMetrics()), **asdict(SampleMetrics(read_as_intended=read))}

    @torch.no_grad()
    def pictures(self, step: int, count: int = PICTURES) -> Tensor | None:
        """Returns what the painter makes of samples of the decoder, [count, *shape]."""
        sample = self._sample(step, count)
        if self.scenario.roles.shown not in sample:
            return None
        with eval_mode(self.scenario.game.decoder):
            return self.painting.painter.picture(sample)

    def _sample(self, step: int, count: int) -> Sample:
        seed = seed_for(self.scenario.recipe.training.seed, "painted", step)
        return draw_samples(self.scenario.game.decoder, self.scenario.roles, count, seed, dict(self.part))

    def new_failures(self, rows: Sequence[Row]) -> list[Failure]:
        """Returns no failures: none of them is a painter's."""
        return []
