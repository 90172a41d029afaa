"""What scikit-learn expects of a call that fails: a ValueError, and an estimator that has learnt what it had before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from semivae.errors import DataError, RecipeError, RunError, SemivaeError

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


class RecipeValueError(RecipeError, ValueError):
    """A parameter of an estimator that no recipe can hold."""


class DataValueError(DataError, ValueError):
    """An X or a y that the recipe of an estimator cannot be trained on or asked about."""


class RunValueError(RunError, ValueError):
    """An argument that a fitted estimator cannot answer."""


VALUE_ERRORS: dict[type[SemivaeError], type[SemivaeError]] = {
    RecipeError: RecipeValueError,
    DataError: DataValueError,
    RunError: RunValueError,
}


@contextmanager
def value_errors() -> Iterator[None]:
    """Raises errors of a recipe, of data and of a run as ValueErrors, which they remain beside."""
    try:
        yield
    except SemivaeError as error:
        kind = VALUE_ERRORS.get(type(error))
        if kind is None:  # of training, or a ValueError already
            raise
        raise kind(*error.args).with_traceback(error.__traceback__) from error.__cause__


def all_or_nothing(fit: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Lets `fit` leave an estimator as it was, if it fails or is interrupted."""

    @wraps(fit)
    def whole(estimator: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        before = dict(vars(estimator))
        try:
            with value_errors():
                return fit(estimator, *args, **kwargs)
        except BaseException:
            vars(estimator).clear()
            vars(estimator).update(before)
            raise

    return whole
