"""The commands on runs and recipes: output for people and for programs, files, and refusals."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from semivae.api import Run
from semivae.cli import app, main
from semivae.cli.kinds.class_tables import confusion_table, per_class_table
from semivae.cli.launching import words_without
from semivae.cli.showing import console
from semivae.cli.writing import write_arrays, write_file
from semivae.errors import RunError

COMMANDS = [
    "inspect",
    "start",
    "train",
    "evaluate",
    "diagnose",
    "predict",
    "sample",
    "impute",
    "embed",
    "export",
    "likelihood",
    "quality",
    "chain",
    "codes",
    "recipes",
    "show",
    "check",
    "copy",
]


def semivae(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8))
    return path


# Help ----------------------------------------------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    shown = semivae("--help").stdout
    for command in COMMANDS:
        assert f" {command} " in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str) -> None:
    result = semivae(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        (["train", "digits_50labels", "--set", "split.seed=2", "training.steps=3"], "--set A --set B"),
        (["train", "digits_50labels", "training.steps=3"], "--set A --set B"),
        (["sample", "run", "--given", "y=3", "h=1", "--out", "a.png"], "--given A --given B"),
        (["train", "digits_50labels", "mnist_100labels"], None),
    ],
)
def test_a_second_value_without_its_option(arguments: list[str], form: str | None) -> None:
    result = semivae(*arguments)
    shown = " ".join(result.stderr.replace("│", " ").split())
    assert result.exit_code == 2
    assert "unexpected extra argument" in shown
    assert (form is None and "needs its option" not in shown) or f"each value needs its option, {form}" in shown


def test_version_and_module() -> None:
    result = subprocess.run([sys.executable, "-m", "semivae", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("semivae 0.")


# Runs ----------------------------------------------------------------------------------------------------------------


def test_evaluate_json_has_the_promised_keys(tiny_run: Run) -> None:
    result = semivae("evaluate", tiny_run.path, "--json")
    report = json.loads(result.stdout)
    assert (set(report), report["split"], report["count"]) == (
        {"run", "kind", "nouns", "split", "count", "last", "selected", "twin", "sets", "risk_coverage"},
        "test",
        500,
    )
    keys = {"error", "error_interval", "nll", "brier", "ece", "reliability", "per_class", "confusion"}
    assert all(set(report[checkpoint]) == keys for checkpoint in ("last", "selected", "twin"))
    assert sum(map(sum, report["last"]["confusion"])) == 500


def test_evaluate_shows_tables(tiny_run: Run) -> None:
    shown = semivae("evaluate", tiny_run.path).stdout
    for text in ("model", "supervised twin", "95% interval", "Reliability: model", "Per class", "Confusion"):
        assert text in shown


def test_predict_writes_csv_of_probabilities(tiny_run: Run, images: Path, tmp_path: Path) -> None:
    result = semivae("predict", tiny_run.path, images)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == ["name", "label", *(f"prob_{digit}" for digit in range(10))]
    for row in rows:
        probabilities = [float(row[f"prob_{digit}"]) for digit in range(10)]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert row["label"] == str(int(np.argmax(probabilities)))
    out = tmp_path / "labels.csv"
    assert semivae("predict", tiny_run.path, images, "--out", out).exit_code == 0
    assert out.read_text() == result.stdout


def test_predict_takes_folders_and_names_their_files(tiny_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("b.png", "a.png"):
        Image.new("L", (20, 10), 128).save(folder / name)
    rows = list(csv.DictReader(io.StringIO(semivae("predict", tiny_run.path, folder).stdout)))
    assert [Path(row["name"]).name for row in rows] == ["a.png", "b.png"]


def test_predict_names_files_as_the_disk_does(tiny_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    try:
        Image.new("L", (8, 8)).save(folder / os.fsdecode(b"\xff.png"))
    except OSError:
        pytest.skip("this disk takes UTF-8 names only")
    assert semivae("predict", tiny_run.path, folder).stdout_bytes.splitlines()[1].startswith(b"\xff.png,")
    assert semivae("predict", tiny_run.path, folder, "--out", tmp_path / "labels.csv").exit_code == 0
    assert (tmp_path / "labels.csv").read_bytes().splitlines()[1].startswith(b"\xff.png,")


def test_sample_draws_a_grid_and_arrays(tiny_run: Run, tmp_path: Path) -> None:
    result = semivae("sample", tiny_run.path, "--given", "y=3", "-n", 6, "--out", tmp_path / "grid.png", "--json")
    assert json.loads(result.stdout)["given"] == {"y": 3}
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.width > picture.height > 8
    arguments = ["--given", "y=[3, 4]", "-n", 4, "--seed", 1]
    for name in ("a.npz", "b.npz"):
        assert semivae("sample", tiny_run.path, *arguments, "-o", tmp_path / name).exit_code == 0
    with np.load(tmp_path / "a.npz") as first, np.load(tmp_path / "b.npz") as second:
        assert first["y"].tolist() == [3, 3, 4, 4]
        assert np.array_equal(first["x"], second["x"])


def test_embed_writes_features_and_names(tiny_run: Run, images: Path, tmp_path: Path) -> None:
    result = semivae("embed", tiny_run.path, images, "--out", tmp_path / "f.npz", "--json")
    with np.load(tmp_path / "f.npz") as arrays:
        assert arrays["features"].shape == (5, json.loads(result.stdout)["features"])
        assert len(arrays["names"]) == 5


def test_export_reports_the_difference(tiny_run: Run, tmp_path: Path) -> None:
    result = semivae("export", tiny_run.path, "--format", "safetensors", "--out", tmp_path / "m.safetensors", "--json")
    assert json.loads(result.stdout)["largest_difference"] < 1e-4
    assert (tmp_path / "m.safetensors").is_file()


@pytest.mark.parametrize(
    "command", [["predict", "IMAGES"], ["sample"], ["embed", "IMAGES"], ["export", "--format", "safetensors"]]
)
@pytest.mark.parametrize("place", ["there already", "below a file", "a folder"])
def test_files_are_never_overwritten_unasked(
    tiny_run: Run, images: Path, tmp_path: Path, command: list[str], place: str
) -> None:
    ending = {"predict": ".csv", "sample": ".png", "embed": ".npz", "export": ".safetensors"}[command[0]]
    out = tmp_path / ("taken" if place == "below a file" else "") / f"out{ending}"
    if place == "below a file":
        out.parent.write_text("precious")
    if place == "there already":
        out.write_text("precious")
    elif place == "a folder":
        out.mkdir()
    rest = [str(images) if word == "IMAGES" else word for word in command[1:]]
    result = semivae(command[0], tiny_run.path, *rest, "--out", out)
    assert result.exit_code == 1
    assert str(out) in result.stderr
    if place == "there already":
        assert out.read_text() == "precious"
        assert semivae(command[0], tiny_run.path, *rest, "--out", out, "--overwrite").exit_code == 0
        assert out.read_bytes() != b"precious"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["evaluate", "nowhere"], 1, "nowhere"),
        (["evaluate", "n" * 300], 1, "no file can have so long a name"),
        (["predict", "RUN", "nowhere.npy"], 1, "nowhere.npy"),
        (["predict", "RUN", "IMAGES", "--out", "labels.txt"], 2, "must end in .csv"),
        (["sample", "RUN", "--given", "y=11", "--out", "g.png"], 1, "class 11 is unknown"),
        (["sample", "RUN", "--given", "z=1", "--out", "g.png"], 1, "unknown variable"),
        (["sample", "RUN", "--given", "y", "--out", "g.png"], 2, "write NAME=VALUE"),
        (["sample", "RUN", "--given", "seed=1", "--out", "g.png"], 1, "seed: unknown variable"),
        (["sample", "RUN", "--seed", "9223372036854775808", "--out", "g.png"], 1, "seeds lie in 0 to"),
        (["copy", "."], 2, "this is a folder"),
        (["copy", "images.npy"], 2, "this is not a text file"),
        (["sample", "RUN", "--out", "g.gif"], 2, "must end in .png"),
        (["sample", "RUN", "--checkpoint", "twin", "--out", "g.png"], 1, "no decoder"),
        (["export", "RUN", "--out", "m.bin"], 1, "m.bin"),
        (["evaluate"], 2, "Missing argument"),
        (["fly"], 2, "No such command"),
    ],
)
def test_user_errors(
    tiny_run: Run,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = {"RUN": str(tiny_run.path), "IMAGES": str(images)}
    result = semivae(*(words.get(word, word) for word in arguments))
    assert (result.exit_code, result.stdout) == (status, "")
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


def test_half_written_run(tiny_run: Run, images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(tiny_run.path, folder)
    (folder / "last.safetensors").write_bytes(b"\x00" * 20)
    result = semivae("predict", folder, images)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "last.safetensors" in result.stderr


def test_images_of_another_size_are_resized_and_of_other_channels_refused(tiny_run: Run, tmp_path: Path) -> None:
    large = tiny_run.dataset().test["x"][:5, 0].repeat_interleave(3, 1).repeat_interleave(3, 2).numpy()
    np.save(tmp_path / "large.npy", large)
    result = semivae("predict", tiny_run.path, tmp_path / "large.npy")
    assert [int(line.split(",")[1]) for line in result.stdout.splitlines()[1:]] == tiny_run.predict(large).tolist()
    np.save(tmp_path / "colour.npy", np.zeros((2, 8, 8, 3), dtype=np.uint8))
    result = semivae("predict", tiny_run.path, tmp_path / "colour.npy")
    assert result.exit_code == 1
    assert "[2, 8, 8, 3]" in result.stderr


# Recipes -------------------------------------------------------------------------------------------------------------


def test_recipes_are_listed_with_what_they_are_about() -> None:
    listed = json.loads(semivae("recipes", "--json").stdout)["recipes"]
    about = {row["name"]: row["about"] for row in listed}
    assert "scikit-learn" in about["digits_50labels"]
    shown = semivae("recipes").stdout
    assert all(name in shown for name in about)


def test_show_has_variables_plan_and_parameters() -> None:
    report = json.loads(semivae("show", "digits_50labels", "--json").stdout)
    assert list(report["variables"]) == ["x", "y", "h"]
    assert {"stream", "learner", "completion", "scores"} == set(report["plan"][0])
    assert report["parameters"]["encoder"]["y"] > 1000
    shown = semivae("show", "digits_50labels").stdout
    assert "y, h -> x by mlp" in shown
    assert "q(y | x)" in shown


def test_show_works_without_the_data(tmp_path: Path) -> None:
    result = semivae("show", "folder", "--data-root", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["parameters"] is None


def test_check_names_every_bad_recipe(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    assert semivae("copy", "digits_50labels", bad).exit_code == 0
    bad.write_text(bad.read_text().replace("steps:", "stepz:"))
    result = semivae("check", "digits_50labels", bad)
    assert result.exit_code == 2
    assert "digits_50labels: ok" in result.stdout
    assert "training.stepz: unknown key; did you mean steps?" in result.stdout
    rows = json.loads(semivae("check", "digits_50labels", bad, "--json").stdout)["recipes"]
    assert [row["ok"] for row in rows] == [True, False]


def test_check_says_why_a_scenario_cannot_teach(tmp_path: Path) -> None:
    result = semivae("check", "digits_50labels", "--set", "streams={labelled: {observe: [x, y]}}")
    assert result.exit_code == 2
    assert "no stream teaches it" in result.stdout


def test_copy_never_overwrites(tmp_path: Path) -> None:
    assert semivae("copy", "digits_50labels", tmp_path).exit_code == 0
    copied = tmp_path / "digits_50labels.yaml"
    copied.write_text("mine")
    result = semivae("copy", "digits_50labels", copied)
    assert result.exit_code == 1
    assert copied.read_text() == "mine"


def test_check_builds_what_the_recipe_describes_whole() -> None:
    result = semivae("check", "digits_50labels", "--set", "decoder.x.net={name: conv}")
    assert result.exit_code == 2
    assert "decoder.x.net: net conv reads an image, but no given variable is one" in result.stdout
    unlabelled = "streams={images: {observe: [x]}, prior: {observe: []}}"
    result = semivae("check", "digits_50labels", "--set", unlabelled)
    assert result.exit_code == 2
    assert "has no supervised twin" in result.stdout


def test_full_disk_is_told_without_a_traceback() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full here")
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "semivae", "recipes"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert "no space is left on the device" in result.stderr and "Traceback" not in result.stderr


# What is shown -------------------------------------------------------------------------------------------------------


def test_names_are_shown_as_they_are() -> None:
    names = ("[red]", "[/b]", ":cat:")
    scores = {"per_class": dict.fromkeys(names, 0.5), "confusion": [[1, 1, 0]] * 3}
    shown = console()
    with shown.capture() as captured:
        shown.print(per_class_table({"last": scores}))
    assert all(name in captured.get() for name in names)


def test_every_place_of_results_has_the_short_name_too() -> None:
    """-o, as --help lists it; of `train` as well, whose processes get a place of their own behind it."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = [(name, option.opts) for name, command in commands.items() for option in command.params]
    assert {name: opts for name, opts in found if "--out" in opts and "-o" not in opts} == {}
    shared = words_without(["train", "r", "-o", "runs", "--seeds", "0..1"], ["--seeds", "--out", "-o"])
    assert shared == ["train", "r"]


