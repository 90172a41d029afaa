"""SemiVAEClassifier: tables and images, with and without labels, alone and among scikit-learn's tools."""

from __future__ import annotations

import copy
import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_blobs
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import semivae
from semivae.data.readers.digits import read_digits
from semivae.errors import DataError, DataWarning, RecipeError, RunError
from semivae.recipe import read_recipe
from semivae.recipe.schema import ProbabilitiesSpec
from semivae.sklearn import SemiVAEClassifier
from semivae.tasks.splitting import make_split

Array = NDArray[Any]
# What learns the table in little time.
QUICK: dict[str, Any] = {"steps": 25, "random_state": 0, "set": {"training.learning_rate": 0.02}}


def table(labels: int = 30) -> tuple[Array, Array]:
    """Three clouds in units far from 1, of which few points have a label."""
    x, y = make_blobs(n_samples=150, centers=3, n_features=4, random_state=0)
    x = x * np.array([1000.0, 1.0, 0.01, 1.0]) + np.array([0.0, 500.0, 0.0, 0.0])
    y[np.random.default_rng(0).permutation(len(y))[labels:]] = -1
    return x, y


@pytest.fixture(scope="module")
def fitted() -> SemiVAEClassifier:
    return SemiVAEClassifier(**QUICK).fit(*table())


def test_a_table_is_learnt_in_its_own_units(fitted: SemiVAEClassifier) -> None:
    _, y = make_blobs(n_samples=150, centers=3, n_features=4, random_state=0)
    rows = table()[0]
    assert fitted.score(rows, y) > 0.9
    assert fitted.classes_.tolist() == [0, 1, 2]
    drawn = fitted.sample_class(2, 50, random_state=0)
    assert np.abs((drawn.mean(axis=0) - rows[y == 2].mean(axis=0)) / rows.std(axis=0)).max() < 0.5
    assert (fitted.sample_class(2, 50, random_state=0) == drawn).all()
    assert fitted.transform(rows).shape == (150, len(fitted.get_feature_names_out()))


def test_familiar_rows_score_higher(fitted: SemiVAEClassifier) -> None:
    rows = table()[0]
    usual, odd = fitted.score_samples(rows[:40]), fitted.score_samples(rows[:40] + 8 * rows.std(axis=0))
    assert usual.min() > odd.max()
    assert np.allclose(fitted.score_samples(rows[5:6]), usual[5]), "whatever stands beside it"


def test_examples_without_a_label_do_not_count_in_the_score(fitted: SemiVAEClassifier) -> None:
    rows, y = table()
    known = y >= 0
    assert fitted.score(rows, y) == fitted.score(rows[known], y[known])
    assert fitted.score(rows, np.where(known, y, np.nan)) == fitted.score(rows, y)
    with pytest.raises(ValueError, match="nothing to compare"):
        fitted.score(rows[:2], [-1, -1])
    mixed, weights = np.where(known, (y + (np.arange(len(y)) % 3 == 0)) % 3, -1), np.arange(1.0, len(y) + 1)
    right = (fitted.predict(rows) == mixed)[known]
    assert fitted.score(rows, mixed, weights) == pytest.approx(np.average(right, weights=weights[known]))
    assert fitted.score(rows, mixed, weights) != pytest.approx(right.mean())


def test_texts_as_classes() -> None:
    rows, y = table()
    names = np.array(["ant", "bee", "cow", None], dtype=object)[y]
    estimator = SemiVAEClassifier(**QUICK).fit(rows, names)
    assert estimator.classes_.tolist() == ["ant", "bee", "cow"]
    assert estimator.run_.classes == ("ant", "bee", "cow")
    assert set(estimator.predict(rows)) == {"ant", "bee", "cow"}
    assert estimator.score(rows, names) > 0.9
    assert estimator.sample_class("bee", 3).shape == (3, 4)
    with pytest.raises(ValueError, match="'dog' is no class; the classes are 'ant', 'bee', 'cow'"):
        estimator.sample_class("dog")


def test_all_labels_or_hardly_any() -> None:
    rows, y = load_iris(return_X_y=True)
    assert SemiVAEClassifier(**QUICK).fit(rows, y).score(rows, y) > 0.8
    few = np.full(len(y), -1)
    few[[0, 50, 100]] = [0, 1, 2]  # one of each class: nothing may be kept for validation
    assert SemiVAEClassifier(**QUICK).fit(rows, few).predict(rows).shape == (150,)


