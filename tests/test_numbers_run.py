"""A run whose label is a number: from arrays to predictions with intervals, samples, reports, commands and files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import semivae
from semivae.api import Run
from semivae.classification.intervals import BESIDE, PredictedNumbers
from semivae.cli import app
from semivae.errors import DataError, RunError
from semivae.generative.imputation import impute
from semivae.tasks.kinds import NUMBERS
from tests.test_numbers import recipe

COUNT = 240


def arrays() -> dict[str, np.ndarray]:
    """Images whose left half is as bright as their number; a third of the numbers is not known."""
    rng = np.random.default_rng(0)
    y = rng.uniform(20.0, 80.0, COUNT)
    x = rng.integers(0, 60, (COUNT, 6, 6)).astype(np.uint8)
    x[:, :, :3] += (2.0 * y).astype(np.uint8)[:, None, None]
    y[::3] = np.nan
    return {"x": x, "y": y}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    streams = {**recipe().model_dump(exclude_defaults=True)["streams"]}
    streams["labels"] = {"observe": ["y"], "batch": 8, "loss_weights": {"y": 0}}
    asked = recipe(
        variables={**recipe().variables, "y": {"family": "gaussian", "unit": "years"}},
        split={"labelled": 60, "validation": 40},
        streams=streams,
        training={"steps": 60, "validate_every": 20, "learning_rate": 1e-2, "ema_decay": 0.9, "twin": True},
    )
    folder = tmp_path_factory.mktemp("numbers") / "run"
    return semivae.train(asked, dataset=arrays(), out=folder, progress=False)


def test_it_learns_and_keeps_the_scale(run: Run) -> None:
    assert run.task is NUMBERS and repr(run).startswith("<Run(") and "y, a number" in repr(run)
    known = ~np.isnan(arrays()["y"])
    spec = run.recipe.variables["y"]
    labelled = run.dataset().train["y"][run.split().labelled].double()
    assert spec.mean == pytest.approx((float(labelled.mean()),), rel=1e-5), "of the labelled examples alone"
    assert spec.deviation == pytest.approx((float(labelled.std()),), rel=1e-5) and spec.unit == "years"
    predicted, true = run.predict(arrays()["x"][known]), arrays()["y"][known]
    assert predicted.dtype == np.float32
    assert np.sqrt(np.mean((predicted - true) ** 2)) < 8.0, "numbers alone deviate by 17"
    again = semivae.load(run.path, dataset=arrays())
    np.testing.assert_array_equal(again.predict(arrays()["x"][:5]), run.predict(arrays()["x"][:5]))


def test_unknown_numbers_are_unlabelled_examples(run: Run) -> None:
    data = run.dataset()
    assert len(data.unlabelled["x"]) == COUNT // 3 and len(data.train["y"]) + len(data.test["y"]) == COUNT * 2 // 3
    assert not data.train["y"].isnan().any() and not data.test["y"].isnan().any()
    assert len(data.test["y"]) == pytest.approx(0.2 * COUNT * 2 / 3, abs=5)


def test_an_exported_file_says_what_it_gives_and_in_which_unit(run: Run, tmp_path: Path) -> None:
    facts = run.export(tmp_path / "numbers.onnx")
    assert facts["output"]["name"] == "mean_and_deviation"
    session = onnxruntime.InferenceSession(str(tmp_path / "numbers.onnx"))
    assert session.get_modelmeta().custom_metadata_map["unit"] == "years"
    x = run.dataset().test["x"]
    (found,) = session.run(["mean_and_deviation"], {"images": run.preprocess(x.numpy()).cpu().numpy()})
    np.testing.assert_allclose(found[:, 0], run.predict(x), rtol=1e-4)
    assert 'run.predict("my_files/")' in run.card()


def test_an_evaluation_is_in_the_unit(run: Run) -> None:
    report = json.loads(json.dumps(run.evaluate()))
    assert (report["kind"], report["unit"], report["count"]) == ("numbers", "years", len(run.dataset().test["y"]))
    outputs = run.predict_numbers(run.dataset().test["x"].numpy())
    gaps = outputs.means - run.dataset().test["y"].numpy()
    scores = report["last"]
    assert scores["rmse"] == pytest.approx(float(np.sqrt(np.mean(gaps**2))), rel=1e-5)
    z = gaps / outputs.scales
    nll = np.mean(0.5 * z**2 + np.log(outputs.scales) + 0.5 * np.log(2 * np.pi))
    assert scores["nll"] == pytest.approx(float(nll), rel=1e-4)
    assert outputs.low is not None and outputs.high is not None
    held = (outputs.low <= run.dataset().test["y"].numpy()) & (run.dataset().test["y"].numpy() <= outputs.high)
    assert scores["intervals"]["covered"] == pytest.approx(float(held.mean()))
    assert (scores["intervals"]["count"], outputs.coverage, outputs.count) == (40, 0.9, 40)
    assert "sets" not in report and report["twin"]["rmse"] > 0


def test_intervals_are_kept_with_the_run(run: Run) -> None:
    expected = run.predict_numbers(arrays()["x"][:3], coverage=0.5)
    alone = semivae.load(run.path)  # without its data
    found = alone.predict_numbers(arrays()["x"][:3], coverage=0.5)
    assert found.low is not None and expected.low is not None
    np.testing.assert_array_equal(found.low, expected.low)
    assert found.facts() == {"unit": "years", "coverage": 0.5, "calibrated_on": 40}
    with pytest.raises(RunError, match=r"40 validation examples cannot promise intervals with a coverage of 0.99"):
        run.predict_numbers(arrays()["x"][:3], coverage=0.99)


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        (lambda run, x: run.predict(x, names=True), "y is a number, so it has no names"),
        (lambda run, x: run.predict_sets(x), "prediction sets and rejection are about classes, but y is a number"),
        (lambda run, x: run.predict(x, at_most_error=0.1), "prediction sets and rejection are about classes"),
        (lambda run, x: run.evaluate(calibrate=True), "a temperature is for class probabilities"),
        (lambda run, x: run.evaluate(prior={"a": 1}), "a prior is about classes"),
        (lambda run, x: run.suggest(x), "suggestions compare class probabilities"),
        (lambda run, x: run.sample(2, y="old"), "'old' is not a number"),
    ],
)
def test_what_is_for_classes_is_refused(run: Run, verb: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        verb(run, arrays()["x"][:12])


def test_samples_are_given_and_drawn_in_the_unit(run: Run) -> None:
    drawn = run.sample(3, y=[30.0, 50.0, 70.0], seed=0)
    assert drawn["y"].tolist() == [30.0, 50.0, 70.0]
    brightness = drawn["x"][..., :3].mean(dim=(1, 2, 3))
    assert brightness[0] < brightness[1] < brightness[2], "the left half is as bright as its number"
    prior = run.sample(500, seed=0)["y"]
    assert 30 < float(prior.mean()) < 70 and 8 < float(prior.std()) < 30


def test_missing_pixels_are_filled_in_given_a_number(run: Run) -> None:
    images = run.preprocess(arrays()["x"][:2])
    missing = torch.zeros_like(images, dtype=torch.bool)
    missing[..., :3] = True
    dark, bright = (
        impute(run, images, missing, {"y": y}, draws=4, rounds=3).mean[..., :3].mean() for y in (25.0, 75.0)
    )
    assert dark < bright
    drawn = impute(run, images, missing, draws=4, rounds=3).labels
    assert drawn is not None and drawn.shape == (2, 4) and drawn.is_floating_point()


def test_a_diagnosis_speaks_of_numbers(run: Run) -> None:
    report = run.diagnose(samples=64)
    assert report["headline"]["name"] == "RMSE"
    readers = report["validation"]["readers"]
    assert set(readers) == {"its own encoder", "its supervised twin"}
    low, high = readers["its own encoder"]["interval"]
    assert low < readers["its own encoder"]["error"] < high
    assert 0.0 <= report["samples"]["readers"]["its own encoder"]["read_as_intended"] <= 1.0
    assert not any("%" in warning["seen"] and "wrong label" in warning["seen"] for warning in report["warnings"])


# Commands ------------------------------------------------------------------------------------------------------------


def invoke(*args: object) -> str:
    found = CliRunner().invoke(app, [str(arg) for arg in args])
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture
def images(tmp_path: Path) -> Path:
    np.save(tmp_path / "images.npy", arrays()["x"][:4])
    return tmp_path / "images.npy"


def test_predict_writes_numbers_with_intervals(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "numbers.csv"
    said = invoke("predict", run.path, images, "--out", out, "--coverage", 0.8)
    assert "intervals (low to high) hold 80% of the numbers of new images like the 40 validation images" in said
    rows = list(csv.DictReader(out.read_text().splitlines()))
    expected = run.predict_numbers(arrays()["x"][:4], coverage=0.8)
    assert list(rows[0]) == ["name", "y", "deviation", "low", "high"]
    assert float(rows[2]["y"]) == pytest.approx(float(expected.means[2]), rel=1e-5)
    assert expected.high is not None and float(rows[2]["high"]) == pytest.approx(float(expected.high[2]), rel=1e-5)
    as_json = json.loads(invoke("predict", run.path, images, "--json"))
    assert (as_json["coverage"], as_json["unit"], len(as_json["images"])) == (0.9, "years", 4)


def test_predict_says_the_same_of_files_in_pieces(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    for row, pixels in enumerate(arrays()["x"][:7]):
        Image.fromarray(pixels).save(tmp_path / "files" / f"{row}.png")
    words = ("predict", run.path, tmp_path / "files")
    at_once = invoke(*words)
    monkeypatch.setattr("semivae.data.inputs.pieces.PIECE", 3)
    assert invoke(*words) == at_once and len(at_once.splitlines()) >= 8


@pytest.mark.parametrize("label", BESIDE)
def test_a_label_named_like_a_column_beside_it_keeps_its_numbers(label: str) -> None:
    one = PredictedNumbers(np.array([1.0]), np.array([2.0]), np.array([0.0]), np.array([3.0]))
    assert one.columns(label) == {f"{label}_mean": [1.0], "deviation": [2.0], "low": [0.0], "high": [3.0]}
    pair = PredictedNumbers(np.array([[1.0, 5.0]]), np.array([[2.0, 6.0]]))
    assert list(pair.columns(label).values()) == [[1.0], [5.0], [2.0], [6.0]]


def test_evaluate_and_diagnose_show_rmse(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semivae.cli.run_commands.open_run", lambda *_: semivae.load(run.path, dataset=arrays()))
    said = invoke("evaluate", run.path)
    for words in ("RMSE", "in years", "90% intervals hold", "Reliability of intervals", "supervised twin"):
        assert words in said


def test_a_run_without_validation_has_no_intervals(tmp_path: Path) -> None:
    asked = recipe(split={"labelled": 60}, training={"steps": 2})
    run = semivae.train(asked, dataset=arrays(), out=tmp_path / "run", progress=False)
    found = run.predict_numbers(arrays()["x"][:2])
    assert found.low is None and found.coverage is None and list(found.columns("y")) == ["y", "deviation"]
    with pytest.raises(RunError, match="intervals need validation examples, and the run has none"):
        run.predict_numbers(arrays()["x"][:2], coverage=0.9)
    assert "intervals" not in run.evaluate()["last"]


# Data ----------------------------------------------------------------------------------------------------------------


def test_a_class_recipe_refuses_numbers_with_advice(tmp_path: Path) -> None:
    decoder = {**recipe().decoder, "y": "uniform"}
    asked = recipe(variables={**recipe().variables, "y": {"family": "categorical"}}, decoder=decoder)
    with pytest.raises(DataError, match=r"y of data in memory holds numbers, which are gaussian; change its family"):
        semivae.train(asked, dataset=arrays(), out=tmp_path / "run", progress=False)


# The report ----------------------------------------------------------------------------------------------------------


def test_a_report_shows_predicted_against_true(run: Run, tmp_path: Path) -> None:
    numbers = run.report(tmp_path / "page.html")["runs"][0]
    page = (tmp_path / "page.html").read_text()
    for words in (
        "Predicted against true (years)",
        "Residuals (years)",
        "What intervals hold, against what they promise",
    ):
        assert words in page
    count = len(run.dataset().test["y"])
    assert f'aria-label="Predicted against true (years): {count} test examples"' in page
    assert "RMSE" in page and "→" in page
    assert numbers["left_out"] == [] and "doubted" not in numbers and numbers["evaluation"]["unit"] == "years"


def test_the_examples_that_are_furthest_off_come_first(run: Run) -> None:
    outputs = torch.tensor([[50.0, 1.0], [50.0, 9.0], [50.0, 2.0]])
    worst, wrong, sure = NUMBERS.by_example(outputs, torch.tensor([49.0, 20.0, float("nan")]))
    assert worst[:2].tolist() == [-1.0, -30.0] and worst[2].isnan()
    assert wrong[:2].tolist() == [1.0, 1.0] and wrong[2].isnan()
    assert sure.tolist() == [-1.0, -9.0, -2.0]
