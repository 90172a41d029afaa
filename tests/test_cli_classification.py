"""`evaluate` and `predict` with calibration, vote and prior: a run's whole way, its kept numbers, and refusals."""

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
from semivae.cli import app
from semivae.cli.kinds.class_files import predictions_csv
from semivae.cli.kinds.class_tables import risk_table
from tests import narrow

COUNTS = ",".join(f"{digit}={count}" for digit, count in enumerate([5, 4, 4, 3, 3, 2, 2, 1, 1, 1]))


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Run:
    return Run.load(shutil.copytree(tiny_run.path, tmp_path / "run"), device="cpu")


@pytest.fixture
def images(tiny_run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "images.npy"
    np.save(path, tiny_run.dataset().test["x"][:60].numpy())
    return path


def test_evaluate_shows_each_step_beside_the_model(run: Run) -> None:
    options = ["--calibrate", "--vote", "--prior", "estimate", "--test-prior", COUNTS]
    report = json.loads(run_command("evaluate", run.path, *options, "--json").stdout)
    assert list(report)[:7] == ["run", "kind", "split", "count", "nouns", "test_prior", "last"]
    assert report["test_prior"]["0"] == pytest.approx(5 / 26)
    confusion = np.array(report["last"]["confusion"])
    assert report["count"] == confusion.sum() < 500
    np.testing.assert_allclose(
        confusion.sum(1) / confusion.sum(), np.array([5, 4, 4, 3, 3, 2, 2, 1, 1, 1]) / 26, atol=0.02
    )
    assert report["calibrated"]["draws"] == 0 < report["voted"]["draws"] == report["corrected"]["draws"]
    assert report["calibrated"]["error"] == report["last"]["error"]  # a temperature changes no order
    corrected = report["corrected"]
    assert sum(corrected["prior"].values()) == pytest.approx(1) and corrected["estimate"]["settled"]
    assert corrected["trained_prior"] == pytest.approx({str(digit): 0.1 for digit in range(10)})
    shown = run_command("evaluate", run.path, *options).stdout
    for text in (
        "class shares as asked",
        "model, calibrated",
        "decoder's vote",
        "other prior",
        "temperature",
        "steps of EM",
    ):
        assert text in shown


def test_rows_are_only_those_that_are_asked_for(run: Run) -> None:
    plain = {"run", "kind", "nouns", "split", "count", "last", "selected", "twin"}
    promises = {"sets", "risk_coverage"}  # without another prior
    assert set(run.evaluate(calibrate=True)) == plain | promises | {"calibrated"}
    assert set(run.evaluate(prior="ratio=3")) == plain | {"corrected"}
    assert set(run.evaluate(prior="estimate")) == plain | {"calibrated", "corrected"}
    assert set(run.evaluate(vote=True)) == plain | promises | {"voted"}


def test_the_true_prior_of_a_shifted_part_helps(run: Run) -> None:
    report = run.evaluate(prior="ratio=100", test_prior="ratio=100")
    assert report["corrected"]["nll"] < report["last"]["nll"]
    assert report["corrected"]["error"] < report["last"]["error"]
    same = run.evaluate(prior="uniform")
    assert same["corrected"]["nll"] == pytest.approx(same["last"]["nll"])  # the labelled set was balanced


def test_calibration_is_chosen_on_validation_images_and_lowers_their_nll(run: Run) -> None:
    calibration = Classifier.of(run, vote=True).calibration
    assert calibration.count == len(run.split().validation) == 200
    before = run.evaluate(split="validation")["last"]["nll"]
    assert calibration.nll_before == pytest.approx(before, abs=1e-5)
    alone = Classifier.of(run, calibrate=True).calibration
    assert alone.nll is not None and calibration.nll is not None
    assert calibration.nll <= alone.nll + 0.01 and alone.nll <= before + 0.01


def test_predict_writes_corrected_probabilities(run: Run, images: Path, tmp_path: Path) -> None:
    prior = "0=1,1=1,2=0,3=0,4=0,5=0,6=0,7=0,8=0,9=0"
    result = run_command("predict", run.path, images, "--calibrate", "--prior", prior)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["label"] for row in rows} <= {"0", "1"} and len(rows) == 60
    assert all(float(row["prob_0"]) + float(row["prob_1"]) == pytest.approx(1, abs=2e-6) for row in rows)
    assert "note: temperature" in result.stderr and "note: prior: 0 50.0%, 1 50.0%" in result.stderr
    report = json.loads(run_command("predict", run.path, images, "--calibrate", "--prior", prior, "--json").stdout)
    assert [row["label"] for row in report["images"]] == [row["label"] for row in rows]
    assert len(report["images"][0]["probabilities"]) == 10
    out = tmp_path / "labels.csv"
    written = run_command("predict", run.path, images, "--calibrate", "--prior", prior, "--out", out, "--json")
    assert out.read_text() == result.stdout and json.loads(written.stdout)["out"] == str(out)


