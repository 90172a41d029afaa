"""Predicted numbers of a run, with intervals by its validation examples (`semivae.tasks.number_intervals`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semivae.classification.classifier import Classifier
from semivae.data.inputs.pieces import AnyExamples
from semivae.errors import RunError
from semivae.tasks.kinds import NUMBERS
from semivae.tasks.number_intervals import COVERAGE, Intervals

BESIDE = ("name", "deviation", "low", "high", "novelty", "novelty_p")  # columns that stand beside the number's


@dataclass(frozen=True)
class PredictedNumbers:
    """Predictions in the label's unit.

    Attributes:
        means, scales: mean and standard deviation of q(label | image), float32 [n, *shape].
        low, high: bounds of the intervals, float32 [n, *shape]; None without intervals.
        coverage: of the intervals; None without.
        count: the number of validation examples that they rest on.
        unit: the label's unit, or "".
    """

    means: NDArray[np.float32]
    scales: NDArray[np.float32]
    low: NDArray[np.float32] | None = None
    high: NDArray[np.float32] | None = None
    coverage: float | None = None
    count: int = 0
    unit: str = ""

    def columns(self, label: str) -> Mapping[str, list[float]]:
        """Returns the values by column: the label's name, "deviation", "low" and "high"; of a vector, NAME_0, ...

        A label whose name is one of `BESIDE` has its numbers under "NAME_mean".
        """
        label = f"{label}_mean" if label in BESIDE else label
        parts = {label: self.means, "deviation": self.scales, "low": self.low, "high": self.high}
        found: dict[str, list[float]] = {}
        for name, values in parts.items():
            if values is None:
                continue
            if values.ndim == 1:
                found[name] = values.tolist()
                continue
            for place, column in enumerate(values.T):
                found[f"{name}_{place}" if name == label else f"{name}_{label}_{place}"] = column.tolist()
        return found

    def facts(self) -> dict[str, Any]:
        """Returns what the predictions are, JSON-serialisable: "unit", "coverage", and "calibrated_on" (examples)."""
        return {"unit": self.unit, "coverage": self.coverage, "calibrated_on": self.count}


def predict_numbers(classifier: Classifier, images: AnyExamples, coverage: float | None = None) -> PredictedNumbers:
    """Returns the predictions of images, with intervals.

    Args:
        classifier: of a run whose label is a number.
        images: as `TrainedModel.read` returns them, or in pieces.
        coverage: of the intervals, in (0, 1). None: 90%, or no intervals if the run has too few validation examples.

    Raises:
        RunError: the label is no number, or the validation examples cannot promise the coverage.
    """
    run = classifier.run
    if run.task is not NUMBERS:
        raise RunError(f"{run.path}: intervals are of numbers, but {run.label} is of the kind {run.task.name}")
    outputs = torch.cat(list(classifier.in_parts(images)))
    means, scales = (part.numpy() for part in outputs.unbind(dim=1))
    unit = run.recipe.variables[run.label].unit
    intervals = intervals_of(classifier)
    if intervals is None:
        if coverage is not None:
            raise RunError(
                f"{run.path}: intervals need validation examples, and the run has none (split.validation); leave out "
                "the coverage"
            )
        return PredictedNumbers(means, scales, unit=unit)
    if coverage is None and not intervals.promises(COVERAGE):
        return PredictedNumbers(means, scales, unit=unit)
    asked = COVERAGE if coverage is None else coverage
    low, high = (part.float().numpy() for part in intervals.bounds(outputs, asked).unbind(dim=1))
    return PredictedNumbers(means, scales, low, high, asked, intervals.count, unit)


def intervals_of(classifier: Classifier) -> Intervals | None:
    """Returns the intervals that a run's validation examples promise; None if it has none."""
    return None if classifier.chosen is None else Intervals.kept(classifier.chosen)
