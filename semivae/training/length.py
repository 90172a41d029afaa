"""How long a training is: the steps of its recipe, and those that were added once it was finished.

What the recipe switches on in the course of training stays as it is at the end of the recipe's steps. The learning rate
begins again, at a share of the recipe's, with a warm-up, and follows the recipe's schedule over the added steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from semivae.recipe.schema import TrainingSpec
from semivae.runs.history import MoreSteps, total_steps

WARMUP_SHARE = 0.1  # of added steps that the warm-up takes at most


class Length:
    """The steps of a training, and the learning rate at each.

    Args:
        spec: the recipe's training section.
        continued: the steps that were added.
    """

    def __init__(self, spec: TrainingSpec, continued: Sequence[MoreSteps] = ()) -> None:
        self.spec, self.continued = spec, tuple(continued)
        self.total = total_steps(spec.steps, continued)

    def progress(self, step: int) -> float:
        """Returns the fraction of the recipe's steps that is done, 1 in all added ones."""
        return step / self.spec.steps if step < self.spec.steps else 1.0

    def rate_at(self, step: int, peak: float) -> float:
        """Returns the learning rate of a step: linear warm-up, then constant, or a half cosine down to 0.

        Args:
            step: its number.
            peak: the recipe's rate.
        """
        start, steps, share, warmup = self._part(step)
        peak, step = peak * share, step - start
        warm = min(1.0, (step + 1) / (warmup + 1))
        if self.spec.schedule == "constant":
            return peak * warm
        return peak * warm * 0.5 * (1.0 + math.cos(math.pi * step / steps))

    def _part(self, step: int) -> tuple[int, int, float, int]:
        """The part of the training that a step is in: its first step, its steps, its share of the rate, its warm-up."""
        for more in reversed(self.continued):
            if step >= more.from_step:
                warmup = max(1, round(WARMUP_SHARE * more.steps))
                return more.from_step, more.steps, more.learning_rate, warmup
        return 0, self.spec.steps, 1.0, self.spec.warmup