def test_names_of_files_and_classes_stay_in_one_cell_each() -> None:
    """With commas, quotes, new lines, and bytes that are no UTF-8, as Python hands them over from old disks."""
    names, classes = ["a,b.png", 'say "hi".png', "two\nlines.png", "caf\udce9.png"], ("x,y", '"q"')
    labels, sets = ["x,y", '"q"', "", "x,y"], [["x,y"], [], ['"q"', "x,y"], ['"q"']]
    probabilities = [[0.75, 0.25], [0.125, 0.875], [0.5, 0.5], [1.0, 0.0]]
    table = predictions_csv(names, labels, {"set": sets}, probabilities, classes, ['gone,"1".png'])
    assert b'caf\xe9.png,"x,y"' in table
    header, *rows = csv.reader(io.StringIO(table.decode("utf-8", "surrogateescape"), newline=""))
    assert header == ["name", "label", "set", "prob_x,y", 'prob_"q"']
    assert [row[:2] for row in rows[:4]] == [[name, label] for name, label in zip(names, labels, strict=True)]
    assert [row[2] for row in rows[:4]] == ["x,y", "", '"q"|x,y', '"q"']
    assert [[float(cell) for cell in row[3:]] for row in rows[:4]] == probabilities
    assert rows[4:] == [['gone,"1".png', "", "", "", ""]]


def test_estimated_priors_of_predict_can_be_given_again(run: Run, images: Path, tmp_path: Path) -> None:
    estimated = json.loads(run_command("predict", run.path, images, "--prior", "estimate", "--json").stdout)
    kept = tmp_path / "prior.json"
    kept.write_text(json.dumps(estimated["prior"]))
    again = json.loads(run_command("predict", run.path, images, "--calibrate", "--prior", kept, "--json").stdout)
    assert again["images"] == estimated["images"]
    assert run.predict(np.load(images), prior="estimate").tolist() == [int(row["label"]) for row in again["images"]]


@pytest.fixture(scope="module")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on somebody's own arrays, which may be gone later."""
    folder = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20)
    np.savez(folder / "mine.npz", x=generator.random((200, 8, 8), dtype=np.float32), y=labels)
    changes = narrow.DIGITS | {
        "source": {"name": "arrays", "path": str(folder / "mine.npz")},
        "training.steps": 3, "split.labelled": 20, "split.validation": 60, "training.twin": False,
    }  # fmt: skip
    return semivae.train("digits_50labels", set=changes, out=folder / "run", device="cpu")


def test_calibration_is_kept_for_days_without_the_data(own_run: Run, images: Path, tmp_path: Path) -> None:
    run = Run.load(shutil.copytree(own_run.path, tmp_path / "own"), device="cpu")
    data = own_run.path.parent / "mine.npz"
    expected = run_command("predict", run.path, images, "--calibrate").stdout
    hidden = data.rename(data.with_suffix(".gone"))
    try:
        assert run_command("predict", run.path, images, "--calibrate").stdout == expected != ""
        assert run_command("predict", run.path, images, "--calibrate", "--prior", "uniform").exit_code == 0
        refused = run_command("predict", run.path, images, "--vote")
        assert (refused.exit_code, refused.stdout) == (1, "")
        told = " ".join(refused.stderr.split())
        assert "no calibration is kept for this checkpoint" in told and "--calibrate` once where the data are" in told
    finally:
        hidden.rename(data)


