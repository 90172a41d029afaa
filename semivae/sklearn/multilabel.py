"""SemiVAEMultilabelClassifier: several yes-or-no labels of each example, of which any may be unknown."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from semivae.api import Run
from semivae.data.dataset import Dataset, LabelInfo
from semivae.recipe import Recipe
from semivae.sklearn.base import in_blocks, seed_of
from semivae.sklearn.fitting import all_or_nothing, value_errors
from semivae.sklearn.holding_out import HoldingOut
from semivae.sklearn.indicators import Indicators, read_indicators
from semivae.sklearn.saving import MultilabelFacts, common_facts
from semivae.tasks.kinds import ATTRIBUTES
from semivae.text import join_names

Floats = NDArray[np.float64]
SMALLEST = 1e-9  # probability; nothing is certain
WITHOUT_VALIDATION = 0.5


class SemiVAEMultilabelClassifier(ClassifierMixin, HoldingOut):  # type: ignore[misc]
    """A multi-label classifier of rows or images that also learns from examples with unknown labels, and generates.

    Args:
        recipe: what is trained: the name of a shipped recipe, a YAML file or a `Recipe` whose label is a vector of
            attributes. None: `table_attributes` for rows, `arrays_attributes` for images. Its source and split are not
            used.
        validation_share: the fraction of the examples with a label that is set aside, not trained on, to choose the
            threshold of each label with the best F1; 0: all thresholds are 1/2.
        steps: of training; None: as the recipe says.
        set: changes to the recipe, such as {"training.weight_decay": 0.01}.
        random_state: an integer makes the fit repeatable.
        device: "auto", "cpu", "cuda" or "mps".
        verbose: print how training gets on.

    Attributes:
        classes_: what the columns of y are called: their names where y is a DataFrame, else their numbers, [K].
        thresholds_: the probability above which `predict` answers 1, float64 [K].
        n_features_in_: columns of X, or numbers in an image.
        feature_names_in_: names of the columns, where X is a DataFrame.
        run_: the `semivae.Run`, with all its verbs. Its folder is gone: those that need the data do not work.
    """

    _kept_as: ClassVar = MultilabelFacts

    @all_or_nothing
    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Trains the recipe on examples of which all, some or none of the labels are known.

        Args:
            X: rows [n, columns]; or images [n, height, width] or with 1 or 3 channels before or after these, bytes or
                floats in [0, 1].
            y: an indicator matrix [n, K], dense, sparse or a DataFrame: 1, 0, and -1, NaN or None where it is unknown.

        Raises:
            ValueError: X or y is not of this kind, a column is unknown throughout, or fewer than two examples have a
                known label.
            RecipeError: a recipe that is not valid, or does not fit X; a ValueError too.
            TrainingError: training diverges.
        """
        if y is None:
            raise ValueError("SemiVAEMultilabelClassifier requires y to be passed, but the target y is None")
        given = self._read(X, reset=True)
        found = read_indicators(y)
        check_consistent_length(given, found.values)
        self.classes_ = found.names
        known = (found.values >= 0).any(axis=1)
        if unknown := [str(name) for name in found.names[~(found.values >= 0).any(axis=0)]]:
            raise ValueError(
                f"y holds no known entry of {join_names(unknown)}; label examples, or leave the column out"
            )
        recipe = self._recipe_for(given, int(known.sum()))
        x = self._fitted_examples(given, recipe)
        self.thresholds_ = np.full(len(self.classes_), WITHOUT_VALIDATION)

        def keep_thresholds(run: Run) -> None:
            if (chosen := run.classifier().chosen) is not None:
                self.thresholds_ = np.array(chosen["thresholds"], dtype=np.float64)

        self._fit_run(recipe, self._dataset(x, found, torch.from_numpy(known)), x, keep_thresholds)
        return self

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Probabilities that each label is 1, float64 [n, K], strictly between 0 and 1."""
        x = self._examples(X)
        classifier = self.run_.classifier()
        found = in_blocks(lambda part: torch.cat(list(classifier.in_parts(part))).double().numpy(), x)
        return np.asarray(found.clip(SMALLEST, 1.0 - SMALLEST), dtype=np.float64)

    def predict(self, X: Any) -> NDArray[np.int64]:  # noqa: N803
        """The indicator matrix, int64 [n, K]: 1 where the probability lies above `thresholds_`."""
        return (self.predict_proba(X) > self.thresholds_).astype(np.int64)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """The share of the examples all of whose known labels are predicted (subset accuracy, as in scikit-learn).

        Examples without a known label do not count. `average_precision` is less strict.

        Raises:
            ValueError: no label is known, or y has other columns.
        """
        answers, values = self.predict(X), self._indicators(y)
        check_consistent_length(answers, values, sample_weight)
        known = values >= 0
        right = ((answers == values) | ~known).all(axis=1)
        rows = known.any(axis=1)
        weights = None if sample_weight is None else np.asarray(sample_weight)[rows]
        return float(np.average(right[rows], weights=weights))

    def average_precision(self, X: Any, y: Any) -> float:  # noqa: N803
        """The mean average precision over the labels that occur, of known entries alone, from 0 to 1.

        Raises:
            ValueError: no label is known, or y has other columns.
        """
        from semivae.tasks.attribute_scores import mean_average_precision, mean_of

        probabilities, values = self.predict_proba(X), self._indicators(y)
        check_consistent_length(probabilities, values)
        return mean_of(mean_average_precision(probabilities, values))

    @value_errors()
    def sample_labels(self, labels: Any, n_samples: int = 1, *, noise: bool = False, random_state: Any = None) -> Any:
        """Draws x for given labels from the decoder, in the form of X: its units, shape and, of bytes, type.

        Args:
            labels: 0 or 1 for each of `classes_`, [K].
            n_samples: how many.
            noise: draw numbers or pixels too; else they are the decoder's means.
            random_state: an integer makes the draw repeatable.

        Raises:
            ValueError: other labels.
        """
        check_is_fitted(self)
        row = self._indicators([labels])
        if (row < 0).any():
            raise ValueError("labels to sample for are 0 or 1, all of them")
        given = {self.run_.label: row[0]}
        drawn = self.run_.sample(n_samples, noise=noise, seed=seed_of(random_state), **given)
        return self._form.given(drawn[self.run_.image])

    def _indicators(self, y: Any) -> NDArray[np.int64]:
        found = read_indicators(y)
        if found.values.shape[1] != len(self.classes_):
            raise ValueError(f"y has {found.values.shape[1]} columns, but was fitted with {len(self.classes_)}")
        if self.classes_.dtype.kind == found.names.dtype.kind == "O" and (found.names != self.classes_).any():
            raise ValueError(
                f"y has the columns {join_names(found.names.tolist())}, but was fitted with "
                f"{join_names(self.classes_.tolist())}, in this order"
            )
        return found.values.astype(np.int64)

    def _dataset(self, x: Tensor, found: Indicators, known: Tensor) -> Dataset:
        """All examples to train on; those without any label are the unlabelled ones."""
        labels = torch.from_numpy(found.values)[known]
        names = tuple(str(name) for name in found.names.tolist())
        return Dataset(
            "data in memory",
            {"y": LabelInfo(ATTRIBUTES.name, names)},
            train={"x": x[known], "y": labels},
            test={"x": x[:0], "y": labels[:0]},
            unlabelled={"x": x[~known]} if not bool(known.all()) else {},
            test_origin="none",
            encoding=self._form.encoding,
        )

    def _recipe_for(self, X: NDArray[Any], known: int) -> Recipe:  # noqa: N803
        """The recipe as it is to be trained on all of X but what is set aside."""
        if known < 2:
            raise ValueError(f"y holds labels of {known} sample; a minimum of 2 is required")
        aside = self._set_aside(known, "a label")
        split = {"labelled": "all", "validation": aside}
        changes = {"split": split, "variables.y.shape": None}
        found = self._changed_recipe(("table_attributes", "arrays_attributes"), X, changes)
        if (family := found.variables["y"].family) != ATTRIBUTES.family:
            raise ValueError(
                f"the recipe's y is {family}, and its columns here are attributes; write y: {{family: bernoulli}}, or "
                "leave recipe out"
            )
        return found

    def _facts(self) -> MultilabelFacts:
        return MultilabelFacts(
            **common_facts(self), classes=self.classes_.tolist(), thresholds=self.thresholds_.tolist()
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label, tags.classifier_tags.multi_class = True, False
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = False
        tags.classifier_tags.poor_score = True  # a network of a few hundred steps
        return tags