def test_the_unlabelled_rows_take_part() -> None:
    """Mirrored about their mean they leave the columns' means and deviations alone, so that only training sees it."""
    rows, y = table(6)
    mirrored = rows.copy()
    mirrored[y < 0] = 2 * rows[y < 0].mean(axis=0) - rows[y < 0]
    one, other = (SemiVAEClassifier(steps=20, random_state=0).fit(given, y) for given in (rows, mirrored))
    assert not np.allclose(one.predict_proba(rows), other.predict_proba(rows), atol=1e-3)


def test_the_class_prior_moves_predictions_and_what_is_drawn() -> None:
    rows, y = table()
    rare = SemiVAEClassifier(**QUICK, class_prior={0: 0.98, 1: 0.01, 2: 0.01}).fit(rows, y)
    plain = SemiVAEClassifier(**QUICK).fit(rows, y)
    assert plain.class_prior_ is None
    assert rare.predict_proba(rows)[:, 0].mean() > plain.predict_proba(rows)[:, 0].mean() + 0.01
    assert rare.run_.recipe.streams["labels"].values == ProbabilitiesSpec(probabilities=(0.98, 0.01, 0.01))
    shares = SemiVAEClassifier(steps=1, random_state=0, class_prior={2: 0.2, 0: 0.5, 1: 0.3}).fit(rows, y).class_prior_
    assert np.asarray(shares).tolist() == [0.5, 0.3, 0.2], "by class, in whatever order"
    counted = SemiVAEClassifier(steps=1, random_state=0).fit(rows, y, y_alone=[0, 0, 0, 2, 2, 0, 0])
    assert np.asarray(counted.class_prior_).tolist() == [0.6, 0.1, 0.3], "one more of each"
    with pytest.raises(ValueError, match="give one of them"):
        SemiVAEClassifier(class_prior="uniform").fit(rows, y, y_alone=[0])
    with pytest.raises(ValueError, match="7 is no class"):
        SemiVAEClassifier().fit(rows, y, y_alone=[7])


@pytest.mark.parametrize("layout", ["grey", "first", "last"])
def test_images_in_any_layout(layout: str) -> None:
    data = read_digits().train
    images, y = data["x"].numpy()[:60, 0], data["y"].numpy()[:60].copy()
    y[40:] = -1
    if layout == "first":
        images = np.stack([images] * 3, axis=1)
    if layout == "last":
        images = np.stack([images] * 3, axis=-1) / np.float32(255)
    estimator = SemiVAEClassifier(steps=3, random_state=0).fit(images, y)
    assert estimator.n_features_in_ == images[0].size
    assert estimator.predict(images).shape == estimator.score_samples(images).shape == (60,)
    drawn = estimator.sample_class(3, 2, random_state=0)
    assert drawn.shape == (2, *images.shape[1:])
    assert (drawn.dtype == np.uint8) == (layout != "last") and drawn.max() <= (1 if layout == "last" else 255)
    with pytest.raises(ValueError, match="was fitted on"):
        estimator.predict(images[:, 1:])


def split_digits() -> tuple[Array, Array, Array, Array]:
    """The split of the recipe `digits_50labels`, as X and y."""
    data = read_digits()
    split = make_split(data, read_recipe("digits_50labels").split)
    rows = torch.cat([split.labelled, split.unlabelled])
    images, y = data.train["x"][rows, 0].numpy(), data.train["y"][rows].numpy()
    y[len(split.labelled) :] = -1
    return images, y, data.test["x"][:, 0].numpy(), data.test["y"].numpy()


def test_a_recipe_by_name_is_the_same_game(tmp_path: Path) -> None:
    """On the recipe's own split: the same weights after the same steps, bit for bit."""
    images, y, test, _ = split_digits()
    estimator = SemiVAEClassifier("digits_50labels", steps=4, random_state=0).fit(images, y)
    run = semivae.train("digits_50labels", set={"training.steps": 4}, out=tmp_path / "run", twin=False)
    for name, tensor in run.encoder.state_dict().items():
        assert torch.equal(tensor, estimator.run_.encoder.state_dict()[name]), name
    assert np.allclose(estimator.predict_proba(test), run.classifier().probabilities(test), atol=1e-6)
    floats = SemiVAEClassifier(read_recipe("digits_50labels"), steps=4, random_state=0)
    assert np.array_equal(floats.fit(images / 255, y).predict_proba(test / 255), estimator.predict_proba(test)), (
        "a recipe as an object, images as floats"
    )


@pytest.mark.slow
def test_digits_are_learnt_as_by_the_recipe() -> None:
    images, y, test, truth = split_digits()
    estimator = SemiVAEClassifier("digits_50labels", random_state=0).fit(images, y)
    assert estimator.score(test, truth) > 0.95  # docs/results.md: 97.0% +- 0.8 over five splits


