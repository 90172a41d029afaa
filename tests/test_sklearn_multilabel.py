"""SemiVAEMultilabelClassifier: indicator matrices with unknown entries, thresholds, and scikit-learn's own checks."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import average_precision_score, f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import semivae
from semivae.errors import RunError
from semivae.sklearn import SemiVAEClassifier, SemiVAEMultilabelClassifier
from semivae.sklearn.indicators import read_indicators

Array = NDArray[Any]
QUICK: dict[str, Any] = {"steps": 40, "random_state": 0, "set": {"training.learning_rate": 0.02}}
CHECKS = [
    "check_classifiers_multilabel_representation_invariance",
    "check_classifiers_multilabel_output_format_predict",
    "check_classifiers_multilabel_output_format_predict_proba",
    "check_classifiers_multilabel_output_format_decision_function",
    "check_parameters_default_constructible",
    "check_no_attributes_set_in_init",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimators_unfitted",
    "check_n_features_in_after_fitting",
    "check_classifiers_regression_target",
    "check_fit2d_1sample",
]
ONE_CLASS = "the check's y holds a class for each example, or three classes, and not an indicator matrix"
OF_ONE_CLASS = dict.fromkeys(
    (
        "check_estimators_dtypes", "check_classifier_data_not_an_array", "check_classifiers_classes",
        "check_classifiers_train", "check_classifier_not_supporting_multiclass", "check_transformer_data_not_an_array",
        "check_transformer_general", "check_fit2d_1feature",
    ),
    ONE_CLASS,
)  # fmt: skip


def points(labels: int = 80) -> tuple[Array, Array, Array]:
    """300 points, three labels by half planes, the second rare, and y with unknown entries and unknown rows."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 4))
    truth = np.stack([x[:, 0] > 0, x[:, 1] > 1.0, x[:, 2] + x[:, 3] > 0], axis=1).astype(int)
    y = truth.copy()
    y[labels:] = -1
    y[:labels][generator.random((labels, 3)) < 0.2] = -1
    return x * np.array([100.0, 1.0, 1.0, 0.01]), truth, y


def without_marks(y: Array) -> Array:
    """None where an entry is unknown."""
    found = y.astype(object)
    found[y < 0] = None
    return found


@pytest.fixture(scope="module")
def fitted() -> SemiVAEMultilabelClassifier:
    x, _, y = points()
    return SemiVAEMultilabelClassifier(**QUICK, validation_share=0.3).fit(x, y)


@pytest.mark.parametrize("check", CHECKS)
def test_scikit_learns_checks_of_multilabel_classifiers(check: str) -> None:
    getattr(estimator_checks, check)("SemiVAEMultilabelClassifier", SemiVAEMultilabelClassifier(steps=3))


@pytest.mark.slow
@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [SemiVAEMultilabelClassifier(steps=3)], expected_failed_checks=lambda estimator: OF_ONE_CLASS
)
def test_every_other_check_passes(estimator: SemiVAEMultilabelClassifier, check: Any) -> None:
    check(estimator)


def test_it_learns_from_known_entries_alone(fitted: SemiVAEMultilabelClassifier) -> None:
    x, truth, y = points()
    probabilities, answers = fitted.predict_proba(x), fitted.predict(x)
    assert probabilities.shape == answers.shape == (300, 3) and answers.dtype == np.int64
    assert fitted.average_precision(x, truth) > 0.8
    assert fitted.average_precision(x, truth) == pytest.approx(average_precision_score(truth, probabilities), abs=1e-9)
    assert (answers == (probabilities > fitted.thresholds_)).all()
    assert fitted.score(x, truth) == pytest.approx((answers == truth).all(axis=1).mean())
    known = (y >= 0).any(axis=1)
    right = ((answers == y) | (y < 0)).all(axis=1)
    assert fitted.score(x, y) == pytest.approx(right[known].mean()), "unknown entries and rows do not count"
    weights = np.where(right, 1.0, 3.0)
    assert fitted.score(x, y, weights) == pytest.approx(np.average(right[known], weights=weights[known]))
    assert fitted.transform(x).shape[0] == 300 and fitted.classes_.tolist() == [0, 1, 2]


def test_thresholds_are_chosen_on_examples_that_are_set_aside(fitted: SemiVAEMultilabelClassifier) -> None:
    x, truth, y = points()
    assert fitted.thresholds_.shape == (3,) and (fitted.thresholds_ != 0.5).any()
    plain = SemiVAEMultilabelClassifier(**QUICK).fit(x, y)
    assert (plain.thresholds_ == 0.5).all()
    assert f1_score(truth, plain.predict(x), average="macro") > 0.6
    for share in (1, -0.1, np.nan, None, "0.2"):
        with pytest.raises(ValueError, match=f"validation_share={share!r} is no fraction"):
            SemiVAEMultilabelClassifier(validation_share=share).fit(x, y)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"validation_share=0\.99 sets aside 79 of 80 examples with a label"):
        SemiVAEMultilabelClassifier(validation_share=0.99).fit(x, y)


def test_marks_mean_the_same_in_every_type() -> None:
    _, truth, y = points(12)
    for each in (y, np.where(y < 0, np.nan, y), without_marks(y), y.tolist(), list(y)):
        np.testing.assert_array_equal(read_indicators(each).values, y)
    np.testing.assert_array_equal(read_indicators(csr_matrix(truth)).values, truth)
    np.testing.assert_array_equal(read_indicators(truth.astype(bool)).values, truth)


