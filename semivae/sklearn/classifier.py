"""SemiVAEClassifier: a scikit-learn classifier that also learns from examples without labels."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import _safe_indexing, check_array, check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from semivae.api import Run, train
from semivae.classification.posterior import embed
from semivae.classification.priors import read_prior
from semivae.data.hashing import random_subset
from semivae.data.readers.memory import dataset_without_test
from semivae.generative.likelihood import image_bounds
from semivae.generative.novelty import complexity, slope_of, surprise
from semivae.recipe import Recipe, change_recipe, read_recipe, shipped_recipes
from semivae.sklearn.examples import Form
from semivae.sklearn.kept import open_run, train_in_memory
from semivae.sklearn.saving import facts_of, read_estimator, write_estimator
from semivae.sklearn.targets import class_numbers, labelled, names_of, read_targets
from semivae.training.progress import Progress

Floats = NDArray[np.float64]
UNIT_INTERVAL = ("bernoulli", "discretized_logistic")  # families of values in [0, 1]
BLOCK = 64  # rows that are computed together, so that a row's answer does not depend on the others
DRAWS = 16  # codes for each example in a bound of log p(x)
LARGEST_SEED = 2**31 - 1
FITTED_ON = 200  # images, of the slope of their complexity


class SemiVAEClassifier(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of rows of a table or of images that also learns from examples without labels, and generates.

    Args:
        recipe: what is trained: the name of a shipped recipe, a YAML file or a `Recipe`. None: `table` for rows,
            `arrays` for images. Its source and split are not used: all of X is trained on.
        class_prior: how frequent the classes are where the estimator is used, if that is not as among the labelled
            examples: "uniform", {class: share}, or one number for each class in order. What is learnt of p(y) and
            predictions follow it.
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

    def __init__(
        self,
        recipe: str | Path | Recipe | None = None,
        *,
        class_prior: Any = None,
        steps: int | None = None,
        set: Mapping[str, object] | None = None,
        unlabelled: Any = -1,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.recipe = recipe
        self.class_prior = class_prior
        self.steps = steps
        self.set = set
        self.unlabelled = unlabelled
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

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
            SemivaeError: a recipe that is not valid, does not fit X, or whose training diverges.
        """
        if y is None:
            raise ValueError("SemiVAEClassifier requires y to be passed, but the target y is None")
        given = self._read(X, reset=True)
        check_consistent_length(given, y)
        targets = read_targets(y, self.unlabelled)
        self.classes_ = targets.classes
        self.class_prior_ = self._prior(y_alone)
        recipe = self._recipe_for(given)
        x_variable = recipe.variables.get("x")
        in_unit_interval = x_variable is not None and x_variable.family in UNIT_INTERVAL
        self._form = Form.of(given, self._column_names(), standardise=not in_unit_interval)
        x, known = self._form.examples(given), torch.from_numpy(targets.known)
        labels = torch.from_numpy(targets.numbers)[known]
        data = dataset_without_test(x[known], labels, targets.names, x[~known], self._form.encoding)

        def trained(folder: Path) -> Run:
            told = show if self.verbose else False
            return train(recipe, out=folder, dataset=data, twin=False, device=self.device, progress=told)

        self.run_, self._files = train_in_memory(trained)
        self._slope = self._fitted_slope(x) if given.ndim > 2 else 0.0
        self._n_features_out = embed(self.run_, x[:1]).shape[1]
        return self

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Probabilities of the classes, in the order of `classes_`, float64 [n, classes]."""
        x = self._examples(X)
        classifier = self.run_.classifier(prior=self.class_prior_)
        found = in_blocks(lambda part: classifier.probabilities(part).double().numpy(), x)
        return np.asarray(found / found.sum(axis=1, keepdims=True), dtype=np.float64)

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The most likely class of each example, [n]."""
        numbers = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[numbers])

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Features of the encoder below its last layer, float32 [n, features]."""
        x = self._examples(X)
        return in_blocks(lambda part: embed(self.run_, part), x)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """The share of the labelled examples whose class is predicted; those without a label do not count.

        Raises:
            ValueError: no example has a label.
        """
        known = labelled(np.asarray(y), self.unlabelled)
        if not known.any():
            raise ValueError("y holds no label, so there is nothing to compare predictions with")
        if known.all():
            return float(super().score(X, y, sample_weight))
        weights = None if sample_weight is None else np.asarray(sample_weight)[known]
        rows = np.flatnonzero(known)
        truth = self.classes_.dtype.type if self.classes_.dtype.kind in "iufb" else object
        return float(super().score(_safe_indexing(X, rows), np.asarray(y)[rows].astype(truth), weights))

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

    def save(self, path: str | Path) -> None:
        """Writes the fitted estimator into a new folder, without pickle: a run's folder, and `estimator.json`.

        `semivae.load(path)` and the command line open it as a run.

        Raises:
            RunError: something is at `path` already, or nothing can be written.
            ValueError: a parameter that JSON cannot hold.
        """
        check_is_fitted(self)
        write_estimator(Path(path), facts_of(self), self._files)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> Self:
        """Opens what `save` wrote.

        Raises:
            RunError: no such folder, or a file in it was changed or damaged.
        """
        facts, files = read_estimator(Path(path))
        estimator = cls(**facts.parameters, device=device)
        for name, value in (facts.attributes() | {"_files": files, "run_": open_run(files, device)}).items():
            setattr(estimator, name, value)
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("run_", None)  # its files are kept, which later versions read too
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_files" in state:
            self.run_ = open_run(self._files, self.device)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _read(self, X: Any, reset: bool) -> NDArray[Any]:  # noqa: N803
        """X as an array of finite numbers, and what `fit` keeps of it; later one of the same shape."""
        shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
        if len(shape) > 2:
            found = check_array(X, allow_nd=True)
            if reset:
                self.n_features_in_ = math.prod(found.shape[1:])
                if hasattr(self, "feature_names_in_"):
                    del self.feature_names_in_
        else:
            found = validate_data(self, X, reset=reset)
        if not reset and found.shape[1:] != self._form.shape:
            raise ValueError(
                f"one X has shape {found.shape[1:]}, but SemiVAEClassifier was fitted on {self._form.shape}"
            )
        return np.asarray(found)

    def _examples(self, X: Any) -> Tensor:  # noqa: N803
        check_is_fitted(self)
        return self._form.examples(self._read(X, reset=False))

    def _column_names(self) -> list[str]:
        names = getattr(self, "feature_names_in_", None)
        return [f"x{column}" for column in range(self.n_features_in_)] if names is None else list(map(str, names))

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
        changes: dict[str, object] = {
            "split": {"labelled": "all", "validation": 0},
            "variables.x.shape": None,
            "variables.y.classes": None,
            "training.seed": seed_of(self.random_state),
        }
        if self.steps is not None:
            changes["training.steps"] = self.steps
        changes |= self.set or {}
        recipe = self.recipe
        if recipe is None:
            recipe = shipped_recipes()["table" if X.ndim == 2 else "arrays"]
        found = change_recipe(recipe, changes) if isinstance(recipe, Recipe) else read_recipe(recipe, changes)
        later: dict[str, object] = {}
        if not found.split.validation:  # nothing to measure on the way
            later = {f"training.{key}_every": found.training.steps for key in ("validate", "checkpoint")}
        if self.class_prior_ is not None:
            shares = {"probabilities": self.class_prior_.tolist()}
            alone = [name for name, stream in found.streams.items() if tuple(stream.observe) == ("y",)]
            later |= {f"streams.{name}.values": shares for name in alone}
        return change_recipe(found, later)

    def _fitted_slope(self, x: Tensor) -> float:
        """Nats of log p(x) for each of its complexity, on some of the training images."""
        some = random_subset(x, FITTED_ON, 0)
        return slope_of(complexity(self.run_, some), -image_bounds(self.run_, some, DRAWS, 0))


def seed_of(random_state: Any) -> int:
    """An integer as it is; else one drawn from scikit-learn's generator of that name."""
    if isinstance(random_state, int | np.integer) and random_state >= 0:
        return int(random_state)
    return int(check_random_state(random_state).randint(LARGEST_SEED))


def in_blocks(answer: Callable[[Tensor], NDArray[Any]], x: Tensor) -> NDArray[Any]:
    """Answers of examples, [n, ...], in blocks of one size: sums are rounded alike wherever one stands."""
    blocks = [x[start : start + BLOCK] for start in range(0, len(x), BLOCK)]
    filled = [torch.cat([block, block[:1].expand(BLOCK - len(block), *block.shape[1:])]) for block in blocks]
    return np.concatenate([answer(full)[: len(block)] for full, block in zip(filled, blocks, strict=True)])


def show(progress: Progress) -> None:
    """Prints how training gets on."""
    text = progress.message or f"step {progress.step:,} of {progress.steps:,}, {progress.seconds:.0f} s"
    print(f"[SemiVAEClassifier] {text}", file=sys.stdout)
