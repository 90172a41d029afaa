"""What an evaluation opens: each checkpoint once, the data once, and nothing that training has just read."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

import semivae
from semivae.api import Run
from semivae.data import sources
from semivae.runs import checkpoint, model


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each checkpoint was read, and the data set was."""
    count: Counter[str] = Counter()
    read_checkpoint, load_source = checkpoint.read_checkpoint, sources.load_source

    def read(path: Path) -> object:
        count[path.name] += 1
        return read_checkpoint(path)

    def load(*given: object, **options: object) -> object:
        count["data"] += 1
        return load_source(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "read_checkpoint", read)
    monkeypatch.setattr(model, "load_source", load)
    return count


EACH_ONCE = {"last.safetensors": 1, "selected.safetensors": 1, "twin.safetensors": 1, "data": 1}


def test_an_evaluation_opens_each_checkpoint_and_the_data_once(
    tiny_run: Run, opened: Counter[str], tmp_path: Path
) -> None:
    copy = shutil.copytree(tiny_run.path, tmp_path / "run")  # which keeps the calibration
    semivae.load(copy, device="cpu").evaluate(calibrate=True)
    assert opened == EACH_ONCE


def test_a_diagnosis_opens_the_twin_and_the_data_once(tiny_run: Run, opened: Counter[str]) -> None:
    semivae.load(tiny_run.path, device="cpu").diagnose(samples=20)
    assert opened == {name: 1 for name in ("last.safetensors", "twin.safetensors", "data")}


def test_training_hands_its_data_to_the_run_that_it_returns(tmp_path: Path, opened: Counter[str]) -> None:
    changes = {"training.steps": 2, "training.validate_every": 2, "training.twin": False}
    run = semivae.train("digits_50labels", set=changes, out=tmp_path / "run", device="cpu")
    run.evaluate()
    assert opened["data"] == 0 and opened["last.safetensors"] == 1
