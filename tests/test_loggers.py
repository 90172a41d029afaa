"""Loggers: what they are told, that their failures cost nothing, and the real packages, offline."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import semivae
from semivae.cli import app
from semivae.errors import DataWarning, RunError
from semivae.loggers import logger as loggers
from semivae.loggers.logger import AboutRun, Picture, flat
from semivae.runs.folder import LOGGERS_FILE, read_metrics
from semivae.training.progress import Progress
from tests import narrow

TINY: dict[str, object] = narrow.DIGITS | {
    "training.steps": 6,
    "training.validate_every": 2,
    "training.checkpoint_every": 1,
    "training.twin": True,
}


class Mine:
    """Keeps what it is told; raises at a step, if asked to."""

    name = "mine"

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at
        self.about: AboutRun | None = None
        self.told: list[tuple[int, dict[str, float]]] = []
        self.pictures: list[tuple[int, str, Picture]] = []
        self.ends: list[bool] = []

    def start(self, about: AboutRun) -> str:
        self.about = about
        return about.id or "an id"

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise ConnectionError("no server answers")
        self.told.append((step, dict(values)))

    def picture(self, step: int, name: str, pixels: Picture) -> None:
        self.pictures.append((step, name, pixels))

    def end(self, finished: bool) -> None:
        self.ends.append(finished)


def stop_at(step: int) -> Any:
    def report(progress: Progress) -> None:
        if progress.row is not None and progress.phase == "model" and progress.step == step:
            raise KeyboardInterrupt

    return report


def quiet(_: Progress) -> None:
    pass


def test_a_logger_hears_every_row_of_the_metrics_and_sees_the_samples(tmp_path: Path) -> None:
    mine = Mine()
    run = semivae.train("digits_50labels", set=TINY, out=tmp_path / "run", progress=False, loggers=[mine], device="cpu")
    rows = read_metrics(run.path)
    assert [(step, "model/seconds" in values) for step, values in mine.told] == [
        (row["step"], row["phase"] == "model") for row in rows
    ]
    for (_, values), row in zip(mine.told, rows, strict=True):
        phase = row["phase"]
        assert values[f"{phase}/validation_error"] == row["validation_error"]
        assert values[f"{phase}/losses/encoder.labelled.y"] == row["losses"]["encoder.labelled.y"]
        assert {key.partition("/")[0] for key in values} == {phase} and f"{phase}/step" not in values
    assert [(step, name) for step, name, _ in mine.pictures] == [
        (2, "model/samples"),
        (4, "model/samples"),
        (6, "model/samples"),
    ]
    pixels = mine.pictures[0][2]
    assert pixels.shape == (8 * 34 + 2, 8 * 34 + 2, 3) and pixels.std() > 0  # 64 samples of 8 x 8 pixels, enlarged
    assert mine.about is not None and mine.about.name == "run" and mine.about.id is None
    assert flat(mine.about.settings)["training.steps"] == 6 and mine.ends == [True]


def test_a_logger_changes_nothing_of_what_is_learnt(tmp_path: Path) -> None:
    for name, asked in (("with", [Mine()]), ("without", [])):
        semivae.train("digits_50labels", set=TINY, out=tmp_path / name, progress=False, loggers=asked, device="cpu")
    with_, without = (semivae.load(tmp_path / name, device="cpu") for name in ("with", "without"))
    for key, value in with_.encoder.state_dict().items():
        assert value.equal(without.encoder.state_dict()[key]), key


def test_a_run_that_is_resumed_goes_on_under_its_id_and_repeats_no_step(tmp_path: Path) -> None:
    first, second = Mine(), Mine()
    arguments: dict[str, Any] = {"set": TINY, "out": tmp_path / "run", "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        semivae.train("digits_50labels", **arguments, progress=stop_at(4), loggers=[first])
    kept = json.loads((tmp_path / "run" / LOGGERS_FILE).read_text())
    assert kept == {"mine": {"id": "an id", "logged": {"model": 4}}} and first.ends == [False]
    semivae.train("digits_50labels", **arguments, progress=quiet, loggers=[second], resume=True)
    assert second.about is not None and second.about.id == "an id"
    steps = [step for step, values in [*first.told, *second.told] if "model/seconds" in values]
    assert steps == [2, 4, 6]
    semivae.train("digits_50labels", **arguments, progress=quiet, loggers=[again := Mine()], overwrite=True)
    assert again.about is not None and again.about.id is None


def test_a_damaged_file_of_ids_starts_a_new_run_of_the_tracker(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"set": TINY, "device": "cpu", "progress": quiet}
    whole = semivae.train("digits_50labels", **arguments, out=tmp_path / "whole", loggers=[Mine()]).path
    for number, damage in enumerate(("", "[]", '{"mine": 3}', '{"mine": {"id": 5, "logged": []}}')):
        copy = Path(shutil.copytree(whole, tmp_path / f"run{number}"))
        (copy / LOGGERS_FILE).write_text(damage)
        semivae.train("digits_50labels", **arguments, out=copy, loggers=[mine := Mine()], resume=True)
        assert mine.about is not None and mine.about.id is None, damage


def test_a_logger_that_fails_is_warned_of_once_and_training_goes_on(tmp_path: Path) -> None:
    failing, mine = Mine(fails_at=2), Mine()
    messages: list[str] = []
    run = semivae.train(
        "digits_50labels",
        set=TINY,
        out=tmp_path / "run",
        progress=lambda progress: messages.append(progress.message),
        loggers=[failing, mine],
        device="cpu",
    )
    said = [message for message in messages if message]
    assert said == ["mine fails (ConnectionError: no server answers); nothing more is logged there"]
    assert run.finished and len(mine.told) == 6 and failing.told == [] and failing.ends == []


def test_without_a_display_data_are_warned_of_all_the_same(tmp_path: Path) -> None:
    import numpy as np

    some = np.random.default_rng(0).integers(0, 255, (80, 8, 8), dtype=np.uint8)
    changes = TINY | {"split": {"labelled": 10, "validation": 10}, "variables.y.classes": None}
    mine = {"x": np.concatenate([some, some]), "y": np.arange(160) % 5}
    with pytest.warns(DataWarning, match="also among those to train on"):
        semivae.train(
            "digits_50labels", set=changes, dataset=mine, out=tmp_path / "run", progress=False, loggers=[Mine()]
        )


def test_a_logger_that_cannot_be_hashed_logs_all_the_same(tmp_path: Path) -> None:
    @dataclass
    class Counting:
        name: str = "counting"
        steps: list[int] = field(default_factory=list)

        def start(self, about: AboutRun) -> str:
            return about.name

        def numbers(self, step: int, values: Mapping[str, float]) -> None:
            self.steps.append(step)

        def picture(self, step: int, name: str, pixels: Picture) -> None:
            pass

        def end(self, finished: bool) -> None:
            pass

    mine, changes = Counting(), TINY | {"training.twin": False}
    semivae.train("digits_50labels", set=changes, out=tmp_path / "run", progress=quiet, loggers=[mine])
    assert mine.steps == [2, 4, 6]


def test_rows_of_a_table_give_no_picture(tmp_path: Path) -> None:
    import numpy as np

    rows = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    changes = {"training.steps": 2, "training.validate_every": 1, "split": {"labelled": 20, "validation": 20}}
    mine, y, out = Mine(), np.arange(120) % 2, tmp_path / "run"
    semivae.train("table", set=changes, dataset={"x": rows, "y": y}, out=out, progress=quiet, loggers=[mine])
    assert mine.told and not mine.pictures and mine.ends == [True]


def test_unknown_loggers_and_missing_packages_are_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="no logger tensorbord; choose tensorboard, mlflow, trackio, wandb"):
        semivae.train("digits_50labels", set=TINY, out=tmp_path / "run", loggers=["tensorbord"])
    for none in (Mine, object(), None):
        with pytest.raises(RunError, match="is no logger: it lacks one of name, start, numbers, picture and end"):
            semivae.train("digits_50labels", set=TINY, out=tmp_path / "run", loggers=[none])  # type: ignore[list-item]
    with pytest.raises(RunError, match="no logger wandbb"):
        semivae.train("digits_50labels", set=TINY, out=tmp_path / "run", loggers="wandbb")
    monkeypatch.setattr(loggers, "PACKAGES", {"wandb": "no_such_package"})
    arguments = ["train", "digits_50labels", "--out", str(tmp_path / "run"), "--log", "wandb"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and "pip install 'semivae[wandb]'" in " ".join(result.stderr.split())
    assert not (tmp_path / "run").exists()


# The real packages ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of other packages
def test_tensorboard_reads_one_run_after_a_stop(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments: dict[str, Any] = {"set": TINY, "out": tmp_path / "run", "device": "cpu", "loggers": ["tensorboard"]}
    with pytest.raises(KeyboardInterrupt):
        semivae.train("digits_50labels", **arguments, progress=stop_at(4))
    semivae.train("digits_50labels", **arguments, progress=quiet, resume=True)
    (folder,) = (tmp_path / "run" / "tensorboard").iterdir()
    read = EventAccumulator(str(folder))
    read.Reload()
    rows = [row for row in read_metrics(tmp_path / "run") if row["phase"] == "model"]
    found = [(event.step, event.value) for event in read.Scalars("model/validation_error")]
    assert found == [(row["step"], pytest.approx(row["validation_error"])) for row in rows]
    assert [event.step for event in read.Images("model/samples")] == [2, 4, 6]
    assert "twin/losses/encoder.labelled.y" in read.Tags()["scalars"]


SCRIPT = """
import sys
import semivae