def test_pickles_copies_and_joblib(fitted: SemiVAEClassifier, tmp_path: Path) -> None:
    rows = table()[0]
    joblib.dump(fitted, tmp_path / "estimator.joblib")
    for other in (
        pickle.loads(pickle.dumps(fitted)),
        copy.deepcopy(fitted),
        joblib.load(tmp_path / "estimator.joblib"),
    ):
        assert np.array_equal(other.predict_proba(rows), fitted.predict_proba(rows))
    with pytest.raises(NotFittedError):
        clone(fitted).predict(rows)
    assert clone(fitted).get_params() == fitted.get_params()


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_what_is_saved_opens_without_pickle(kind: str, tmp_path: Path) -> None:
    rows, y = table()
    labels = y if kind == "numbers" else np.array(["a", "b", "c", None], dtype=object)[y]
    estimator = SemiVAEClassifier(
        steps=3, random_state=np.random.RandomState(0), class_prior=[0.2, 0.3, 0.5], set={"training.warmup": 1}
    ).fit(rows, labels)
    estimator.save(tmp_path / "kept")
    assert not any(b"pickle" in file.read_bytes() for file in (tmp_path / "kept").iterdir())
    other = SemiVAEClassifier.load(tmp_path / "kept")
    assert np.array_equal(other.predict_proba(rows), estimator.predict_proba(rows))
    assert np.array_equal(other.predict(rows), estimator.predict(rows))
    assert other.classes_.dtype == estimator.classes_.dtype
    assert np.array_equal(other.score_samples(rows[:3]), estimator.score_samples(rows[:3]))
    assert np.array_equal(
        other.sample_class(labels[y == 1][0], 2, random_state=1),
        estimator.sample_class(labels[y == 1][0], 2, random_state=1),
    )
    assert clone(other).set_params(random_state=0).fit(rows, labels).classes_.tolist() == estimator.classes_.tolist()
    assert semivae.load(tmp_path / "kept").classes == estimator.run_.classes, "it is a run too"
    with pytest.raises(RunError, match="something is there already"):
        estimator.save(tmp_path / "kept")


def test_what_was_saved_and_changed_is_refused(fitted: SemiVAEClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "kept")
    file = tmp_path / "kept" / "estimator.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"classes": [[1]]}))
    with pytest.raises(RunError, match="changed or damaged"):
        SemiVAEClassifier.load(tmp_path / "kept")
    with pytest.raises(RunError, match=r"holds no estimator\.json"):
        SemiVAEClassifier.load(tmp_path)


def test_nothing_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    estimator = SemiVAEClassifier(steps=2, random_state=0).fit(*table())
    pickle.loads(pickle.dumps(estimator)).predict(table()[0])
    with pytest.raises(RecipeError):
        SemiVAEClassifier(set={"training.stepz": 1}).fit(*table())
    assert list(tmp_path.iterdir()) == []


class StopError(Exception):
    """Stands for Ctrl-C."""


