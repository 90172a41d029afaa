"""Prediction sets, withheld answers and novelty beside predictions, on a really trained run."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import semivae
from semivae.api import Run
from semivae.classification import Classifier
from semivae.classification.more_validation import more_validation
from semivae.classification.trust import Validated, sets_of
from semivae.cli import app
from semivae.cli.kinds.class_promises import joined_set
from semivae.errors import DataError, RunError
from semivae.generative.features_novelty import distances, neighbour_distances, reference_features
from semivae.recipe import change_recipe

SMALL = """
source: {name: digits}
split: {labelled: 300, validation: 200}
variables:
  x: {family: bernoulli, shape: [1, 8, 8]}
  y: {family: categorical, classes: 10}
decoder: {y: uniform, x: {given: [y], net: {name: mlp, hidden: [8]}}}
encoder: {y: {given: [x], net: {name: mlp, hidden: [64]}}}
streams:
  labelled: {observe: [x, y], batch: 100}
  unlabelled: {observe: [x], batch: 20}
training: {steps: 80, validate_every: 80, learning_rate: 1e-2, ema_decay: 0.8}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small classifier that is right nine times out of ten, within a second or two."""
    folder = tmp_path_factory.mktemp("promises")
    (folder / "small.yaml").write_text(SMALL)
    return semivae.train(folder / "small.yaml", out=folder / "run", device="cpu")


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def images(tiny_run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "images.npy"
    np.save(path, tiny_run.dataset().test["x"][:60].numpy())
    return path


def rows_of(result: Result) -> list[dict[str, str]]:
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_evaluation_measures_what_is_promised(trained: Run) -> None:
    report = trained.evaluate(at_most_error=0.06)
    sets, test = report["sets"], trained.dataset().test
    found = trained.predict_sets(test["x"])
    assert sets["count"] == 200 and sets["chosen_on_validation"] == []
    assert sets["covered"] == found[np.arange(500), test["y"].numpy()].mean()
    assert sets["mean_size"] == pytest.approx(found.sum(axis=1).mean())
    assert sum(sets["sizes"]) == 500 and sets["sizes"][0] / 500 == sets["empty"]
    # Beta(191, 10) and 500 test images: outside once in a hundred thousand runs
    assert 0.88 < sets["covered"] < 0.995
    curve = report["risk_coverage"]["curve"]
    assert curve[0] == {"answered": 1.0, "error": report["last"]["error"]}
    assert curve[-1]["answered"] == 0.5 and curve[-1]["error"] < curve[0]["error"]
    numbers = trained.predict(test["x"], at_most_error=0.06)
    answered = numbers >= 0
    assert report["answering"]["test_answered"] == answered.mean() < 1
    assert report["answering"]["test_error"] == (numbers != test["y"].numpy())[answered].mean()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    shown = command("evaluate", trained.path, "--at-most-error", "6%").stdout
    shown = " ".join(shown.split())
    assert "prediction sets for a coverage of 95%" in shown and "Surest images alone" in shown
    assert "at most 6% wrong, promised with 95% confidence" in shown


def test_regularised_sets_leave_the_examples_out_that_chose_their_penalty(trained: Run, images: Path) -> None:
    report, test = trained.evaluate(sets="raps")["sets"], trained.dataset().test
    assert report["count"] == 160 and report["score"] == "RAPS, randomised" and report["penalty"]["weight"] > 0
    low, high = report["expected_interval"]
    assert low < report["interval"][0] < 0.95 < report["interval"][1] < high
    found = trained.predict_sets(test["x"], score="raps")
    assert report["covered"] == found[np.arange(500), test["y"].numpy()].mean()
    # Beta(153, 8) and 500 test images: outside once in a hundred thousand runs
    assert 0.86 < report["covered"] < 1.0
    validated = Validated.of(Classifier(trained))
    others = np.delete(np.arange(200), np.arange(0, 200, 5))
    held = sets_of(validated.sets(0.95, "raps"), validated.log_posterior, validated.u)
    assert held[others, validated.labels[others]].sum() == 153  # ceil(161 * 0.95)
    result = command("predict", trained.path, images, "--coverage", "90%", "--sets", "raps", "--json")
    assert json.loads(result.stdout)["sets"]["score"] == "RAPS, randomised"
    with pytest.raises(RunError, match="sets by 'rasp' are not known; use aps or raps"):
        validated.sets(0.9, "rasp")  # type: ignore[arg-type]
    with pytest.raises(RunError, match="it needs 250 or more"):
        validated.sets(0.995, "raps")


def test_what_is_chosen_on_the_same_images_is_said(tiny_run: Run, images: Path, tmp_path: Path) -> None:
    copy = Run.load(shutil.copytree(tiny_run.path, tmp_path / "copy"), device="cpu")
    assert copy.evaluate(calibrate=True)["sets"]["chosen_on_validation"] == ["the temperature"]
    assert Validated.of(Classifier(copy.at("selected"))).choices == ["the checkpoint"]
    result = command("predict", copy.path, images, "--coverage", "0.9", "--checkpoint", "selected")
    assert "the checkpoint was chosen on the same validation images" in result.stderr


def test_sets_do_not_depend_on_batches_or_form(tiny_run: Run) -> None:
    images = tiny_run.dataset().test["x"][:40]
    found = tiny_run.predict_sets(images, coverage=0.9)
    assert found.shape == (40, 10) and found.dtype == bool
    assert np.array_equal(tiny_run.predict_sets(images[7:8], coverage=0.9), found[7:8])
    assert np.array_equal(tiny_run.predict_sets(images.float() / 255, coverage=0.9), found)
    names = tiny_run.predict_sets(images, coverage=0.9, names=True)
    assert [[tiny_run.classes[number] for number in row.nonzero()[0]] for row in found] == [list(row) for row in names]
    assert (tiny_run.predict_sets(images, coverage=0.99) >= found).all()


def test_predict_writes_sets_abstentions_and_novelty(trained: Run, images: Path, tmp_path: Path) -> None:
    options = ["--coverage", "90%", "--at-most-error", "6%", "--novelty"]
    result = command("predict", trained.path, images, *options)
    rows = rows_of(result)
    assert list(rows[0])[:6] == ["name", "label", "set", "novelty", "novelty_p", "prob_0"]
    given = np.load(images)
    sets = trained.predict_sets(given, coverage=0.9, names=True)
    assert [row["set"] for row in rows] == ["|".join(names) for names in sets]
    labels = trained.predict(given, names=True, at_most_error=0.06)
    assert [row["label"] for row in rows] == labels.tolist() and 0 < (labels == "").sum() < 60
    assert (trained.predict(given, at_most_error=0.06) == -1).sum() == (labels == "").sum()
    answered = f"answered: {(labels != '').sum()}, not answered (no label): {(labels == '').sum()}"
    assert answered in result.stderr and "novel at 5% false alarms" in result.stderr
    report = json.loads(command("predict", trained.path, images, *options, "--json").stdout)
    assert report["answering"]["abstained"] == (labels == "").sum() and report["sets"]["count"] == 200
    assert [row["set"] for row in report["images"]] == [list(names) for names in sets]
    assert [row["label"] for row in report["images"]] == labels.tolist()
    out = tmp_path / "out.csv"
    command("predict", trained.path, images, *options, "--out", out)
    assert out.read_text() == result.stdout
    assert rows_of(command("predict", trained.path, images))[0].keys() == {
        "name", "label", *(f"prob_{digit}" for digit in range(10))
    }  # fmt: skip


def test_a_cell_of_names_can_be_taken_apart() -> None:
    assert joined_set(["a|b", "c\\"]) == "a\\|b|c\\\\" and joined_set([]) == ""


def test_distances_are_those_of_the_kth_neighbour() -> None:
    references = np.array([[2, 0], [0, 3], [-1, 0]], dtype=np.float32)
    features = np.array([[5, 0], [0, -1]], dtype=np.float32)
    np.testing.assert_allclose(neighbour_distances(features, references, 1), [0, 2**0.5], atol=1e-6)
    np.testing.assert_allclose(neighbour_distances(features, references, 3), [2, 2], atol=1e-6)
    np.testing.assert_allclose(neighbour_distances(features, references, 9), [2, 2], atol=1e-6)  # the farthest


def test_validation_images_are_no_references_and_familiar(tiny_run: Run) -> None:
    split = tiny_run.split()
    assert len(reference_features(tiny_run)) == len(split.labelled) + len(split.unlabelled)
    own = distances(tiny_run, tiny_run.dataset().train["x"][split.validation])
    assert own.count == 200 and own.scores.min() > 0
    assert (own.p_values <= 0.05).mean() == pytest.approx(0.05, abs=0.006)  # ranked among themselves
    noise = np.random.default_rng(0).random((20, 8, 8), dtype=np.float32)
    p_values = distances(tiny_run, tiny_run.read(noise)[0]).p_values
    assert (p_values <= 0.05).mean() > 0.5


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--coverage", "95"], 2, "'95' is no share between 0 and 1; write it as 95% or 0.95"),
        (["--at-most-error", "none"], 2, "'none' is no share"),
        (
            ["--coverage", "99.9%"],
            1,
            "needs 999 or more, better ten times as many: train with --set split.validation=1247,",
        ),
        (["--coverage", "99.9%"], 1, "ask for at most 99.5%"),
        (["--at-most-error", "1%"], 1, "it needs 299 without a mistake, and 200 promise 1.49% at best"),
        (["--at-most-error", "2%"], 1, "too many are taken wrongly; "),
        (["--coverage", "95%", "--prior", "uniform"], 1, "leave out the prior, or the coverage and the error"),
    ],
)
def test_user_errors(tiny_run: Run, images: Path, options: list[str], status: int, message: str) -> None:
    result = command("predict", tiny_run.path, images, *options)
    shown = " ".join(result.stderr.replace("│", " ").split())
    assert (result.exit_code, result.stdout) == (status, "") and message in shown


def test_python_refuses_what_is_no_share(tiny_run: Run) -> None:
    image = tiny_run.dataset().test["x"][:1]
    with pytest.raises(RunError, match="coverage is 95, but must lie between 0 and 1"):
        tiny_run.predict_sets(image, coverage=95)
    with pytest.raises(RunError, match="at_most_error is 0, but must lie"):
        tiny_run.predict(image, at_most_error=0.0)
    with pytest.raises(RunError, match="without another prior"):
        tiny_run.evaluate(at_most_error=0.06, prior="uniform")


def test_test_images_are_measured_on_where_those_for_validation_have_changed(tiny_run: Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    before = Run.load(copy).evaluate()
    content = json.loads((copy / "split.json").read_text())
    (copy / "split.json").write_text(json.dumps({**content, "dataset_sha256": "0" * 64}))
    report = Run.load(copy).evaluate()
    assert report["last"]["error"] == before["last"]["error"] and "was changed" in report["sets"]["refused"]
    with pytest.raises(DataError, match="promised by the validation examples, which cannot be read"):
        Run.load(copy).evaluate(at_most_error=0.5)


def test_runs_without_validation_examples_say_so(tmp_path: Path) -> None:
    changes = ["training.steps=2", "split.validation=0", "training.twin=false"]
    run = semivae.train("digits_50labels", set=changes, out=tmp_path / "run", device="cpu")
    assert "keeps no labelled examples for validation" in run.evaluate()["sets"]["refused"]
    assert "no prediction sets" in command("evaluate", run.path).stdout
    with pytest.raises(RunError, match="0 validation images are too few to compare with; 20 are needed"):
        distances(run, run.dataset().test["x"][:2])


@pytest.mark.parametrize(
    ("labelled", "counts", "advice"),
    [
        (50, (50, 1047, 0), "train with --set split.validation=200, or leave it"),
        (50, (50, 100, 0), "train with --set split.validation=100, or leave it"),
        ("all", (90, 0, 0), "train with --set split.validation=45, or leave it"),
        ("all", (6, 0, 0), "its data have 6 labelled images, too few for that, so leave it"),
        (50, (50, 10, 9), "its data have 69 labelled images, too few for that, so leave it"),
        ("all", (60, 0, 9), "put more examples into the validation part of its data, or leave it"),
    ],
)
def test_no_more_validation_examples_are_asked_for_than_the_data_have(
    tiny_run: Run, labelled: int | str, counts: tuple[int, int, int], advice: str
) -> None:
    own = 0 if advice.startswith("put") else counts[2]
    run = Run.of(tiny_run)
    run.recipe = change_recipe(run.recipe, {"split.labelled": labelled, "split.validation": own})
    assert more_validation(run, instead="leave it", counts=counts) == advice


def test_exports_hold_the_threshold(trained: Run, tmp_path: Path) -> None:
    from safetensors import safe_open

    report = trained.export(tmp_path / "weights.safetensors", coverage=0.95)
    expected = Validated.of(Classifier(trained)).sets(0.95)
    assert report["sets"] == expected.facts() | {"words": expected.words} and report["sets"]["count"] == 200
    with safe_open(tmp_path / "weights.safetensors", "pt") as file:
        assert json.loads(file.metadata()["sets"]) == report["sets"]
    copy = Run.load(shutil.copytree(trained.path, tmp_path / "copy"), device="cpu")
    sets = copy.export(tmp_path / "calibrated.safetensors", calibrate=True, coverage=0.95)["sets"]
    calibrated = Validated.of(copy.classifier(calibrate=True)).sets(0.95)
    assert sets["threshold"] == calibrated.threshold != expected.threshold, "of the probabilities that the file gives"
    result = command(
        "export", trained.path, "--out", tmp_path / "features.pt2", "--part", "features", "--coverage", "95%"
    )
    assert "features have no prediction sets" in " ".join(result.stderr.split())
