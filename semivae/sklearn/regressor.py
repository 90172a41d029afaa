"""SemiVAERegressor: a scikit-learn regressor that also learns from examples without a number."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import _safe_indexing, check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from semivae.api import Run
from semivae.classification.intervals import intervals_of
from semivae.data.dataset import Dataset, number_label
from semivae.data.formats.frame_cells import is_missing
from semivae.errors import RunError
from semivae.recipe import Recipe, change_recipe
from semivae.sklearn.base import in_blocks, seed_of
from semivae.sklearn.fitting import all_or_nothing, value_errors
from semivae.sklearn.holding_out import HoldingOut
from semivae.sklearn.saving import RegressorFacts, common_facts
from semivae.tasks.number_intervals import Intervals

Floats = NDArray[np.float64]


class SemiVAERegressor(RegressorMixin, HoldingOut):  # type: ignore[misc]
    """A regressor of rows of a table or of images that also learns from examples without a number, and generates.

    Args:
        recipe: what is trained: the name of a shipped recipe, a YAML file or a `Recipe` whose label is a number. None:
            `table_numbers` for rows, `arrays_numbers` for images. Its source and split are not used.
        validation_share: the fraction of the examples with a number that is set aside, not trained on, for intervals;
            0 for none, and then no intervals.
        steps: of training; None: as the recipe says.
        set: changes to the recipe, such as {"training.weight_decay": 0.01}.
        random_state: an integer makes the fit repeatable.
        device: "auto", "cpu", "cuda" or "mps".
        verbose: print how training gets on.

    Attributes:
        n_features_in_: columns of X, or numbers in an image.
        feature_names_in_: names of the columns, where X is a DataFrame.
        run_: the `semivae.Run`, with all its verbs. Its folder is gone: those that need the data do not work.
    """

    _kept_as: ClassVar = RegressorFacts

    @all_or_nothing
    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Trains the recipe on examples with and without a number.

        Args:
            X: rows [n, columns]; or images [n, height, width] or with 1 or 3 channels before or after these, bytes or
                floats in [0, 1].
            y: a number for each example, [n], or a row of numbers, [n, K]; NaN, None or NA where it is not known.

        Raises:
            ValueError: X or y is not of this kind, or fewer than two examples have a number.
            RecipeError: a recipe that is not valid, or does not fit X; a ValueError too.
            TrainingError: training diverges.
        """
        if y is None:
            raise ValueError("SemiVAERegressor requires y to be passed, but the target y is None")
        given = self._read(X, reset=True)
        check_consistent_length(given, y)
        numbers = read_numbers(y)
        known = ~np.isnan(numbers).reshape(len(numbers), -1).all(axis=1)
        if known.sum() < 2:
            raise ValueError(
                f"y holds a number for {known.sum()} samples; a minimum of 2 is required, so that numbers have a scale"
            )
        recipe = self._recipe_for(given, int(known.sum()))
        x, rows = self._fitted_examples(given, recipe), torch.from_numpy(known)
        y_known = torch.from_numpy(numbers[known].astype(np.float32))
        if bool((y_known == y_known[:1]).all()):  # one number is its own scale
            recipe = change_recipe(
                recipe, {"variables.y.mean": float(y_known.flatten()[0]), "variables.y.deviation": 1}
            )
        self._scores: tuple[tuple[float, ...], ...] | None = None
        data = Dataset(
            "data in memory",
            number_label(),
            train={"x": x[rows], "y": y_known},
            test={"x": x[:0], "y": y_known[:0]},
            unlabelled={"x": x[~rows]} if not bool(rows.all()) else {},
            test_origin="none",
            encoding=self._form.encoding,
        )

        def keep_intervals(run: Run) -> None:
            intervals = intervals_of(run.classifier())
            self._scores = None if intervals is None else intervals.scores

        self._fit_run(recipe, data, x, keep_intervals)
        return self

    def predict(self, X: Any, return_std: bool = False, coverage: float | None = None) -> Any:  # noqa: N803
        """The number of each example, float64 [n] or [n, K], in the unit of y.

        Args:
            X: as for `fit`.
            return_std: return also the predicted standard deviations.
            coverage: return also intervals, [n, 2] or [n, 2, K], that hold this share of the numbers of new examples
                (`semivae.tasks.number_intervals`).

        Returns:
            The numbers; or a tuple of the numbers, the deviations where asked for, and the intervals where asked for.

        Raises:
            ValueError: intervals of a fit without `validation_share`, or more coverage than that can promise.
        """
        x = self._examples(X)
        outputs = torch.from_numpy(in_blocks(self._outputs, x))
        means, scales = (part.numpy() for part in outputs.unbind(dim=1))
        if not return_std and coverage is None:
            return means
        parts = [means, scales] if return_std else [means]
        if coverage is not None:
            if self._scores is None:
                raise ValueError("intervals need examples that were set aside; fit with validation_share=0.2, or so")
            try:
                parts.append(Intervals(self._scores).bounds(outputs, coverage).numpy())
            except RunError as error:
                raise ValueError(f"{error} or fit with a larger validation_share") from None
        return tuple(parts)

    def _outputs(self, x: Tensor) -> Floats:
        return torch.cat(list(self.run_.classifier().in_parts(x))).double().numpy()

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """R2 of the predictions for the examples with a number; those without do not count.

        Raises:
            ValueError: no example has a number.
        """
        numbers = read_numbers(y)
        known = ~np.isnan(numbers).reshape(len(numbers), -1).any(axis=1)
        if not known.any():
            raise ValueError("y holds no number, so there is nothing to compare predictions with")
        rows = np.flatnonzero(known)
        weights = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(super().score(_safe_indexing(X, rows), numbers[rows], weights))

    @value_errors()
    def sample_number(self, number: Any, n_samples: int = 1, *, noise: bool = False, random_state: Any = None) -> Any:
        """Draws x for a number from the decoder, in the form of X: its units, shape and, of bytes, type.

        Args:
            number: in the unit of y; of a vector, a row of numbers.
            n_samples: how many.
            noise: draw numbers or pixels too; else they are the decoder's means.
            random_state: an integer makes the draw repeatable.
        """
        check_is_fitted(self)
        drawn = self.run_.sample(n_samples, noise=noise, seed=seed_of(random_state), **{self.run_.label: number})
        return self._form.given(drawn[self.run_.image])

    def _facts(self) -> RegressorFacts:
        return RegressorFacts(**common_facts(self), scores=self._scores)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # a network of a few hundred steps
        return tags

    def _recipe_for(self, X: NDArray[Any], known: int) -> Recipe:  # noqa: N803
        """The recipe as it is to be trained on all of X but what is set aside."""
        aside = self._set_aside(known, "a number")
        split = {"labelled": "all", "validation": aside}
        return self._changed_recipe(("table_numbers", "arrays_numbers"), X, {"split": split, "variables.y.shape": None})


def read_numbers(y: Any) -> Floats:
    """Returns the y of `fit`, float64 [n] or [n, K]; NaN where it is not known.

    Raises:
        ValueError: no numbers, infinite ones, or another shape.
    """
    values = np.asarray(y, dtype=object) if isinstance(y, list | tuple) else np.asarray(y)
    if values.dtype.kind == "O":
        numbers = [np.nan if is_missing(value) else value for value in values.ravel()]
        values = np.array(numbers, dtype=np.float64).reshape(values.shape)
    if values.ndim != 2 or values.shape[1] == 1:
        values = column_or_1d(values, warn=True, dtype=None)
    found = check_array(values, ensure_2d=False, dtype=np.float64, ensure_all_finite="allow-nan", input_name="y")
    return np.asarray(found, dtype=np.float64)