def test_a_fit_that_ends_early_changes_nothing(fitted: SemiVAEClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise StopError

    rows, y = table()
    known, other = pickle.loads(pickle.dumps(fitted)), np.array(["a", "b", "c", None], dtype=object)[y]
    monkeypatch.setattr("semivae.sklearn.base.train", stop)
    new = SemiVAEClassifier(steps=2)
    for estimator in (known, new):
        with pytest.raises(StopError):
            estimator.fit(rows[:, :3], other)
    with pytest.raises(NotFittedError):
        new.predict(rows)
    assert known.predict(rows).tolist() == fitted.predict(rows).tolist()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"set": {"training.stepz": 1}}, "^set: training.stepz: unknown key; did you mean steps"),
        ({"set": ["training.steps=1"]}, r"^set=\['training.steps=1'\] is no mapping"),
        ({"steps": 0}, "^steps=0 is no whole number of 1 or more"),
        ({"steps": 2.5}, "^steps=2.5 is no whole number"),
        ({"recipe": "tabel"}, "did you mean table"),
        ({"class_prior": [0.5, 0.5]}, r"class_prior has shape \[2\]"),
        (
            {"device": "gpu"},
            "device gpu: there is no such kind; the kinds are cpu, cuda, mps; use the device auto or cpu",
        ),
        ({"strangers": 2.0}, "share: must be less than 1"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_parameter_is_a_value_error(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SemiVAEClassifier(**parameters).fit(*table())


def test_what_a_fitted_one_cannot_answer_is_a_value_error(fitted: SemiVAEClassifier) -> None:
    with pytest.raises(ValueError, match="cannot draw 0 samples"):
        fitted.sample_class(0, n_samples=0)
    with pytest.raises(ValueError, match="holds numbers beyond"):
        fitted.predict(table()[0] * 1e300)


def test_its_run_says_that_rows_of_an_array_are_standardised(fitted: SemiVAEClassifier) -> None:
    rows = table()[0]
    with pytest.warns(DataWarning, match="look like rows of the table; give a .csv or a DataFrame"):
        fitted.run_.predict(rows)
    standardised = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    assert (fitted.run_.predict(standardised) == fitted.predict(rows)).all(), "and no warning"


def test_a_column_vector_of_texts_is_scored(fitted: SemiVAEClassifier) -> None:
    rows, y = table()
    texts = np.array(["a", "b", "c", None], dtype=object)[y][:, None]
    with pytest.warns(DataConversionWarning):
        estimator = SemiVAEClassifier(steps=60, random_state=0).fit(rows, texts)
    assert estimator.score(rows, texts) == estimator.score(rows, texts.ravel()) > 0.8


def test_classes_of_the_largest_numbers_are_saved(tmp_path: Path) -> None:
    rows, y = table()
    labels = (y + 1).astype(np.uint64) + np.uint64(2**63)
    SemiVAEClassifier(steps=1, unlabelled=None).fit(rows, labels).save(tmp_path / "kept")
    assert SemiVAEClassifier.load(tmp_path / "kept").classes_.tolist() == np.unique(labels).tolist()


def test_it_is_silent_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    SemiVAEClassifier(steps=2, random_state=0).fit(*table())
    assert capfd.readouterr() == ("", "")
    SemiVAEClassifier(steps=2, random_state=0, verbose=True).fit(*table())
    assert "step 2 of 2" in capfd.readouterr().out


def test_among_the_tools_of_scikit_learn() -> None:
    rows, y = table()
    search = GridSearchCV(
        make_pipeline(MinMaxScaler(), SemiVAEClassifier(random_state=0)),
        {"semivaeclassifier__steps": [1, 60]},
        cv=2,
        error_score="raise",
    ).fit(rows, y)
    assert search.best_params_ == {"semivaeclassifier__steps": 60}, "by the labelled rows of each fold alone"
    known = y >= 0
    calibrated = CalibratedClassifierCV(SemiVAEClassifier(**QUICK), cv=2).fit(rows[known], y[known])
    assert calibrated.score(rows[known], y[known]) > 0.8


def test_columns_of_a_data_frame_have_their_names(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows, y = table()
    frame = pandas.DataFrame(rows, columns=["a", "b", "c", "d"])
    labels = pandas.Series(y).map({0: "x", 1: "y", 2: "z"}).astype("string")  # -1 becomes pandas' NA
    estimator = SemiVAEClassifier(**QUICK).fit(frame, labels)
    assert estimator.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert estimator.score(frame, labels) > 0.8
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(frame[["b", "a", "c", "d"]])
    assert estimator.set_output(transform="pandas").transform(frame).columns[0] == "semivaeclassifier0"
    estimator.save(tmp_path / "kept")
    assert SemiVAEClassifier.load(tmp_path / "kept").feature_names_in_.tolist() == ["a", "b", "c", "d"]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    run = semivae.load(tmp_path / "kept")
    assert run.predict(tmp_path / "rows.csv", names=True).tolist() == estimator.predict(frame).tolist()


def test_columns_without_numbers_are_named() -> None:
    pandas = pytest.importorskip("pandas")
    rows, y = table()
    frame = pandas.DataFrame(rows, columns=["a", "b", "c", "d"])
    kinds = frame.assign(soil=["clay", "sand"] * 75, when=pandas.date_range("2020", periods=150))
    with pytest.raises(ValueError, match="the columns soil, when hold no numbers; encode texts and dates first"):
        SemiVAEClassifier(steps=1).fit(kinds, y)
    with pytest.raises(ValueError, match="the column soil holds no numbers"):
        SemiVAEClassifier(steps=1).fit(frame.assign(soil=kinds["soil"].astype("category")), y)


def test_the_run_reads_a_data_frame_by_its_columns() -> None:
    pandas = pytest.importorskip("pandas")
    rows, y = table()
    frame = pandas.DataFrame(rows, columns=["a", "b", "c", "d"])
    estimator = SemiVAEClassifier(**QUICK).fit(frame, y)
    assert (estimator.run_.predict(frame[["d", "b", "a", "c"]]) == estimator.predict(frame)).all()
    with pytest.raises(DataError, match="the data frame has no column a, d"):
        estimator.run_.predict(frame[["b", "c"]])
