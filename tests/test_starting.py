"""`semivae start`: the recipe that it writes fits the data, is checked, and trains."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import semivae
from semivae.cli import app
from semivae.cli.timing import duration
from semivae.inspection import starting
from semivae.inspection.one_line import flow
from semivae.recipe import Recipe, read_recipe
from semivae.recipe.parsing import parse_value
from semivae.text import as_yaml

NEEDS_TIMM = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def started(path: Path, target: Path, *options: str) -> Recipe:
    result = run_command("start", path, target, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"next: semivae train {target}\n")
    return read_recipe(target)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for row in range(40):
        write(
            tmp_path / "my pets" / ("train" if row < 30 else "test") / "ab"[row % 2] / f"{row}.png", noise(row, 20, 20)
        )
    return tmp_path / "my pets"


def test_size_channels_validation_and_path_are_filled_in(pets: Path, tmp_path: Path) -> None:
    recipe = started(pets, tmp_path / "mine.yaml")
    assert recipe.source.model_dump(exclude_defaults=True) == {
        "name": "folder",
        "path": str(pets),
        "size": 24,
        "channels": 1,
    }
    assert recipe.split.labelled == "all" and recipe.split.validation == 6
    text = (tmp_path / "mine.yaml").read_text()
    assert "2 classes (a, b), 30 labelled and 0 unlabelled examples, 10 to test on" in text.splitlines()[0]
    assert "HERE: align says" in text, "comments of the template that still hold are kept"
    template = read_recipe("folder")
    assert recipe.training == template.training and recipe.streams == template.streams
    assert semivae.inspect(tmp_path / "mine.yaml").parts["validation"] == 6


def test_what_is_asked_for_stays_and_quick_takes_a_tenth(pets: Path, tmp_path: Path) -> None:
    recipe = started(pets, tmp_path / "mine.yaml", "--set", "source.size=16", "--set", "source.channels=3", "--quick")
    assert recipe.source.size == 16 and recipe.source.channels == 3  # type: ignore[union-attr]
    assert recipe.training.steps == 200 and recipe.training.validate_every == 20


def test_wide_pictures_are_padded_and_a_part_for_validation_is_kept(pets: Path, tmp_path: Path) -> None:
    for row in range(40):
        write(pets / "val" / "ab"[row % 2] / f"{row}.png", noise(100 + row, 20, 60))
    recipe = started(pets, tmp_path / "mine.yaml")
    assert recipe.source.fit == "pad" and recipe.split.validation == 0  # type: ignore[union-attr]
    cropped = "the recipe says fit: pad, so that nothing is cropped"
    assert cropped in run_command("start", pets, tmp_path / "again.yaml").stderr
    asked = run_command("start", pets, tmp_path / "asked.yaml", "--set", "source.fit=crop").stderr
    assert "are cropped by more than" in asked and cropped not in asked


def test_nothing_is_written_over_a_file_or_for_data_with_mistakes(pets: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    target.write_text("mine")
    result = run_command("start", pets, target)
    assert result.exit_code == 1 and "exists; choose another name" in result.stderr and target.read_text() == "mine"
    (pets / "train" / "a" / "x.png").write_bytes(b"x")
    (pets / "train" / "c").mkdir()
    result = run_command("start", pets, tmp_path / "other.yaml")
    assert result.exit_code == 1 and not (tmp_path / "other.yaml").exists()
    assert "with no image to train on: c" in result.stderr and "cannot be read: train/a/x.png" in result.stderr
    assert run_command("start", pets, tmp_path / "a.txt").exit_code == 2
    odd = run_command("start", pets, tmp_path / "other.yaml", "--set", "training.steps=3")
    assert odd.exit_code == 2 and "only keys of source" in odd.stderr
    assert "training.steps" not in run_command("start", "--help").stdout  # which it would refuse
    nothing = run_command("start", "digits_50labels", tmp_path / "other.yaml")
    assert nothing.exit_code == 1 and "there is no file or folder" in nothing.stderr


def test_a_label_that_is_a_number_gets_a_template_of_numbers(tmp_path: Path) -> None:
    pictures, rows = tmp_path / "pictures", ["file,age"]
    for row in range(40):
        write(pictures / f"{row}.png", noise(row, 12, 12))
        rows.append(f"{row}.png,{row / 7:.2f}")
    (pictures / "ages.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "t.csv").write_text("width,age\n" + "".join(f"{row % 9},{row / 7:.2f}\n" for row in range(40)))
    for place in (pictures, tmp_path / "t.csv"):
        asked = ("--label", "age", "--set", "source.kinds.y=numbers")
        recipe = started(place, tmp_path / f"{place.stem}.yaml", *asked)
        assert recipe.variables["y"].family == "gaussian" and recipe.split.validation == 6
        assert run_command("check", tmp_path / f"{place.stem}.yaml", "--data-root", tmp_path).exit_code == 0
        as_classes = run_command("start", place, tmp_path / "other.yaml", "--label", "age")
        assert as_classes.exit_code == 1 and "write source.kinds: {y: numbers}" in as_classes.stderr


def test_arrays_that_no_template_fits_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=noise(0, 20, 20, 20), s=noise(1, 20, 20, 20) % 2)
    result = run_command("start", tmp_path / "a.npz", tmp_path / "mine.yaml")
    assert result.exit_code == 2 and not (tmp_path / "mine.yaml").exists()
    assert "no template fits these data" in result.stderr and "encoder.s.net" in result.stderr


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for row in range(40):
        write(
            tmp_path / "trip" / ("train" if row < 30 else "test") / "ab"[row % 2] / f"{row}.jpg",
            noise(row, 100, 140, 3),
        )
    return tmp_path / "trip"


@NEEDS_TIMM
def test_photographs_are_recognised_by_features_where_their_network_is_at_hand(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "network_is_at_hand", lambda: False)
    result = run_command("start", photographs, tmp_path / "small.yaml")
    assert "these are photographs" in result.stderr and "--weights FILE" in result.stderr
    assert "pip install" not in result.stderr, "timm is there"
    assert not read_recipe(tmp_path / "small.yaml").features
    monkeypatch.setattr(starting, "network_is_at_hand", lambda: True)
    recipe = started(photographs, tmp_path / "mine.yaml")
    assert recipe.features["f"].net.weights == "default"
    assert recipe.features["f"].components == 15, "half of 30 photographs: of more nothing could be told"
    assert recipe.source.fit == "crop"  # type: ignore[union-attr]
    assert not started(photographs, tmp_path / "folder.yaml", "--template", "folder").features


@NEEDS_TIMM
def test_a_network_that_goes_on_learning_sees_larger_photographs(photographs: Path, pets: Path, tmp_path: Path) -> None:
    file = tmp_path / "my weights.safetensors"
    file.write_bytes(b"")
    asked = ("--template", "photos_tuned", "--weights", str(file))
    result = run_command("start", photographs, tmp_path / "tuned.yaml", *asked)
    assert result.exit_code == 0 and "by a pretrained network that goes on learning" in result.stdout
    recipe = read_recipe(tmp_path / "tuned.yaml")
    net = recipe.model_dump()["encoder"]["y"]["net"]
    assert (net["weights"], net["train"]) == (str(file), 3) and not recipe.features
    source = recipe.source.model_dump()
    assert (source["size"], source["fit"]) == (128, "crop")
    assert started(pets, tmp_path / "pets.yaml", *asked).source.model_dump()["size"] == 32, "they are not enlarged"


@NEEDS_TIMM
def test_weights_are_named_for_photographs_and_small_pictures_are_none(
    photographs: Path, pets: Path, tmp_path: Path
) -> None:
    file = tmp_path / "my weights.safetensors"
    file.write_bytes(b"")
    recipe = started(photographs, tmp_path / "mine.yaml", "--weights", str(file))
    assert recipe.features["f"].net.weights == str(file)
    assert "these are photographs" not in run_command("start", pets, tmp_path / "pets.yaml").stderr
    (tmp_path / "t.csv").write_text("first,answer\n" + "1,a\n2,b\n" * 20)
    refused = run_command("start", tmp_path / "t.csv", tmp_path / "t.yaml", "--template", "photos")
    assert refused.exit_code == 2 and "it is for images in folders" in refused.stderr


@NEEDS_TIMM
def test_how_long_training_takes_is_said_and_nothing_stays_of_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photographs: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    lines = [f"{row % 7},{row / 3},{'' if row % 4 == 0 else 'yn'[row % 2]}" for row in range(80)]
    (tmp_path / "t.csv").write_text("first,second,answer: yes?\n" + "\n".join(lines) + "\n")
    monkeypatch.setattr("semivae.cli.timing.SECONDS", 1.0)
    shown = " ".join(run_command("start", "t.csv", "--time").stdout.split())  # 60 steps may end before a second report
    steps = read_recipe(tmp_path / "t.yaml").training.steps
    assert re.search(
        rf"time: about \S+ (seconds?|minutes|hours) on this machine for {steps:,} steps, by [\d,]+ of them", shown
    )
    assert {path.name for path in tmp_path.iterdir()} == before | {"t.csv", "t.yaml"}
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"")
    shown = run_command("start", photographs, tmp_path / "p.yaml", "--weights", weights, "--time").stdout
    assert "training says first how long that takes" in " ".join(shown.split())  # the network is not tried


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "a second"),
        (1.6, "2 seconds"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (5399, "90 minutes"),
        (9000, "2.5 hours"),
    ],
)
def test_durations_are_said_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "masks", "table", "arrays"])
def test_what_is_written_trains(kind: str, pets: Path, tmp_path: Path) -> None:
    place = pets
    if kind == "masks":
        place = tmp_path / "shapes"
        for row in range(20):
            write(place / "images" / f"{row}.png", noise(row, 32, 32, 3))
            write(place / "masks" / f"{row}.png", noise(row, 32, 32) % 2)
    elif kind == "table":
        place = tmp_path / "t.csv"
        lines = [f"{row % 7},{row / 3},{'' if row % 4 == 0 else 'yn'[row % 2]}" for row in range(80)]
        place.write_text("first,second,answer: yes?\n" + "\n".join(lines) + "\n")
    elif kind == "arrays":
        place = tmp_path / "a.npz"
        np.savez(place, x=noise(0, 60, 28, 28), y=np.arange(60) % 3)
    recipe = started(place, tmp_path / "mine.yaml", "--quick")
    assert recipe.source.name == kind
    run = semivae.train(
        tmp_path / "mine.yaml", set={"training.steps": 2}, out=tmp_path / "run", device="cpu", twin=False
    )
    assert run.evaluate()["count"] > 0


@pytest.mark.parametrize(
    "text",
    ["a", "/own/data 1", ".5", ".inf", "...", "null", "True", "yes", "a: b", "c, d", "{e}", "# f", "1e3", "\n"],
)
def test_a_text_on_one_line_is_read_as_it_was(text: str) -> None:
    line = flow({text: text, "names": [text, 1, True, None], "more": {text: []}})
    assert "\n" not in line and parse_value(line) == {text: text, "names": [text, 1, True, None], "more": {text: []}}
    assert parse_value(as_yaml(text)) == text


def test_plain_texts_have_no_quotes() -> None:
    assert flow({"name": "folder", "path": "/own/x.csv", "size": 32}) == "{name: folder, path: /own/x.csv, size: 32}"
