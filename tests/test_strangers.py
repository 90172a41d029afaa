"""Three strangers' first hours, end to end: photographs in a folder by commands alone, arrays with scikit-learn, and a
method of one's own in a Python file.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from typer.testing import CliRunner

import semivae
from semivae.cli import app
from semivae.sklearn import SemiVAEClassifier
from tests.docs_data import drawing

ROOT = Path(__file__).parents[1]
SHORT = ("--set", "training.steps=4", "--set", "training.validate_every=2")


def semivae_command(*words: object) -> str:
    """The standard output of a command that succeeds."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, f"{words}: {result.output}"
    return result.stdout


def photographs(folder: Path) -> None:
    """Photographs as cameras leave them: JPEG of several sizes, one lies on its side, some in no class, one broken."""
    random = np.random.default_rng(0)
    for number in range(90):
        shape = ("cat", "dog")[number % 2]
        wide, high = (int(side) for side in random.integers(80, 140, 2))
        image = drawing(shape, number, 64).resize((wide, high)).filter(ImageFilter.GaussianBlur(1))
        place = (
            folder / ("new" if number >= 80 else "unlabelled" if number >= 60 else f"train/{shape}") / f"{number}.jpg"
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 3 else 1  # turned
        image.save(place, exif=exif.tobytes(), quality=90)
    (folder / "unlabelled" / "broken.jpg").write_bytes(b"")


@pytest.mark.slow
def test_a_person_with_a_folder_of_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(Path("photos"))
    refused = CliRunner().invoke(app, ["start", "photos"])
    assert refused.exit_code == 1 and "broken.jpg" in refused.stdout + refused.stderr
    Path("photos/unlabelled/broken.jpg").unlink()
    Path("photos/new").rename("new")  # not labelled, and not learnt from
    said = semivae_command("start", "photos", "--quick", "--set", "source.size=32")
    assert "next: semivae train photos.yaml" in said
    recipe = re.search(r"semivae train (\S+)", said)
    assert recipe is not None
    semivae_command("check", recipe[1], "--data-root", ".")
    trained = semivae_command("train", recipe[1], "--out", "runs/photos", "--log", "tensorboard", *SHORT)
    assert "The run is in runs/photos" in trained and any(Path("runs/photos/tensorboard").iterdir())
    report = json.loads(semivae_command("evaluate", "runs/photos", "--json"))
    assert report["count"] > 0 and 0.0 <= report["last"]["error"] <= 1.0
    answers = list(csv.DictReader(io.StringIO(semivae_command("predict", "runs/photos", "new"))))
    assert len(answers) == 10 and {answer["label"] for answer in answers} <= {"cat", "dog"}
    semivae_command("suggest", "runs/photos", "photos/unlabelled", "-n", 4, "--copy-to", "to_label")
    assert len(list(Path("to_label").rglob("*.jpg"))) == 4
    semivae_command("doubts", "runs/photos", "-n", 3, "--copy-to", "to_check", "--out", "doubts.csv")
    assert len(list(Path("to_check").rglob("*.jpg"))) == 3
    semivae_command("report", "runs/photos", "--out", "report.html")
    assert "</html>" in Path("report.html").read_text(encoding="utf-8")
    semivae_command("export", "runs/photos", "--with-preprocessing", "--out", "classifier.onnx")
    client = re.search(r"With onnxruntime:\n\n```python\n(.*?)```", (ROOT / "docs/exported-files.md").read_text(), re.S)
    assert client is not None
    names = sorted(str(path) for path in Path("new").iterdir())
    monkeypatch.setattr(sys, "argv", ["client.py", "classifier.onnx", *names])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(client[1], "client.py", "exec"), {})
    lines = [line.split() for line in printed.getvalue().splitlines()]
    by_name = {f"new/{answer['name']}": float(answer[f"prob_{answer['label']}"]) for answer in answers}
    for name, _, probability in lines:
        assert float(probability) == pytest.approx(by_name[name], abs=0.02)
    semivae_command("train", recipe[1], "--out", "runs/photos", "--more-steps", 2, *SHORT)
    assert semivae.load("runs/photos").facts.step == 6