def test_a_row_is_a_true_class_and_a_column_an_answer() -> None:
    confusion = [[3, 1, 0], [0, 2, 0], [0, 0, 0]]  # one a is taken for b; there is no c
    report = {"last": {"per_class": {"a": 0.25, "b": 0.0, "c": None}, "confusion": confusion}}
    shown = console()
    with shown.capture() as captured:
        shown.print(per_class_table(report), confusion_table(report))
    rows = [line.split() for line in captured.get().splitlines()]
    assert [row for row in rows if row[:1] == ["a"]] == [["a", "4", "25.00%", "b", "(1)"], ["a", "3", "1", "."]]
    assert [row for row in rows if row[:1] == ["b"]] == [["b", "2", "0.00%"], ["b", ".", "2", "."]]
    assert [row for row in rows if row[:1] == ["c"]] == [["c", "0", "-"], ["c", ".", ".", "."]]


def test_line_one_hundred_of_a_recipe_is_no_emoji(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text("\n" * 99 + "sauce: {name: digits}\n")
    for command in ("check", "train"):
        assert "long.yaml:100: sauce: unknown key" in semivae(command, path).output


def test_signs_that_a_terminal_cannot_show_do_not_stop_a_command(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["semivae", "likelihood", str(tiny_run.path), "-n", "2"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    with pytest.raises(SystemExit) as ended:
        main()
    sys.stdout.flush()
    assert not ended.value.code and b"?" in shown.getvalue()


def test_arrays_of_any_name_are_written_and_names_too_long_are_told(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"file": np.arange(3), "x": np.array(["a", "bc"])})
    with np.load(tmp_path / "a.npz") as arrays:
        assert (arrays["file"].tolist(), arrays["x"].tolist()) == ([0, 1, 2], ["a", "bc"])
    with pytest.raises(RunError, match="cannot be written: File name too long"):
        write_file(tmp_path / ("n" * 250), b"")
