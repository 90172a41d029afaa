"""What the estimators for scikit-learn share: how X is read, features, seeds, and how they are pickled."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from semivae.api import Run, train
from semivae.classification.posterior import embed
from semivae.data.dataset import Dataset
from semivae.recipe import Recipe, change_recipe, read_recipe, shipped_recipes
from semivae.sklearn.examples import Form
from semivae.sklearn.fitting import value_errors
from semivae.sklearn.kept import Files, open_run, train_in_memory
from semivae.sklearn.saving import Facts, read_estimator, write_estimator
from semivae.text import either, join_names
from semivae.training.progress import Progress

BLOCK = 64  # rows that are computed together, so that a row's answer does not depend on the others
LARGEST_SEED = 2**31 - 1
UNIT_INTERVAL = ("bernoulli", "discretized_logistic")  # families of values in [0, 1]


class SemiVAEEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator of rows of a table or of images that keeps a run.

    Attributes:
        run_: the `semivae.Run`.
        n_features_in_: columns of X, or numbers in an image.
    """

    run_: Run
    n_features_in_: int
    recipe: str | Path | Recipe | None
    steps: int | None
    set: Mapping[str, object] | None
    random_state: Any
    device: str
    verbose: bool
    _form: Form
    _files: Files
    _kept_as: ClassVar[type[Facts]]

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Features of the encoder below its last layer, float32 [n, features]."""
        x = self._examples(X)
        return in_blocks(lambda part: embed(self.run_, part), x)

    def save(self, path: str | Path) -> None:
        """Writes the fitted estimator into a new folder, without pickle: a run's folder, and `estimator.json`.

        `semivae.load(path)` and the command line open it as a run.

        Raises:
            RunError: something is at `path` already, or nothing can be written.
            ValueError: a parameter that JSON cannot hold.
        """
        check_is_fitted(self)
        write_estimator(Path(path), self._facts(), self._files)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> Self:
        """Opens what `save` wrote.

        Raises:
            RunError: no such folder, an estimator of another class, or a file in it was changed or damaged.
        """
        facts, files = read_estimator(Path(path), cls._kept_as)
        estimator = cls(**facts.parameters, device=device)
        for name, value in (facts.attributes() | {"_files": files, "run_": open_run(files, device)}).items():
            setattr(estimator, name, value)
        return estimator

    def _facts(self) -> Facts:
        """All that `estimator.json` keeps of the fitted estimator."""
        raise NotImplementedError

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

    def _changed_recipe(self, templates: tuple[str, str], X: NDArray[Any], changes: Mapping[str, object]) -> Recipe:  # noqa: N803
        """The recipe as it is to be trained.

        Args:
            templates: the shipped recipes for rows and for images, where none was given.
            X: the examples, as an array.
            changes: what is changed in any case; `steps` and `set` come after.
        """
        asked: dict[str, object] = {"variables.x.shape": None, "training.seed": seed_of(self.random_state), **changes}
        steps: Any = self.steps
        if steps is not None:
            if not isinstance(steps, Integral) or int(steps) < 1:
                raise ValueError(f"steps={steps!r} is no whole number of 1 or more")
            asked["training.steps"] = int(steps)
        changed: Any = self.set
        if changed is not None and not isinstance(changed, Mapping):
            raise ValueError(f"set={changed!r} is no mapping; write set={{'training.weight_decay': 0.01}}")
        asked |= changed or {}
        recipe = shipped_recipes()[templates[X.ndim > 2]] if self.recipe is None else self.recipe
        found = change_recipe(recipe, asked) if isinstance(recipe, Recipe) else read_recipe(recipe, asked)
        if found.split.validation:
            return found
        never = {f"training.{key}_every": found.training.steps for key in ("validate", "checkpoint")}
        return change_recipe(found, never)  # there is nothing to measure on the way

    def _fitted_examples(self, X: NDArray[Any], recipe: Recipe) -> Tensor:  # noqa: N803
        """X as examples of the recipe, after what it looks like was kept for later ones."""
        x_variable = recipe.variables.get("x")
        in_unit_interval = x_variable is not None and x_variable.family in UNIT_INTERVAL
        self._form = Form.of(X, self._column_names(), standardise=not in_unit_interval)
        return self._form.examples(X)

    def _fit_run(self, recipe: Recipe, data: Dataset, x: Tensor, use: Callable[[Run], None] = lambda run: None) -> None:
        """Trains and keeps the run; `use` is called with it while its data are there."""

        def trained(folder: Path) -> Run:
            progress = show if self.verbose else False
            run = train(recipe, out=folder, dataset=data, twin=False, device=self.device, progress=progress)
            use(run)
            return run

        self.run_, self._files = train_in_memory(trained)
        self._n_features_out = embed(self.run_, x[:1]).shape[1]

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
            try:
                found = validate_data(self, X, reset=reset)
                found = found.astype(np.float64) if found.dtype.kind == "O" else found  # of pandas' categories
            except (TypeError, ValueError) as error:
                refuse_texts(X, error)
                raise
        if not reset and found.shape[1:] != self._form.shape:
            raise ValueError(
                f"examples of X have shape {found.shape[1:]}, but {type(self).__name__} was fitted on those of "
                f"shape {self._form.shape}"
            )
        return np.asarray(found)

    def _examples(self, X: Any) -> Tensor:  # noqa: N803
        check_is_fitted(self)
        with value_errors():
            return self._form.examples(self._read(X, reset=False))

    def _column_names(self) -> list[str]:
        names = getattr(self, "feature_names_in_", None)
        return [f"x{column}" for column in range(self.n_features_in_)] if names is None else list(map(str, names))


def refuse_texts(X: Any, error: Exception) -> None:  # noqa: N803
    """Raises ValueError if columns of pandas' DataFrame hold no numbers, which scikit-learn's `error` does not name."""
    if not hasattr(X, "iloc") or not hasattr(X, "columns"):
        return
    texts = [str(name) for place, name in enumerate(X.columns) if not _holds_numbers(X.iloc[:, place])]
    if texts:
        raise ValueError(
            f"X: {either(len(texts), 'the column', 'the columns')} {join_names(texts)} "
            f"{either(len(texts), 'holds', 'hold')} no numbers; encode texts and dates first, for example by a "
            "ColumnTransformer with a OneHotEncoder"
        ) from error


def _holds_numbers(column: Any) -> bool:
    if getattr(column.dtype, "kind", "O") in "mM":
        return False
    try:
        np.asarray(column.dropna(), dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return True


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
    print(f"[semivae] {text}", file=sys.stdout)
