"""Slips on the command line: an output that is an input, ~ where no shell reads it, and a variable that is not set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.errors import RecipeError

TABLE = "a,b,label\n" + "".join(f"{row},{row % 7}.5,{'oak' if row % 2 else 'ash'}\n" for row in range(40))


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(TABLE)
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 8, 8), np.uint8))
    (tmp_path / "link.csv").symlink_to("t.csv")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "RUN", "t.csv", "--out", "t.csv"),
        ("predict", "RUN", "./t.csv", "--out", "link.csv"),
        ("embed", "RUN", "a.npz", "--out", "a.npz"),
        ("novelty", "RUN", "t.csv", "--out", "t.csv"),
        ("impute", "RUN", "pictures", "--mask", "m.png", "--out", "pictures"),
    ],
)
def test_what_is_read_is_never_written(inputs: Path, tiny_run: Run, command: tuple[str, ...]) -> None:
    """Even with --overwrite, which is meant for results."""
    (inputs / "pictures").mkdir()
    before = {path: path.read_bytes() for path in inputs.iterdir() if path.is_file()}
    result = run_command(*(str(tiny_run.path) if word == "RUN" else word for word in command), "--overwrite")
    assert result.exit_code == 1 and "this is what the command reads; choose another name for --out" in result.output
    assert {path: path.read_bytes() for path in inputs.iterdir() if path.is_file()} == before


def test_other_names_are_written(inputs: Path, tiny_run: Run) -> None:
    assert run_command("predict", tiny_run.path, "a.npz", "--out", "p.csv").exit_code == 0
    assert run_command("predict", tiny_run.path, "a.npz", "--out", "p.csv", "--overwrite").exit_code == 0


def test_a_tilde_is_the_home_folder_in_every_option(
    inputs: Path, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bash leaves --out=~/p.csv as it is: once a folder called ~ was made."""
    (inputs / "home").mkdir()
    monkeypatch.setenv("HOME", str(inputs / "home"))
    for option in (("--out=~/p.csv",), ("--out", "~/q.csv")):
        assert run_command("predict", tiny_run.path, "a.npz", *option).exit_code == 0
    assert sorted(path.name for path in (inputs / "home").iterdir()) == ["p.csv", "q.csv"]
    assert not (inputs / "~").exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [("~nosuchuser/x", "there is no home folder of this name"), ("", "the path is empty, as that of a variable")],
)
def test_paths_that_lead_nowhere_are_refused(inputs: Path, path: str, message: str) -> None:
    result = run_command("inspect", path)
    assert result.exit_code == 1 and message in " ".join(result.output.split())


def test_a_run_in_place_of_a_recipe_is_recognised(inputs: Path, tiny_run: Run) -> None:
    with pytest.raises(
        RecipeError, match=r"a folder, not a recipe file; it holds a run, whose recipe is .*recipe\.yaml"
    ):
        semivae.train(tiny_run.path)
    assert run_command("train", tiny_run.path).exit_code == 2


def test_more_samples_than_memory_holds_are_refused(inputs: Path, tiny_run: Run) -> None:
    """Before they are drawn: the machine would first grow slow, and then end the command."""
    result = run_command("sample", tiny_run.path, "-n", 10**9, "--out", "s.npz")
    assert result.exit_code == 1 and "1,000,000,000 samples take 512.0 GB of memory or more" in result.output
    assert "draw fewer at a time" in " ".join(result.output.split()) and not (inputs / "s.npz").exists()


@pytest.mark.parametrize("width", ["0", "1", "9" * 5000, "-3", "wide", "100"])
def test_a_terminal_without_a_width_loses_no_line(inputs: Path, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    """Some shells and schedulers say that there are 0 columns: once nothing was printed, and the status was 0."""
    monkeypatch.setenv("COLUMNS", width)
    result = run_command("inspect", "t.csv")
    assert result.exit_code == 0 and "no mistakes" in result.output and "32 labelled" in result.output