def test_a_frame_names_the_labels() -> None:
    pd = pytest.importorskip("pandas")
    x, _, y = points(12)
    frame = pd.DataFrame(np.where(y < 0, np.nan, y), columns=["red", "rare", "far"])
    objects = without_marks(y)
    models = [SemiVAEMultilabelClassifier(steps=2, random_state=0).fit(x, each) for each in (y, frame, objects)]
    for model in models[1:]:
        np.testing.assert_array_equal(model.predict_proba(x), models[0].predict_proba(x))
    assert models[1].classes_.tolist() == ["red", "rare", "far"]
    with pytest.raises(ValueError, match="y has the columns far, rare, red, but was fitted with red, rare, far"):
        models[1].score(x, frame[["far", "rare", "red"]])
    with pytest.raises(ValueError, match="two columns of one name"):
        read_indicators(pd.DataFrame(np.zeros((3, 2)), columns=["a", "a"]))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(300), "should be an indicator matrix.*SemiVAEClassifier"),
        (np.full((300, 2), np.nan), "no known label"),
        (np.full((300, 2), 0.3), "Unknown label type: continuous.*write 1"),
        (np.eye(300)[:, :1] - 1, "labels of 1 sample; a minimum of 2"),
        (np.full((300, 2), 2), "holds 2; write 1 where a label holds"),
        (np.full((300, 2), "a"), "holds 'a'; write 1"),
        (np.zeros((300, 0)), "no column"),
        (np.tile([0, -1, 1], (300, 1)), "no known entry of 1; label examples"),
        (np.zeros((299, 2)), "inconsistent numbers of samples"),
        (None, "requires y to be passed"),
    ],
)
def test_what_is_no_indicator_matrix_is_refused(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SemiVAEMultilabelClassifier(steps=2).fit(points()[0], y)


def test_other_columns_and_other_recipes_are_refused(fitted: SemiVAEMultilabelClassifier) -> None:
    x, truth, y = points()
    with pytest.raises(ValueError, match="y has 2 columns, but was fitted with 3"):
        fitted.score(x, truth[:, :2])
    for measured in (fitted.score, fitted.average_precision):
        for rows in (1, 299):
            with pytest.raises(ValueError, match="inconsistent numbers of samples"):
                measured(x, truth[:rows])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fitted.score(x, truth, np.ones(299))
    with pytest.raises(ValueError, match=r"recipe's y is categorical.*\{family: bernoulli\}"):
        SemiVAEMultilabelClassifier("table").fit(x, y)


def test_rows_are_drawn_for_labels_in_their_units(fitted: SemiVAEMultilabelClassifier) -> None:
    drawn = [fitted.sample_labels([first, 0, 1], 60, random_state=0)[:, 0].mean() for first in (0, 1)]
    assert drawn[1] - drawn[0] > 60.0, "units of 100 a deviation"
    with pytest.raises(ValueError, match="0 or 1, all of them"):
        fitted.sample_labels([0, -1, 1])


def test_images_and_pipelines_and_searches() -> None:
    x, _, y = points()
    pictures = np.random.default_rng(1).integers(0, 255, (40, 8, 8), dtype=np.uint8)
    found = SemiVAEMultilabelClassifier(steps=2, random_state=0).fit(pictures, y[:40])
    assert found.predict(pictures[:3]).shape == (3, 3)
    assert found.sample_labels([1, 1, 0], 2, random_state=0).dtype == np.uint8
    pipe = make_pipeline(StandardScaler(), SemiVAEMultilabelClassifier(steps=2, random_state=0))
    grid = GridSearchCV(pipe, {"semivaemultilabelclassifier__steps": [1, 2]}, cv=2).fit(x[:80], y[:80])
    assert 0.0 <= grid.best_score_ <= 1.0


def test_what_is_kept_opens_again(fitted: SemiVAEMultilabelClassifier, tmp_path: Path) -> None:
    x, _, _ = points()
    fitted.save(tmp_path / "kept")
    for again in (SemiVAEMultilabelClassifier.load(tmp_path / "kept"), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))
        np.testing.assert_array_equal(again.predict(x), fitted.predict(x))
        assert again.classes_.dtype == fitted.classes_.dtype and again.get_params() == fitted.get_params()
    assert semivae.load(tmp_path / "kept").task.name == "attributes", "it is a run too"
    with pytest.raises(RunError, match=r"open it by SemiVAEMultilabelClassifier\.load"):
        SemiVAEClassifier.load(tmp_path / "kept")
    file = tmp_path / "kept" / "estimator.json"
    content = json.loads(file.read_text()) | {"thresholds": "none"}
    (tmp_path / "changed").mkdir()
    (tmp_path / "changed" / "estimator.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="changed or damaged"):
        SemiVAEMultilabelClassifier.load(tmp_path / "changed")
    assert clone(fitted).validation_share == 0.3


def test_complete_matrices_need_no_unlabelled_example() -> None:
    x, y = make_multilabel_classification(n_samples=60, n_classes=4, random_state=0)
    assert SemiVAEMultilabelClassifier(steps=2, random_state=0).fit(x, y).predict(x).shape == (60, 4)


class Named(np.ndarray[Any, Any]):
    """An array whose columns have names, as a frame's do."""

    columns: list[str]


def test_columns_in_another_order_are_refused() -> None:
    fitted = SemiVAEMultilabelClassifier()
    fitted.classes_ = np.array(["red", "far"], dtype=object)
    y = np.array([[1, 0], [0, 1]]).view(Named)
    y.columns = ["red", "far"]
    assert fitted._indicators(y).tolist() == [[1, 0], [0, 1]]
    y.columns = ["far", "red"]
    with pytest.raises(ValueError, match="y has the columns far, red, but was fitted with red, far, in this order"):
        fitted._indicators(y)
