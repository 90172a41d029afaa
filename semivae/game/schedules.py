"""Loss weights that change during training. Imports no torch, because recipes are checked without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weight:
    """The weight of one loss term: 0 before the fraction `start` of the training, then linearly growing until `full`.

    The ramp-up is that of Laine and Aila (2017). The EMA teacher has a short memory: labels that a sudden new loss
    spoils, it would go on teaching.
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
