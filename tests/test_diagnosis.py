"""Diagnosis of really trained runs: sound ones, a collapsed code, a drifting label, and what cannot be measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.cli.diagnosis_tables import MOST_ROWS, evenly, warning_text
from semivae.errors import RunError
from semivae.monitoring.failures import Failure
from semivae.monitoring.measures import SAMPLES
from semivae.reports.diagnosis import OWN, TWIN, diagnose, held_out_images, merged
from semivae.runs.checkpoint import read_checkpoint, write_checkpoint
from semivae.runs.folder import METRICS_FILE, read_metrics
from semivae.training.progress import Progress

SMALL = {
    "training.twin": False,
    "split.validation": 200,
    "encoder.y.net": {"name": "mlp", "hidden": [32]},
    "encoder.h.net": {"name": "mlp", "hidden": [16]},
    "decoder.x.net": {"name": "mlp", "hidden": [16]},
    "streams.unlabelled.batch": 16,
    "streams.labels.batch": 32,
}
UNSUPERVISED = {
    "streams": {"images": {"observe": ["x"], "batch": 16}, "prior": {"observe": [], "batch": 16}},
    "views": {},
    "variables": {"x": {"family": "bernoulli"}, "h": {"family": "bernoulli", "shape": [4]}},
    "decoder": {"h": "uniform", "x": {"given": ["h"], "net": {"name": "mlp"}}},
    "encoder": {"h": {"given": ["x"], "net": {"name": "mlp"}}},
}


def train(folder: Path, steps: int, changes: dict[str, Any], told: list[Progress] | None = None) -> Run:
    changes = {**SMALL, "training.steps": steps, "training.validate_every": max(1, steps // 10), **changes}
    report = None if told is None else told.append
    return semivae.train("digits_50labels", set=changes, out=folder, device="cpu", progress=report)


def kinds(report: dict[str, Any], holds: bool = True) -> set[tuple[str, str]]:
    return {(warning["kind"], warning["about"]) for warning in report["warnings"] if warning["holds"] == holds}


def copied(run: Run, folder: Path) -> Path:
    return Path(shutil.copytree(run.path, folder / "copy"))


def test_report_agrees_with_what_training_wrote(tiny_run: Run) -> None:
    report = tiny_run.diagnose(samples=300)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    rows = read_metrics(tiny_run.path)
    assert [row["step"] for row in report["curve"]] == [10, 20]
    assert (report["step"], report["steps"]) == (20, 20)
    assert report["curve"][-1]["twin_validation_error"] == rows[-1]["validation_error"]
    assert report["validation"]["count"] == 200
    errors = {name: found["error"] for name, found in report["validation"]["readers"].items()}
    assert errors == {OWN: rows[1]["validation_error"], TWIN: rows[-1]["validation_error"]}
    assert list(report["samples"]["readers"]) == [OWN, TWIN]
    for found in report["samples"]["readers"].values():
        low, high = found["interval"]
        assert 0.0 <= low <= found["read_as_intended"] <= high <= 1.0
    assert report["bits"]["h"]["at_most"] == pytest.approx(16.0)
    assert report["not_measured"] == []


def test_diagnosis_repeats_itself_and_leaves_the_global_generator_alone(tiny_run: Run) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert diagnose(tiny_run, samples=50) == diagnose(tiny_run.at("twin"), samples=50)  # the last is looked at
    assert torch.equal(torch.get_rng_state(), before)
    assert diagnose(tiny_run, samples=50)["bits"] != diagnose(tiny_run, samples=50, seed=1)["bits"]


def test_collapsed_code_is_told_once_and_diagnosed(tmp_path: Path) -> None:
    told: list[Progress] = []
    run = train(tmp_path / "run", 20, {"decoder.x.given": ["y"]}, told)  # a decoder that ignores its code
    warnings = [(state.step, text) for state in told for text in state.warnings if "code h has" in text]
    assert [step for step, _ in warnings] == [6]  # the first validation after 0.3 of the training
    assert ("collapsed code", "h") in kinds(run.diagnose(samples=100))
    (warning,) = [entry for entry in run.diagnose(samples=100)["warnings"] if entry["kind"] == "collapsed code"]
    assert warning["since"] == 6 and "at step 20" in warning["seen"]
    shown = CliRunner().invoke(app, ["diagnose", str(run.path), "-n", "100"])
    assert shown.exit_code == 0
    assert "warning (since step 6): code h has 0.00 bits in use of at most 16" in shown.stdout


def test_drifting_label_is_told_and_diagnosed(tmp_path: Path) -> None:
    """A decoder that learns nothing teaches the label from half of the training on, far louder than the pairs do."""
    changes: dict[str, Any] = {
        "training.learning_rate": {"encoder": 3e-3, "decoder": 1e-12},
        "training.schedule": "constant",
        "training.ema_decay": 0.5,
        "encoder.y.net": {"name": "mlp", "hidden": [64]},
        "streams.unlabelled.views": None,
        "streams.unlabelled.vote": None,
        "streams.labels.loss_weights": {"y": {"weight": 1000.0, "start": 0.5}, "h": 0.01},
    }
    told: list[Progress] = []
    run = train(tmp_path / "run", 120, changes, told)
    drifts = [(state.step, text) for state in told for text in state.warnings if "the meaning of y drifts" in text]
    assert len(drifts) == 1
    assert drifts[0][0] > 60
    assert "let the decoder's samples not teach y (streams.labels.loss_weights: {y: 0})" in drifts[0][1]
    before = copied(run, tmp_path)  # the best checkpoint, from before the drift, reads the samples as a stranger would
    shutil.copy(run.path / "selected.safetensors", before / "last.safetensors")
    (before / METRICS_FILE).unlink()
    report = run.diagnose(samples=100, reader=before)
    assert {("drifting label", "y"), ("another meaning", "y")} <= kinds(report)
    assert report["not_measured"] == [
        f"{TWIN}: no twin has finished its training; train it along with --twin --resume",
        "confidence: no stream of unlabelled images has a confidence threshold",
    ]


def test_another_run_reads_the_samples_by_class_names(tiny_run: Run, tmp_path: Path) -> None:
    """A copy of the run whose classes are numbered backwards reads the same samples as the same classes."""
    folder = copied(tiny_run, tmp_path)
    tensors, facts = read_checkpoint(folder / "last.safetensors")
    head = "game.encoder_average.module.conditionals.y.net.head"
    for name in (f"{head}.weight", f"{head}.bias"):
        tensors[name] = tensors[name].flip(0)
    write_checkpoint(folder / "last.safetensors", tensors, facts.model_copy(update={"classes": facts.classes[::-1]}))
    readers = tiny_run.diagnose(reader=folder, samples=100)["samples"]["readers"]
    assert readers[f"reader {folder}"] == readers[OWN]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("classes", "its classes are a, 1, 2, 3, 4, 5, 6, 7, 8, 9, the samples' 0, 1, 2"),
        ("itself", "a run is not an independent reader of its own samples"),
        ("absent", "there is no such folder"),
    ],
)
def test_unfit_readers_are_refused(tiny_run: Run, tmp_path: Path, change: str, message: str) -> None:
    folder = tiny_run.path if change == "itself" else tmp_path / "copy"
    if change == "classes":
        folder = copied(tiny_run, tmp_path)
        tensors, facts = read_checkpoint(folder / "last.safetensors")
        other = facts.model_copy(update={"classes": ["a", *facts.classes[1:]]})
        write_checkpoint(folder / "last.safetensors", tensors, other)
    with pytest.raises(RunError, match=message):
        tiny_run.diagnose(reader=folder)
    result = CliRunner().invoke(app, ["diagnose", str(tiny_run.path), "--reader", str(folder)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr


def test_unsupervised_run(tmp_path: Path, tiny_run: Run) -> None:
    run = train(tmp_path / "run", 4, UNSUPERVISED)
    report = run.diagnose(samples=50)
    assert set(report["bits"]) == {"h"}
    assert report["validation"] is None and report["samples"] is None
    assert report["not_measured"][0].startswith("the label: this run has none")
    with pytest.raises(RunError, match="there is no label that another run could infer"):
        run.diagnose(reader=tiny_run)
    with pytest.raises(RunError, match="its encoder infers no label"):
        tiny_run.diagnose(reader=run)
    result = CliRunner().invoke(app, ["diagnose", str(run.path), "-n", "50"])
    assert result.exit_code == 0, result.output
    assert "not measured: the label" in result.stdout


def test_images_that_lie_class_by_class_are_drawn_from_all_classes(tmp_path: Path) -> None:
    y = np.repeat([0, 1], 700)
    x = np.repeat(y[:, None], 3, axis=1) + 0.5
    np.savez(tmp_path / "sorted.npz", x=x, y=y, x_test=np.eye(2, 3), y_test=[0, 1])
    changes = {
        "source": {"name": "arrays", "path": "sorted.npz"},
        "split": {"labelled": 10, "validation": 0},
        "variables": {"x": {"family": "gaussian"}, "y": {"family": "categorical"}},
        "decoder": {"y": "uniform", "x": {"given": ["y"], "net": {"name": "mlp", "hidden": [4]}}},
        "encoder": {"y": {"given": ["x"], "net": {"name": "mlp", "hidden": [4]}}},
        "views": {},
        "streams": {"pairs": {"observe": ["x", "y"], "batch": 4}},
        "training": {"steps": 1},
    }
    run = semivae.train("digits_50labels", set=changes, out=tmp_path / "run", data_root=tmp_path, device="cpu")
    images = held_out_images(run, [])["x"]
    assert len(images) == SAMPLES
    assert 0.3 < (images[:, 0] > 1).float().mean() < 0.7  # nine deviations of a fair draw of 512


def test_run_without_its_data_or_its_metrics(tiny_run: Run, tmp_path: Path) -> None:
    folder = copied(tiny_run, tmp_path)
    (folder / METRICS_FILE).unlink()
    recipe = (folder / "recipe.yaml").read_text(encoding="utf-8")
    kept, moved = "source:\n  name: digits\n  simulate: {}\n", "source:\n  name: arrays\n  path: moved.npz\n"
    (folder / "recipe.yaml").write_text(recipe.replace(kept, moved), encoding="utf-8")
    report = Run.load(folder, device="cpu", data_root=tmp_path).diagnose(samples=50)
    assert report["curve"] == [] and report["validation"] is None
    assert list(report["samples"]["readers"]) == [OWN, TWIN]
    assert report["not_measured"][0].startswith("all that needs images:") and "moved.npz" in report["not_measured"][0]


def test_run_of_an_older_version(tiny_run: Run, tmp_path: Path) -> None:
    folder = copied(tiny_run, tmp_path)
    kept = ("phase", "step", "seconds", "validation_error", "bits", "losses")
    rows = [{name: row[name] for name in kept} for row in read_metrics(folder)]
    (folder / METRICS_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert diagnose(Run.load(folder, device="cpu"), samples=50)["curve"][0]["read_as_intended"] is None
    assert CliRunner().invoke(app, ["diagnose", str(folder), "-n", "50"]).exit_code == 0


def test_json_of_the_command_is_that_of_the_function(tiny_run: Run) -> None:
    options = ["-n", "50", "--seed", "2", "--json", "--device", "cpu"]
    result = CliRunner().invoke(app, ["diagnose", str(tiny_run.path), *options])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == diagnose(tiny_run, samples=50, seed=2)


def test_impossible_numbers_are_refused(tiny_run: Run) -> None:
    for samples, seed in ((0, 0), (10, -1)):
        with pytest.raises(RunError, match="cannot draw"):
            diagnose(tiny_run, samples=samples, seed=seed)
    assert CliRunner().invoke(app, ["diagnose", str(tiny_run.path), "-n", "0"]).exit_code == 2


def test_warnings_are_merged_with_the_latest_figures() -> None:
    old, gone, new = (Failure("kind", about, "seen once", "means", "advice") for about in ("a", "b", "c"))
    rows: list[dict[str, Any]] = [{"step": 5, "warnings": [old.as_row(), gone.as_row()]}, {"step": 6}]
    now = [Failure("kind", "a", "seen now", "means", "advice"), new]
    found = merged(rows, now)
    assert [(entry["about"], entry["seen"], entry["since"], entry["holds"]) for entry in found] == [
        ("a", "seen now", 5, True),
        ("b", "seen once", 5, False),
        ("c", "seen once", None, True),
    ]
    assert [warning_text(entry).partition(": ")[0] for entry in found] == [
        "warning (since step 5)",
        "warning (reported at step 5, no longer holds)",
        "warning",
    ]


@pytest.mark.parametrize("count", [1, 5, MOST_ROWS, MOST_ROWS + 1, 100])
def test_a_long_curve_is_thinned_and_keeps_its_end(count: int) -> None:
    rows = [{"step": step} for step in range(count)]
    chosen = evenly(rows)
    assert len(chosen) <= MOST_ROWS
    assert chosen[-1] == rows[-1]
    assert count > MOST_ROWS or chosen == rows
