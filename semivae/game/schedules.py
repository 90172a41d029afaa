"""How a loss weight grows while training goes on. Needs no torch: a recipe's plan is derived without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weight:
    """How much a lesson counts in its learner's loss, from which share of the training on, and from which on in full.

    A weight that grows evenly from `start` to `full` is a ramp-up (Laine and Aila 2017): the average that teaches is a
    short one, and what a sudden lesson breaks it would teach on.
    """

    weight: float = 1.0
    start: float = 0.0
    full: float = 0.0

    def at(self, share: float) -> float:
        if share < self.start:
            return 0.0
        return self.weight if share >= self.full else self.weight * (share - self.start) / (self.full - self.start)
