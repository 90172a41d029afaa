"""How a loss weight grows while training goes on. Needs no torch: a recipe's plan is derived without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weight:
    """How much a lesson counts in its learner's loss: from which fraction of the training on, and when in full.

    A weight that grows evenly from `start` to `full` is a ramp-up (Laine and Aila 2017). The average that teaches is
    short; what a sudden lesson breaks, it would go on teaching.
    """

    weight: float = 1.0
    start: float = 0.0
    full: float = 0.0

    def at(self, progress: float) -> float:
        """Returns the weight when a fraction `progress` of the training is done."""
        if progress < self.start:
            return 0.0
        return (
            self.weight if progress >= self.full else self.weight * (progress - self.start) / (self.full - self.start)
        )
