"""SemiVAEClassifier: a scikit-learn classifier that also learns from examples without labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from semivae.classification.priors import read_prior
from semivae.data.hashing import random_subset
from semivae.data.readers.memory import dataset_without_test
from semivae.errors import RecipeError
from semivae.generative.likelihood import image_bounds
from semivae.generative.novelty import complexity, slope_of, surprise
from semivae.recipe import Recipe, change_recipe
from semivae.sklearn.base import SemiVAEEstimator, in_blocks, seed_of
from semivae.sklearn.fitting import all_or_nothing, value_errors
from semivae.sklearn.saving import CLASS_TYPES, ClassifierFacts, common_facts
from semivae.sklearn.targets import class_numbers, labelled, names_of, read_targets

Floats = NDArray[np.float64]
DRAWS = 16  # codes for each example in a bound of log p(x)
SMALLEST = 1e-12  # probability of a class before they are divided by their sum
FITTED_ON = 200  # images, of the slope of their complexity


class SemiVAEClassifier(ClassifierMixin, SemiVAEEstimator):  # type: ignore[misc]
    """A classifier of rows of a table or of images that also learns from examples without labels, and generates.

    Args:
        recipe: what is trained: the name of a shipped recipe, a YAML file or a `Recipe`. None: `table` for rows,
            `arrays` for images. Its source and split are not used: all of X is trained on.
        class_prior: how frequent the classes are where the estimator is used, if that is not as among the labelled
            examples: "uniform", {class: share}, or one number for each class in order. What is learnt of p(y) and
            predictions follow it.
        strangers: the share of the examples without a label that belong to none of the classes, such as 0.2, or
            "estimate"; None: there are none. `stranger_proba` says which are; `predict` names the best class.
        steps: of training; None: as the recipe says.
        set: changes to the recipe, such as {"training.weight_decay": 0.01}.
        unlabelled: what `y` holds where there is no label, beside None and NaN, which always mean that.
        random_state: an integer makes the fit repeatable.
        device: "auto", "cpu", "cuda" or "mps".
        verbose: print how training gets on.

    Attributes:
        classes_: the classes, in order.
        n_features_in_: columns of X, or numbers in an image.
        feature_names_in_: names of the columns, where X is a DataFrame.
        class_prior_: p(y) by class that was asked for, or None.
        run_: the `semivae.Run`, with all its verbs. Its folder is gone: those that need the data do not work.
    """

    _kept_as: ClassVar = ClassifierFacts

    def __init__(
        self,
        recipe: str | Path | Recipe | None = None,
        *,
        class_prior: Any = None,
        strangers: float | str | None = None,
        steps: int | None = None,
        set: Mapping[str, object] | None = None,
        unlabelled: Any = -1,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.recipe = recipe
        self.class_prior = class_prior
        self.strangers = strangers
        self.steps = steps
        self.set = set
        self.unlabelled = unlabelled
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    @all_or_nothing
    def fit(self, X: Any, y: Any, y_alone: Any = None) -> Self:  # noqa: N803
        """Trains the recipe on labelled and unlabelled examples.

        Args:
            X: rows [n, columns]; or images [n, height, width] or with 1 or 3 channels before or after these, bytes or
                floats in [0, 1].
            y: a class for each example, [n]; -1, None or NaN where it is not known.
            y_alone: classes without examples, any number of them: how frequent they are, one added to each count, is
                the class prior.

        Raises:
            ValueError: X or y is not of this kind, or fewer than two classes have a label.
            RecipeError: a recipe that is not valid, or does not fit X; a ValueError too.
            TrainingError: training diverges.
        """
        if y is None:
            raise ValueError("SemiVAEClassifier requires y to be passed, but the target y is None")
        given = self._read(X, reset=True)
        check_consistent_length(given, y)
        targets = read_targets(y, self.unlabelled)
        self.classes_ = targets.classes
        self.class_prior_ = self._prior(y_alone)
        recipe = self._recipe_for(given)
        x, known = self._fitted_examples(given, recipe), torch.from_numpy(targets.known)
        if recipe.variables["y"].strangers is not None and bool(known.all()):
            raise ValueError("strangers are found among examples without a label, and y gives each one a label")
        labels = torch.from_numpy(targets.numbers)[known]
        self._fit_run(recipe, dataset_without_test(x[known], labels, targets.names, x[~known], self._form.encoding), x)
        self._slope = self._fitted_slope(x) if given.ndim > 2 else 0.0
        return self

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Probabilities of the classes, in the order of `classes_`, float64 [n, classes].

        With strangers, those under the condition that an example is none.
        """
        found = self._probabilities(X)[:, : len(self.classes_)].clip(min=SMALLEST)
        return np.asarray(found / found.sum(axis=1, keepdims=True), dtype=np.float64)

    def stranger_proba(self, X: Any) -> Floats:  # noqa: N803
        """The probability that each example belongs to none of the classes, float64 [n].

        Raises:
            ValueError: the estimator was fitted without strangers.
        """
        found = self._probabilities(X)
        if found.shape[1] == len(self.classes_):
            raise ValueError('the estimator knows no strangers; fit with strangers="estimate", or their share')
        return np.asarray(found[:, -1] / found.sum(axis=1), dtype=np.float64)

    def _probabilities(self, X: Any) -> Floats:  # noqa: N803
        """Probabilities of the classes, and of strangers in the last column where there are some."""
        x = self._examples(X)
        prior, strangers = self.class_prior_, self.run_.recipe.variables["y"].strangers
        if prior is not None and strangers is not None:
            share = strangers.share
            assert not isinstance(share, str)  # training wrote down what it estimated
            prior = np.append(prior * (1.0 - share), share)
        classifier = self.run_.classifier(prior=prior)
        found = in_blocks(lambda part: classifier.probabilities(part).double().numpy(), x)
        return np.asarray(found, dtype=np.float64)

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The most likely class of each example, [n]."""
        numbers = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[numbers])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """The share of the labelled examples whose class is predicted; those without a label do not count.

        Raises:
            ValueError: no example has a label.
        """
        y = np.asarray(y)
        y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
        known = labelled(y, self.unlabelled)
        if not known.any():
            raise ValueError("y holds no label, so there is nothing to compare predictions with")
        if known.all():
            return float(super().score(X, y, sample_weight))
        weights = None if sample_weight is None else np.asarray(sample_weight)[known]
        rows = np.flatnonzero(known)
        truth = self.classes_.dtype.type if self.classes_.dtype.kind in "iufb" else object
        return float(super().score(_safe_indexing(X, rows), y[rows].astype(truth), weights))

    def score_samples(self, X: Any) -> Floats:  # noqa: N803
        """How familiar each example is, nats, [n]: higher is more normal, as of scikit-learn's detectors.

        Of rows it is a lower bound of log p(x), in standardised units, by 16 draws of the codes (Burda et al., 2016);
        of images, what their complexity explains is taken off (`semivae.generative.novelty`). An example's draws are
        the same whatever stands beside it.

        Raises:
            RunError: a recipe whose codes have a prior that is known by samples only.
        """
        x = self._examples(X)
        return -np.concatenate([surprise(self.run_, x[row : row + 1], self._slope, DRAWS, 0) for row in range(len(x))])

    @value_errors()
    def sample_class(self, label: Any, n_samples: int = 1, *, noise: bool = False, random_state: Any = None) -> Any:
        """Draws x of a class from the decoder, in the form of X: its units, shape and, of bytes, type.

        Args:
            label: one of `classes_`.
            n_samples: how many.
            noise: draw numbers or pixels too; else they are the decoder's means.
            random_state: an integer makes the draw repeatable.

        Raises:
            ValueError: no such class.
        """
        check_is_fitted(self)
        number = int(class_numbers([label], self.classes_)[0])
        seed = seed_of(random_state)
        drawn = self.run_.sample(n_samples, noise=noise, seed=seed, **{self.run_.label: np.array([number])})
        return self._form.given(drawn[self.run_.image])

    def _facts(self) -> ClassifierFacts:
        return ClassifierFacts(
            **common_facts(self),
            classes=self.classes_.tolist(),
            class_type=CLASS_TYPES[self.classes_.dtype.kind],
            class_prior=None if self.class_prior_ is None else self.class_prior_.tolist(),
            slope=self._slope,
        )

    def _prior(self, y_alone: Any) -> Floats | None:
        """p(y) as it is asked for, [K]; None: as among the labelled examples."""
        names = names_of(self.classes_)
        if y_alone is None:
            stated = self.class_prior
            if isinstance(stated, Mapping):
                stated = {names[class_numbers([label], self.classes_)[0]]: share for label, share in stated.items()}
            return None if stated is None else read_prior(stated, names, "class_prior")
        if self.class_prior is not None:
            raise ValueError("class_prior and y_alone both say how frequent the classes are; give one of them")
        counts = np.bincount(class_numbers(y_alone, self.classes_), minlength=len(names)) + 1.0
        return np.asarray(counts / counts.sum(), dtype=np.float64)

    def _recipe_for(self, X: NDArray[Any]) -> Recipe:  # noqa: N803
        """The recipe as it is to be trained on all of X."""
        split = {"labelled": "all", "validation": 0}
        changes: dict[str, object] = {"split": split, "variables.y.classes": None}
        if self.strangers is not None:
            changes["variables.y.strangers"] = {"share": self.strangers}
            if self.recipe is None:  # whose p(y) the stream `labels` alone teaches
                changes["streams.unlabelled.views.align"] = True
                changes |= {
                    f"streams.{name}.loss_weights": {"y": {"decoder": 0}} for name in ("labelled", "unlabelled")
                }
        found = self._changed_recipe(("table", "arrays"), X, changes)
        if (named := found.variables["y"].strangers) is not None and named.classes:
            raise RecipeError(
                "variables.y.strangers.classes: y of this estimator marks them as having no label; remove classes there"
            )
        if self.class_prior_ is None:
            return found
        shares = {"probabilities": self.class_prior_.tolist()}
        alone = [name for name, stream in found.streams.items() if tuple(stream.observe) == ("y",)]
        return change_recipe(found, {f"streams.{name}.values": shares for name in alone})

    def _fitted_slope(self, x: Tensor) -> float:
        """Nats of log p(x) for each of its complexity, on some of the training images."""
        some = random_subset(x, FITTED_ON, 0)
        return slope_of(complexity(self.run_, some), -image_bounds(self.run_, some, DRAWS, 0))