@pytest.mark.slow
def test_a_data_scientist_with_arrays_and_scikit_learn(tmp_path: Path) -> None:
    found = load_digits()
    x, y = found.data[:400], found.target[:400].copy()
    y[100:300] = -1  # not labelled
    steps: dict[str, Any] = {"random_state": 0}
    pipeline = make_pipeline(MinMaxScaler(), SemiVAEClassifier("table", steps=30, **steps))
    pipeline.fit(x, y)
    assert pipeline.predict(x[300:]).shape == (100,) and set(pipeline.classes_) == set(range(10))
    assert pipeline.predict_proba(x[300:]).sum(axis=1) == pytest.approx(np.ones(100), abs=1e-5)
    search = GridSearchCV(SemiVAEClassifier("table", **steps), {"steps": [5, 40]}, cv=2, error_score="raise")
    search.fit(x[:100], y[:100])
    assert search.best_params_["steps"] in (5, 40)
    run = pipeline[-1].run_
    assert len(run.suggest(pipeline[:-1].transform(x[100:300]).astype(np.float32), 5).rows) == 5
    images = found.images[:400].astype(np.float32) / 16
    data = {"x": images[:300][y[:300] >= 0], "y": y[:300][y[:300] >= 0], "x_unlabelled": images[100:300]}
    changes = {"training.steps": 30, "training.twin": False, "split": {"labelled": "all", "validation": 30}}
    again = semivae.train("digits_50labels", dataset=data, set=changes, out=tmp_path / "run", progress=False)
    assert len(again.predict_sets(images[300:], coverage=0.8)) == 100
    assert 0.0 <= again.doubts().expected_wrong <= 100 and again.embed(images[:5]).shape[0] == 5


@pytest.mark.slow
@pytest.mark.usefixtures("registrations_end")
def test_a_researcher_with_a_method_of_her_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """She takes the file of the documentation, changes a teacher, trains both on the same seeds, and compares them."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/tasks/own-method.md").read_text(encoding="utf-8")
    file = re.search(r"```python\n(# my_method\.py\n.*?)```", page, re.S)
    assert file is not None
    Path("my_method.py").write_text(file[1], encoding="utf-8")
    own = ("--import", "my_method.py")
    semivae_command("copy", "digits_50labels", "mine.yaml")
    recipe = Path("mine.yaml").read_text(encoding="utf-8")
    assert "threshold: 0.95}" in recipe
    Path("mine.yaml").write_text(recipe.replace("threshold: 0.95}", "threshold: 0.95, teacher: mean_teacher}"))
    refused = CliRunner().invoke(app, ["train", "mine.yaml"])
    assert refused.exit_code == 2 and "mine.yaml:25: streams.unlabelled.views.teacher" in refused.stderr
    assert "--import" in refused.stderr
    semivae_command(*own, "check", "mine.yaml")
    short = ("--set", "training.steps=6", "--set", "training.validate_every=6", "--no-twin", "--json")
    seeds = ("--seeds", "0..1")
    shipped = json.loads(semivae_command("train", "digits_50labels", "--out", "shipped", *seeds, *short))["seeds"]
    changed = json.loads(semivae_command(*own, "train", "mine.yaml", "--out", "changed", *seeds, *short))["seeds"]
    again = json.loads(semivae_command("train", "digits_50labels", "--out", "again", *short))
    assert again["last"] == shipped["0"]["last"]  # the same seed
    for seed in ("0", "1"):
        assert shipped[seed]["last"] != changed[seed]["last"]
        first, second = (Path(f"{name}/seed{seed}/split.json").read_text() for name in ("shipped", "changed"))
        assert first == second  # both learn from the same labels
    semivae_command(*own, "report", "shipped/seed0", "changed/seed0", "--out", "comparison.html")
    assert "mean_teacher" in Path("comparison.html").read_text(encoding="utf-8")
    runs = {
        name: json.loads(semivae_command(*own, "evaluate", f"{name}/seed0", "--split", "validation", "--json"))
        for name in ("shipped", "changed")
    }
    assert runs["shipped"]["count"] == runs["changed"]["count"] == 200
