"""SemiVAERegressor: numbers by scikit-learn's rules, with NaN for what is not known."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import semivae
from semivae.errors import RunError
from semivae.sklearn import SemiVAEClassifier, SemiVAERegressor

LEARN = ("check_regressors_train", "check_supervised_y_2d")


@parametrize_with_checks([SemiVAERegressor(steps=3)])  # type: ignore[untyped-decorator]
def test_every_check_passes(estimator: SemiVAERegressor, check: Any) -> None:
    if check.func.__name__ in LEARN:
        estimator.set_params(steps=25, set={"training.learning_rate": 0.02})
    check(estimator)


def line(count: int = 200, unknown: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose number is 100 plus 20 times the first column; of `unknown` in turn, one is not known."""
    X = np.random.default_rng(0).normal(size=(count, 3))  # noqa: N806
    y = 100.0 + 20.0 * X[:, 0]
    y[::unknown] = np.nan
    return X, y


@pytest.fixture(scope="module")
def fitted() -> SemiVAERegressor:
    X, y = line()  # noqa: N806
    return SemiVAERegressor(steps=100, random_state=0, validation_share=0.3, set={"training.learning_rate": 0.005}).fit(
        X, y
    )


def test_numbers_are_predicted_in_their_unit(fitted: SemiVAERegressor) -> None:
    X, y = line()  # noqa: N806
    true = 100.0 + 20.0 * X[:, 0]
    predicted = fitted.predict(X)
    assert predicted.dtype == np.float64 and np.sqrt(np.mean((predicted - true) ** 2)) < 8.0, "they deviate by 20"
    assert fitted.score(X, y) > 0.8
    known = ~np.isnan(y)
    assert fitted.score(X, y) == pytest.approx(fitted.score(X[known], y[known])), "unknown numbers do not count"
    weights = np.where(X[:, 0] > 0, 9.0, 1.0)
    weighted = r2_score(y[known], predicted[known], sample_weight=weights[known])
    assert fitted.score(X, y, weights) == pytest.approx(weighted) != pytest.approx(fitted.score(X, y))
    spec = fitted.run_.recipe.variables["y"]
    assert isinstance(spec.mean, tuple) and abs(spec.mean[0] - 100.0) < 8.0


def test_deviations_and_intervals(fitted: SemiVAERegressor) -> None:
    X, y = line()  # noqa: N806
    mean, deviation, interval = fitted.predict(X, return_std=True, coverage=0.8)
    assert deviation.shape == mean.shape and (deviation > 0).all()
    np.testing.assert_allclose(interval.mean(axis=1), mean, rtol=1e-6)
    known = ~np.isnan(y)
    held = (interval[known, 0] <= y[known]) & (y[known] <= interval[known, 1])
    assert held.mean() > 0.6
    both = fitted.predict(X, return_std=True)
    assert len(both) == 2
    np.testing.assert_array_equal(both[0], fitted.predict(X))
    with pytest.raises(
        ValueError, match=r"cannot promise intervals with a coverage of 0.999; .* larger validation_share"
    ):
        fitted.predict(X, coverage=0.999)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X, coverage=0.8)[1], interval)


def test_what_is_saved_opens_without_pickle(fitted: SemiVAERegressor, tmp_path: Path) -> None:
    X, _ = line()  # noqa: N806
    fitted.save(tmp_path / "kept")
    other = SemiVAERegressor.load(tmp_path / "kept")
    for one, two in zip(
        other.predict(X, return_std=True, coverage=0.8), fitted.predict(X, return_std=True, coverage=0.8), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(
        other.sample_number(110.0, 2, random_state=1), fitted.sample_number(110.0, 2, random_state=1)
    )
    assert other.get_params() == fitted.get_params()
    assert semivae.load(tmp_path / "kept").task.name == "numbers", "it is a run too"
    with pytest.raises(RunError, match=r"holds a SemiVAERegressor; open it by SemiVAERegressor\.load"):
        SemiVAEClassifier.load(tmp_path / "kept")
    file = tmp_path / "kept" / "estimator.json"
    wrong: tuple[dict[str, Any], ...] = ({"scores": "none"}, {"estimator": "SemiVAEOther"}, {"estimator": []})
    for changed in wrong:
        content = json.loads(file.read_text())
        (tmp_path / "changed").mkdir(exist_ok=True)
        (tmp_path / "changed" / "estimator.json").write_text(json.dumps(content | changed))
        with pytest.raises(RunError, match="changed or damaged"):
            SemiVAERegressor.load(tmp_path / "changed")


def test_what_is_set_aside_is_not_trained_on(fitted: SemiVAERegressor) -> None:
    assert fitted._scores is not None and len(fitted._scores[0]) == 40  # 0.3 of 133
    assert clone(fitted).get_params()["validation_share"] == 0.3


def test_intervals_need_examples_that_are_set_aside() -> None:
    X, y = line()  # noqa: N806
    plain = SemiVAERegressor(steps=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="intervals need examples that were set aside; fit with validation_share"):
        plain.predict(X, coverage=0.9)


@pytest.mark.parametrize(
    ("change", "y", "message"),
    [
        ({"validation_share": 1.0}, None, "validation_share=1.0 is no fraction from 0 to below 1"),
        ({"validation_share": 0.99}, None, "sets aside 132 of 133 examples with a number"),
        ({}, np.full(200, np.nan), "y holds a number for 0 samples; a minimum of 2 is required"),
        ({}, np.where(np.arange(200) == 5, np.inf, 1.0), "infinity"),
        ({}, ["a"] * 200, "could not convert string to float"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change: dict[str, Any], y: Any, message: str) -> None:
    X, numbers = line()  # noqa: N806
    with pytest.raises(ValueError, match=message):
        SemiVAERegressor(steps=2, **change).fit(X, numbers if y is None else y)


def test_vectors_none_and_images() -> None:
    X, y = line(60)  # noqa: N806
    pair = np.stack([y, -y], axis=1)
    both = SemiVAERegressor(steps=2, random_state=0).fit(X, pair)
    assert both.predict(X).shape == (60, 2)
    with_none = [None if value != value else value for value in y.tolist()]
    same = SemiVAERegressor(steps=2, random_state=0).fit(X, with_none)
    np.testing.assert_array_equal(same.predict(X), SemiVAERegressor(steps=2, random_state=0).fit(X, y).predict(X))
    images = (np.abs(X[:, :1, None]) * np.ones((1, 8, 8)) / 4).clip(0, 1)
    pictures = SemiVAERegressor(steps=2, random_state=0).fit(images, y)
    assert pictures.predict(images).shape == (60,) and pictures.sample_number(90.0, 3).shape == (3, 8, 8)


@pytest.mark.slow
def test_diabetes_is_predicted_about_as_well_as_by_ridge() -> None:
    X, y = load_diabetes(return_X_y=True)  # noqa: N806
    ours = cross_val_score(SemiVAERegressor(steps=200, random_state=0), X, y, cv=3)
    ridge = cross_val_score(Ridge(1.0), X, y, cv=3)
    assert ours.mean() > ridge.mean() - 0.1
