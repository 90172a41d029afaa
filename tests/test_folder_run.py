"""A run of users' folders from training to its answers: names of classes, and what pictures go through on the way."""

from __future__ import annotations

import csv
import io
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import semivae
import semivae.data.readers.class_folders as reader
import semivae.data.readers.parts as parts
from semivae.api import Run
from semivae.cli import app
from semivae.data.formats.image_files import decode_image
from semivae.data.formats.preprocessing import Preprocessing
from semivae.errors import DataError
from semivae.training.progress import Progress

NUMBERS = [1, 2, 10]
HOW = Preprocessing(1, 8, 8, "pad", "black", 4095)
CHANGES: dict[str, object] = {
    "source": {
        "name": "folder", "path": "own", "size": 8, "channels": 1, "fit": "pad", "background": "black", "white": 4095,
    },
    "split.labelled": "all", "split.validation": 0, "variables.y.classes": 3,
    "training.steps": 30, "training.validate_every": 15, "training.twin": False,
}  # fmt: skip


def picture(number: int, row: int) -> Image.Image:
    """Wide, of 12 bits, with a bar whose place tells the class."""
    pixels = np.random.default_rng(100 * number + row).integers(0, 300, (8, 16), dtype=np.uint16)
    pixels[:, 5 * NUMBERS.index(number) :][:, :5] += 3700
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for number in NUMBERS:
        for part, rows in (("train", range(20)), ("test", range(20, 24)), ("val", range(24, 28))):
            folder = root / "own" / part / str(number)
            folder.mkdir(parents=True)
            for row in rows:
                picture(number, row).save(folder / f"{row}.png")
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "own"
    return semivae.train("digits_50labels", set=CHANGES, out=out, data_root=data, device="cpu")


def test_answers_are_names_of_folders(run: Run, data: Path) -> None:
    images = data / "own" / "test"
    result = CliRunner().invoke(app, ["predict", str(run.path), str(images)])
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == ["name", "label", "prob_1", "prob_2", "prob_10"]
    right = [row["label"] == row["name"].split("/")[0] for row in rows]
    assert np.mean(right) > 0.9, "30 steps tell the bars apart"
    assert run.predict(images, names=True).tolist() == [row["label"] for row in rows]
    assert [run.classes[number] for number in run.predict(images)] == [row["label"] for row in rows]
    drawn = run.path.parent / "drawn.npz"
    CliRunner().invoke(app, ["sample", str(run.path), "--given", 'y="10"', "-n", "3", "--out", str(drawn)])
    with np.load(drawn) as arrays:
        assert arrays["classes"][arrays["y"]].tolist() == ["10"] * 3


def test_the_val_folder_is_validated_on(run: Run) -> None:
    assert len(run.split().validation) == 12 and run.evaluate(split="validation")["count"] == 12


def test_what_is_predicted_goes_the_way_of_what_is_learnt_from(run: Run, data: Path) -> None:
    expected = np.stack(
        [decode_image(path.read_bytes(), HOW) for path in sorted((data / "own" / "test").rglob("*.png"))]
    )
    assert expected[:, :, :2].max() == 0 and expected.max() > 220
    assert np.array_equal(run.read(data / "own" / "test")[0], expected)
    assert torch.equal(run.dataset().test["x"], run.read(data / "own" / "test")[0])


def test_a_run_of_classes_in_the_order_of_texts_opens_and_goes_on(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As version 0.1.0 trained it: 1, 10, 2, and without the folder val."""

    def stop(state: Progress) -> None:
        if state.step == 5:
            signal.raise_signal(signal.SIGINT)

    changes = CHANGES | {"training.steps": 10, "training.validate_every": 5}
    with monkeypatch.context() as before:
        before.setattr(reader, "ordered_classes", lambda names: tuple(sorted(names)))
        before.setattr(parts, "PARTS", {name: part for name, part in parts.PARTS.items() if part != "val"})
        with pytest.raises(KeyboardInterrupt):
            semivae.train("digits_50labels", set=changes, out=tmp_path, data_root=data, device="cpu", progress=stop)
        former = semivae.load(tmp_path, device="cpu")
        assert former.classes == ("1", "10", "2") and former.dataset().validation is None
        error = former.evaluate()["last"]["error"]
    opened = semivae.load(tmp_path, device="cpu")
    assert opened.classes == ("1", "10", "2") and opened.evaluate()["last"]["error"] == error
    assert opened.dataset().classes == ("1", "10", "2") and len(opened.dataset().train["x"]) == 60
    options = {"set": changes, "out": tmp_path, "data_root": data, "device": "cpu"}
    ended = semivae.train("digits_50labels", resume=True, **options)  # type: ignore[arg-type]
    assert ended.finished and ended.classes == ("1", "10", "2")


def test_a_run_of_before_there_was_a_background_leaves_transparency_out(tmp_path: Path) -> None:
    for number, name in enumerate(("ant", "cat")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for row in range(5):
            pixels = np.random.default_rng(10 * number + row).integers(0, 256, (8, 8, 2), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{row}.png")
    source = {"name": "folder", "path": "own", "size": 8, "channels": 1}
    changes = CHANGES | {"source": source, "variables.y.classes": 2, "training.steps": 4, "training.validate_every": 2}

    def stop(state: Progress) -> None:
        if state.step == 2:
            signal.raise_signal(signal.SIGINT)

    options = {"out": tmp_path / "run", "data_root": tmp_path, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        semivae.train("digits_50labels", set=changes | {"source.background": "none"}, progress=stop, **options)  # type: ignore[arg-type]
    kept = tmp_path / "run" / "recipe.yaml"
    text = kept.read_text(encoding="utf-8")
    assert "  background: none\n" in text
    kept.write_text(text.replace("  background: none\n", ""), encoding="utf-8")  # as version 0.1.0 wrote it
    run = semivae.load(tmp_path / "run", device="cpu")
    expected = np.asarray(Image.open(tmp_path / "own" / "ant" / "0.png"))[..., 0]
    assert np.array_equal(run.read(tmp_path / "own" / "ant" / "0.png")[0][0, 0], expected)
    assert run.evaluate()["count"] == 2
    with pytest.raises(DataError, match="was made for folder:own with sha256"):
        semivae.train("digits_50labels", set=changes | {"source.background": "white"}, resume=True, **options)  # type: ignore[arg-type]
    assert semivae.train("digits_50labels", set=changes, resume=True, **options).finished  # type: ignore[arg-type]
    assert "  background: none\n" in kept.read_text(encoding="utf-8")
    assert semivae.train("digits_50labels", set=changes, resume=True, **options).finished  # type: ignore[arg-type]
