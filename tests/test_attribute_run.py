"""A run whose label is a vector of attributes, from training to every command."""

from __future__ import annotations

import csv
import json
import re
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
from semivae.cli import app
from semivae.errors import RunError
from semivae.generative.imputation import impute
from semivae.metrics import SMALLEST_PROBABILITY
from semivae.page.report import write_report
from semivae.recipe.schema import Recipe
from semivae.runs.folder import read_calibrations
from semivae.variables import VOID

NET = {"name": "mlp", "hidden": [48]}
RECIPE: dict[str, Any] = {
    "source": {"name": "digit_pairs", "of": "digits"},
    "split": {"labelled": 300, "validation": 100},
    "variables": {
        "x": {"family": "bernoulli", "complete_with": "mean"},
        "y": {"family": "bernoulli"},
        "h": {"family": "bernoulli", "shape": [8]},
    },
    "decoder": {"y": "learned", "h": "uniform", "x": {"given": ["y", "h"], "net": NET}},
    "encoder": {"y": {"given": ["x"], "net": NET}, "h": {"given": ["x", "y"], "net": NET}},
    "views": {"weak": {"noise": 0.05}},
    "streams": {
        "labelled": {"observe": ["x", "y"], "batch": 64},
        "unlabelled": {
            "observe": ["x"],
            "batch": 64,
            "views": {"weak": "weak", "strong": "weak", "align": True, "ramp": 0.5, "temperature": 0.5},
        },
        "labels": {"observe": ["y"], "batch": 64, "loss_weights": {"y": {"encoder": 0}}},
    },
    "training": {"steps": 60, "learning_rate": 1e-2, "validate_every": 30, "twin": True},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = semivae.train(
        Recipe.model_validate(RECIPE), out=tmp_path_factory.mktemp("attributes") / "run", progress=False
    )
    return run


def command(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_it_learns_and_keeps_its_best_step(trained: Run) -> None:
    rows = [json.loads(line) for line in (trained.path / "metrics.jsonl").read_text().splitlines()]
    model = [row for row in rows if row["phase"] == "model"]
    assert 0 < model[-1]["validation_error"] < 0.6 and model[-1]["validation_deviation"] > 0
    assert len(model[-1]["class_shares"]) == 10 and model[-1]["validation_error"] < 1 - 0.19 * 0.95, "chance"
    best = min(model, key=lambda row: (row["validation_error"], -row["step"]))
    assert trained.at("selected").facts.step == best["step"]


def test_an_evaluation_scores_attributes_at_thresholds_of_the_validation_images(trained: Run) -> None:
    report = trained.evaluate()
    scores = report["last"]
    assert report["kind"] == "attributes" and report["count"] == 250
    assert scores["thresholds_chosen_on"] == 100 and 0.3 < scores["mean_average_precision"] < 1.0
    low, high = scores["mean_average_precision_interval"]
    assert low < scores["mean_average_precision"] < high
    p = torch.cat(list(trained.classifier().in_parts(trained.dataset().test["x"]))).numpy()
    y = trained.dataset().test["y"].numpy()
    nll = -np.log(np.where(y == 1, p, 1 - p).clip(SMALLEST_PROBABILITY)).mean()
    assert scores["nll"] == pytest.approx(nll, rel=1e-4)
    on_validation = trained.evaluate(split="validation")["last"]
    at_half = trained.dataset().train["y"][trained.split().validation].numpy()
    assert on_validation["macro_f1"] > 0 and at_half.shape == (100, 10)


def test_thresholds_are_kept_with_the_run_and_belong_to_its_checkpoint(trained: Run) -> None:
    chosen = trained.classifier().chosen
    kept = [entry for entry in read_calibrations(trained.path) if "chosen" in entry]
    assert {entry["checkpoint"] for entry in kept} >= {"last", "twin"}
    assert chosen in [entry["chosen"] for entry in kept if entry["checkpoint"] == "last"]
    calibrated = trained.classifier(calibrate=True)
    assert calibrated.calibration.temperature != 1.0 and calibrated.chosen["thresholds"] != chosen["thresholds"]
    images = trained.dataset().test["x"]
    assert np.array_equal(calibrated.predict(images), trained.classifier().predict(images)), "the order stays"
    assert trained.classifier().chosen == chosen, "both are kept"
    again = semivae.load(trained.path, data_root="/nowhere")
    assert again.classifier().chosen == chosen, "without the data too"


def test_a_temperature_makes_attributes_likelier(trained: Run) -> None:
    calibration = trained.classifier(calibrate=True).calibration
    assert calibration.nll is not None and calibration.nll_before is not None
    assert calibration.nll < calibration.nll_before and calibration.count == 100
    probabilities = trained.classifier(calibrate=True).probabilities(trained.dataset().test["x"])
    assert probabilities.shape == (250, 10) and probabilities.min() >= 0 and probabilities.max() <= 1
    parts = torch.cat(list(trained.classifier(calibrate=True).in_parts(trained.dataset().test["x"])))
    assert torch.allclose(parts, probabilities, atol=1e-6)


def test_predictions_are_zeros_and_ones_or_names(trained: Run) -> None:
    images = trained.dataset().test["x"][:5].numpy()
    answers = trained.predict(images)
    assert answers.shape == (5, 10) and set(np.unique(answers)) <= {0, 1}
    names = trained.predict(images, names=True)
    assert names.tolist() == [";".join(str(k) for k in np.flatnonzero(row)) for row in answers]


def test_the_command_writes_a_column_for_each_attribute(trained: Run, tmp_path: Path) -> None:
    images, out = tmp_path / "x.npy", tmp_path / "out.csv"
    np.save(images, trained.dataset().test["x"][:4].numpy())
    command("predict", str(trained.path), str(images), "--out", str(out))
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["name", "attributes", *(f"prob_{k}" for k in range(10))]
    assert [row["attributes"] for row in rows] == trained.predict(np.load(images), names=True).tolist()
    told = json.loads(command("predict", str(trained.path), str(images), "--json").stdout)
    assert told["thresholds_chosen_on"] == 100 and list(told["thresholds"]) == [str(k) for k in range(10)]
    assert [row["attributes"] for row in told["images"]] == [row["attributes"] for row in rows]


def test_predict_says_the_same_of_files_in_pieces(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    for row, pixels in enumerate(trained.dataset().test["x"][:7, 0].numpy()):
        Image.fromarray(pixels).save(tmp_path / "files" / f"{row}.png")
    at_once = command("predict", str(trained.path), str(tmp_path / "files")).output
    monkeypatch.setattr("semivae.data.inputs.pieces.PIECE", 3)
    assert command("predict", str(trained.path), str(tmp_path / "files")).output == at_once
    assert len(at_once.splitlines()) >= 8


def test_commands_show_attributes(trained: Run) -> None:
    shown = command("evaluate", str(trained.path), "--calibrate").output
    assert "mean average precision" in shown and "thresholds are chosen on 100 validation images" in shown
    assert re.search(r"9 +\d+ of 250", shown), "each attribute, and how many have it"
    told = json.loads(command("diagnose", str(trained.path), "--json").stdout)
    assert told["headline"]["name"] == "1 - mean average precision"
    readers = told["validation"]["readers"]["its own encoder"]
    assert readers["interval"][0] < readers["error"] < readers["interval"][1]
    assert "1 - mean average" in command("diagnose", str(trained.path)).output


def test_attributes_never_answered_are_a_warning(trained: Run) -> None:
    from semivae.monitoring.context import Context
    from semivae.monitoring.failures import missing_classes

    names = ("smiling", "hat", "glasses")
    context = Context(
        steps=1, label="y", counted="the attributes of {images}", nouns=trained.task.nouns, n_images=100, n_values=100,
        has_labels=True, expected=(0.5, 0.2, 0.001), classes=names,
    )  # fmt: skip
    (failure,) = missing_classes([{"step": 1, "predicted_shares": [0.4, 0.0, 0.0]}], context)
    assert "classified as hat (20.0% expected) at" in failure.seen, "glasses are rare enough to be missed by chance"
    assert failure.means == "the classifier has lost 1 of 3 attributes"


def test_samples_are_drawn_for_attributes(trained: Run, tmp_path: Path) -> None:
    drawn = trained.sample(40, y="3,8")
    assert drawn["y"].sum(dim=1).tolist() == [2.0] * 40 and (drawn["y"][:, [3, 8]] == 1).all()
    partly = trained.sample(400, y="3,!8,?")["y"]
    assert (partly[:, 3] == 1).all() and (partly[:, 8] == 0).all()
    assert 0.02 < partly[:, 1].mean() < 0.5 and VOID not in partly, "all others by the decoder's prior"
    command("sample", str(trained.path), "-n", "4", "--given", "y=3,8", "--out", str(tmp_path / "grid.png"))
    assert (tmp_path / "grid.png").is_file()


def test_attributes_are_imputed_given_some_of_them(trained: Run) -> None:
    images = trained.preprocess(trained.dataset().test["x"][:6].numpy())
    missing = torch.zeros_like(images, dtype=torch.bool)
    missing[..., :8] = True
    found = impute(trained, images, missing, given={"y": "3,?"}, draws=10, rounds=2)
    assert found.labels is not None and found.labels.shape == (6, 10, 10)
    assert (found.labels[..., 3] == 1).all() and VOID not in found.labels


def test_a_report_shows_attributes(trained: Run, tmp_path: Path) -> None:
    told = write_report([trained], tmp_path / "report.html")["runs"][0]
    page = (tmp_path / "report.html").read_text()
    assert told["left_out"] == [] and "Mean average precision" in page and "<th>attribute</th>" in page
    assert told["data"]["class_counts"]["labelled"] == trained.facts.labelled_counts
    assert told["most_wrong"] and all(0 < row["wrong"] <= 1 for row in told["most_wrong"])


def test_a_card_has_the_figures_of_attributes(trained: Run) -> None:
    from semivae.reports.card import card

    text = card(trained)
    assert "mean average precision" in text and "10 attributes: 0, 1, 2" in text and "accuracy" not in text


def test_an_exported_file_gives_probabilities_and_says_what_they_mean(trained: Run, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    facts = trained.export(path, calibrate=True)
    assert facts["output"]["shape"] == ["n", 10]
    session = onnxruntime.InferenceSession(str(path))
    images = trained.preprocess(trained.dataset().test["x"][:7].numpy()).cpu().numpy()
    (found,) = session.run(None, {"images": images})
    classifier = trained.classifier(calibrate=True)
    assert np.allclose(found, classifier.probabilities(trained.dataset().test["x"][:7]).numpy(), atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == [str(k) for k in range(10)]
    assert json.loads(metadata["chosen"]) == classifier.chosen, "the thresholds, at that temperature"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda run: run.classifier(vote=True), "the decoder votes on single classes only, but y is a vector of"),
        (lambda run: run.classifier(prior=[0.1] * 10), "a prior is about one class per example, but y is a vector of"),
        (lambda run: run.predict_sets(run.dataset().test["x"]), "prediction sets and rejection are about one class"),
        (lambda run: run.evaluate(at_most_error=0.1), "prediction sets and rejection are about one class per example"),
    ],
)
def test_what_is_for_single_classes_is_refused(trained: Run, ask: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        ask(trained)