def report(progress):
    if progress.row and progress.phase == "model" and progress.step == 4 and "resume" not in sys.argv:
        raise KeyboardInterrupt
    if progress.message:
        print(progress.message)

if __name__ == "__main__":
    changes = {"training.steps": 6, "training.validate_every": 2, "training.checkpoint_every": 1}
    try:
        semivae.train(
            "digits_50labels", set=changes, out="run", device="cpu", progress=report,
            loggers=["mlflow", "trackio", "wandb"], resume="resume" in sys.argv,
        )
    except KeyboardInterrupt:
        print("stopped")
"""


@pytest.mark.slow
def test_mlflow_trackio_and_wandb_hold_one_run_after_a_stop(tmp_path: Path) -> None:
    """Offline: MLflow's files, trackio's database, and the folders that `wandb sync` sends."""
    for package in ("mlflow", "trackio", "wandb"):
        pytest.importorskip(package)
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": (tmp_path / "mlruns").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "WANDB_MODE": "offline",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    said = [
        subprocess.run(
            [sys.executable, "script.py", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        ).stdout
        for arguments in ([], ["resume"])
    ]
    assert "stopped" in said[0] and not any("fails (" in text for text in said), said
    model = [row for row in read_metrics(tmp_path / "run") if row["phase"] == "model"]
    rows = [(row["step"], row["validation_error"]) for row in model]
    assert [step for step, _ in rows] == [2, 4, 6]

    (metric,) = (tmp_path / "mlruns").glob("*/*/metrics/model/validation_error")  # one run
    lines = [line.split() for line in metric.read_text().splitlines()]
    assert [(int(step), float(value)) for _, value, step in lines] == rows
    assert len(list((tmp_path / "mlruns").glob("*/*/artifacts/model/samples/*.png"))) == 3
    assert "status: 3" in (metric.parents[2] / "meta.yaml").read_text()  # finished

    with sqlite3.connect(tmp_path / "trackio" / "semivae.db") as database:
        found = list(database.execute("select run_name, step, metrics from metrics order by step"))
    assert len({name for name, _, _ in found}) == 1
    errors = [(step, json.loads(text)) for _, step, text in found]
    assert [(step, of["model/validation_error"]) for step, of in errors if "model/validation_error" in of] == rows
    assert sum("model/samples" in of for _, of in errors) == 3

    folders = list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert len(folders) == 2 and len({folder.name.rpartition("-")[2] for folder in folders}) == 1  # the same id
    kept = json.loads((tmp_path / "run" / LOGGERS_FILE).read_text())
    assert kept["wandb"]["id"] == folders[0].name.rpartition("-")[2]