def test_kept_numbers_are_those_of_the_checkpoint(run: Run) -> None:
    Classifier.of(run, calibrate=True)
    kept = run.path / "calibration.json"
    entries = json.loads(kept.read_text())
    entries[0]["temperature"] = 7.0
    kept.write_text(json.dumps(entries))
    assert Classifier.of(run, calibrate=True).calibration.temperature == 7.0
    shutil.copy(
        run.path / "selected.safetensors", run.path / "last.safetensors"
    )  # another checkpoint, like a resumed run's
    other = Run.load(run.path, device="cpu")
    assert Classifier.of(other, calibrate=True).calibration.temperature != 7.0
    assert len(json.loads(kept.read_text())) == 1
    right = json.loads(kept.read_text())[0]
    for damage in ("{", "[3]", '{"a": 1}', json.dumps([right | {"temperature": "x"}])):
        kept.write_text(damage)
        again = Classifier.of(other, calibrate=True).calibration
        assert again.temperature == pytest.approx(right["temperature"]) and again.count == 200


@pytest.mark.parametrize(("most", "count"), [(1000, 200), (190, 190), (51, 51), (1, 50)])
def test_a_large_validation_part_is_thinned_and_never_below_the_least(
    run: Run, monkeypatch: pytest.MonkeyPatch, most: int, count: int
) -> None:
    monkeypatch.setattr("semivae.classification.calibration.LARGEST_PART", 10 * most)  # ten classes
    assert Classifier.of(run, calibrate=True).calibration.count == count


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["evaluate", "RUN", "--prior", "unifrom"], 1, "there is no such file; write uniform"),
        (["evaluate", "RUN", "--prior", "0=1"], 1, "prior says nothing of 1, 2"),
        (["evaluate", "RUN", "--test-prior", "estimate"], 1, "test prior 'estimate': there is no such file"),
        (["evaluate", "RUN", "--calibrate", "--split", "validation"], 1, "these cannot measure them"),
        (["predict", "RUN", "IMAGES", "--prior", "0=0.5"], 1, "prior says nothing of 1"),
        (["predict", "RUN", "FEW", "--prior", "estimate"], 1, "estimated from 50 examples or more, here are 3"),
        (
            ["predict", "RUN", "IMAGES", "--vote", "--checkpoint", "twin"],
            1,
            "the supervised twin has no decoder",
        ),
    ],
)
def test_user_errors(run: Run, images: Path, tmp_path: Path, arguments: list[str], status: int, message: str) -> None:
    few = tmp_path / "few.npy"
    np.save(few, np.load(images)[:3])
    words = {"RUN": str(run.path), "IMAGES": str(images), "FEW": str(few)}
    result = run_command(*(words.get(word, word) for word in arguments))
    assert (result.exit_code, result.stdout) == (status, "")
    assert message in " ".join(result.stderr.split()) and "Traceback" not in result.stderr


def test_too_few_validation_images_are_refused(tmp_path: Path) -> None:
    changes = ["training.steps=2", "split.validation=49", "training.twin=false"]
    run = semivae.train("digits_50labels", set=changes, out=tmp_path / "run", device="cpu")
    result = run_command("evaluate", run.path, "--calibrate")
    assert result.exit_code == 1
    error = " ".join(result.stderr.split())
    assert "keeps 49 images for validation, and a calibration needs 50 or more; train with --set" in error
    assert "--set split.validation=200, or go without" in error
    assert run_command("evaluate", run.path, "--prior", "uniform").exit_code == 0


def test_of_few_images_no_share_is_shown_twice() -> None:
    curve = [{"answered": 1.0, "error": 0.25}, {"answered": 0.999, "error": 0.25}, {"answered": 0.5, "error": 0.0}]
    table = risk_table({"risk_coverage": {"aurc": 0.1, "curve": curve}})
    assert list(table.columns[0].cells) == ["100%", "50%"] and list(table.columns[1].cells) == ["25.00%", "0.00%"]
