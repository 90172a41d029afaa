"""Estimators that may set examples with a label aside, to choose or to promise something by them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from semivae.recipe import Recipe
from semivae.sklearn.base import SemiVAEEstimator


class HoldingOut(SemiVAEEstimator):
    """An estimator with a `validation_share`: the fraction of the examples with a label that is not trained on."""

    def __init__(
        self,
        recipe: str | Path | Recipe | None = None,
        *,
        validation_share: float = 0.0,
        steps: int | None = None,
        set: Mapping[str, object] | None = None,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.recipe = recipe
        self.validation_share = validation_share
        self.steps = steps
        self.set = set
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def _set_aside(self, known: int, what: str) -> int:
        """How many of the known examples are set aside for validation. Raises ValueError for all but a fraction."""
        share: Any = self.validation_share
        if not isinstance(share, Real) or not 0.0 <= float(share) < 1.0:
            raise ValueError(f"validation_share={share!r} is no fraction from 0 to below 1")
        aside = round(float(share) * known)
        if aside > known - 2:
            raise ValueError(
                f"validation_share={share} sets aside {aside} of {known} examples with {what}; give a smaller fraction"
            )
        return aside
