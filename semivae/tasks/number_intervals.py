"""Split-conformal intervals of numbers, normalised by the predicted scale.

On n held-out examples with known numbers, score |y - mean| / scale. For a coverage c, the factor q is the k-th smallest
score, k = ceil((n + 1) c), and the interval of a new example is mean +- q scale. If the new example is exchangeable
with the held-out ones, the interval holds its number with probability at least c, and at most c + 1 / (n + 1) if scores
do not tie, whatever the network learnt. Source: Lei, G'Sell, Rinaldo, Tibshirani, Wasserman 2018, "Distribution-free
predictive inference for regression", section 5.2 (locally weighted). Of a vector, each number has intervals of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semivae.errors import RunError
from semivae.text import EXAMPLES, count_of

COVERAGE = 0.9  # of the intervals that are shown unasked
DIGITS = 6  # of a score that is kept


@dataclass(frozen=True)
class Intervals:
    """What intervals of any coverage are made from.

    Attributes:
        scores: of each number of the vector (one, if the label is a number), the scores of the held-out examples, in
            rising order.
    """

    scores: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, outputs: Tensor, labels: Tensor) -> Intervals:
        """Returns the intervals that held-out examples promise.

        Args:
            outputs: means and scales, [n, 2, *shape].
            labels: [n, *shape]; NaN is not known and promises nothing.
        """
        means, scales = outputs.double().reshape(len(outputs), 2, -1).unbind(dim=1)
        scores = (labels.double().reshape(len(labels), -1) - means).abs() / scales
        return cls(tuple(_shortened(column) for column in scores.T))

    @classmethod
    def kept(cls, chosen: Mapping[str, Any]) -> Intervals:
        """Returns the intervals that a run keeps (`facts`)."""
        return cls(tuple(tuple(column) for column in chosen["interval_scores"]))

    def facts(self) -> dict[str, Any]:
        """Returns them as a run keeps them: plain numbers, lists and dicts."""
        return {"interval_scores": [list(column) for column in self.scores]}

    @property
    def count(self) -> int:
        """The number of held-out examples, of a vector the smallest one."""
        return min(map(len, self.scores))

    def promises(self, coverage: float) -> bool:
        """Returns whether there are enough held-out examples for a coverage."""
        return self.count >= _place(self.count, coverage)

    def factors(self, coverage: float) -> tuple[float, ...]:
        """Returns the half width of an interval of this coverage, in predicted scales, of each number.

        Raises:
            RunError: the coverage is no proper fraction, or the held-out examples are too few to promise it.
        """
        if not 0.0 < coverage < 1.0:
            raise RunError(f"coverage is {coverage:g}, but must lie between 0 and 1, such as 0.9")
        if not self.promises(coverage):
            least = math.ceil(coverage / (1.0 - coverage) - 1e-9)
            raise RunError(
                f"{count_of(self.count, *EXAMPLES, before='validation')} cannot promise intervals with a coverage of "
                f"{coverage:.4g}; "
                f"ask for a lower one, or for {least:,} or more examples (split.validation)"
            )
        return tuple(column[_place(len(column), coverage) - 1] for column in self.scores)

    def bounds(self, outputs: Tensor, coverage: float) -> Tensor:
        """Returns lower and upper bounds, float64 [n, 2, *shape], of outputs [n, 2, *shape]; raises as `factors`."""
        means, scales = outputs.double().unbind(dim=1)
        half = scales * scales.new_tensor(self.factors(coverage)).reshape(scales.shape[1:])
        return torch.stack([means - half, means + half], dim=1)


def _place(count: int, coverage: float) -> int:
    """Which of `count` scores in rising order, from 1, is the factor of a coverage."""
    return math.ceil((count + 1) * coverage - 1e-9)  # without it, rounding would make 9.000000000000002 of 10 * 0.9


def _shortened(scores: Tensor) -> tuple[float, ...]:
    """The known scores in rising order, with as many digits as a run keeps."""
    return tuple(float(f"{score:.{DIGITS}g}") for score in scores[~scores.isnan()].sort().values.tolist())
