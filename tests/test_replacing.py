"""A run that is replaced: whenever training is killed, the old run is named and put back; nothing foreign goes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from semivae.api import Run, train
from semivae.cli import app
from semivae.errors import RecipeError, RunError
from semivae.recipe import read_recipe
from semivae.runs.checkpoint import read_checkpoint, write_checkpoint
from semivae.runs.folder import LOCK_FILE, OF_A_RUN, only_writer, refuse_no_run, start_folder
from semivae.runs.replacing import DROPPED, MOVING, REPLACED, drop_replaced, put_back, replacing, set_aside
from semivae.training.progress import Progress

DIGITS = "digits_50labels"
FEW = {"training.steps": 2, "training.validate_every": 2}


class Killed(BaseException):
    """As SIGKILL: nothing that the code does afterwards counts."""


@pytest.fixture
def folder(tiny_run: Run, tmp_path: Path) -> Path:
    """A copy of a run, which tests may change."""
    return Path(shutil.copytree(tiny_run.path, tmp_path / "run"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != LOCK_FILE}


def killed_at(folder: Path, copies: Path, moves: int, monkeypatch: pytest.MonkeyPatch) -> Path | None:
    """What a kill before the n-th move of a file or folder leaves of a replacement; None if there were fewer."""
    replace, count = os.replace, 0

    def counted(source: Path, target: Path) -> None:
        nonlocal count
        if count == moves:
            raise Killed
        count += 1
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted)
        try:
            with replacing(folder) as drop:
                start_folder(folder, read_recipe(DIGITS), Run.load(copies / "old").split())
                drop()
        except Killed:
            return folder
    return None


def test_a_kill_at_any_move_loses_no_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, copies = files_of(folder), tmp_path / "copies"
    shutil.copytree(folder, copies / "old")
    seen = set()
    for moves in range(2 * len(OF_A_RUN)):
        place = Path(shutil.copytree(copies / "old", tmp_path / f"at{moves}"))
        if killed_at(place, copies, moves, monkeypatch) is None:
            break
        aside = set_aside(place)
        seen.add(aside and aside.name)
        if aside is not None:
            with pytest.raises(RunError, match=r"the old run is in .*, and the next training command for .* puts it"):
                Run.load(place)
            assert put_back(place)
        assert files_of(place) == old, moves
        assert not any(any(path.iterdir()) for path in place.iterdir() if path.is_dir())
    assert moves > 8 and seen >= {MOVING, REPLACED}
    assert files_of(place).keys() < old.keys()  # replaced for good


def test_a_kill_while_the_old_run_is_put_back_loses_no_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, replace = files_of(folder), os.replace
    (folder / REPLACED).mkdir()
    for name in OF_A_RUN:
        if (folder / name).exists():
            replace(folder / name, folder / REPLACED / name)
    start_folder(folder, read_recipe(DIGITS), Run.load(folder / REPLACED).split())
    for moves in range(4):
        count = 0

        def counted(source: Path, target: Path) -> None:
            nonlocal count
            if count == moves:  # noqa: B023
                raise Killed
            count += 1
            replace(source, target)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(os, "replace", counted)
            put_back(folder)
    assert put_back(folder)
    assert files_of(folder) == old


def test_the_next_training_command_puts_the_old_run_back(folder: Path, tiny_run: Run) -> None:
    old = files_of(folder)
    (folder / REPLACED).mkdir()
    for name in old:
        (folder / name).rename(folder / REPLACED / name)
    start_folder(folder, read_recipe(DIGITS), tiny_run.split())
    shown = CliRunner().invoke(app, ["predict", str(folder), "x.png"])
    assert shown.exit_code == 1 and f"the old run is in {folder / REPLACED}" in " ".join(shown.stderr.split())
    with pytest.raises(RunError, match="a run is there already"):
        train(DIGITS, set=FEW, out=folder)
    assert files_of(folder) == old


def test_a_run_that_another_training_is_replacing_is_left_alone(folder: Path) -> None:
    old = files_of(folder)
    with only_writer(folder), pytest.raises(Killed), replacing(folder):
        assert not put_back(folder)
        assert files_of(folder / REPLACED) == old
        with pytest.raises(RunError, match="has made no step yet"):
            Run.load(folder)
        raise Killed


@pytest.mark.parametrize("name", [MOVING, REPLACED, DROPPED])
@pytest.mark.parametrize("kind", ["link", "folder", "file"])
def test_what_is_in_the_way_is_named_and_left(folder: Path, tmp_path: Path, name: str, kind: str) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "recipe.yaml").write_text("mine")  # a folder of this content would be taken for a run's
    if kind == "link":
        (folder / name).symlink_to(mine)
    elif kind == "folder":
        shutil.copytree(mine, folder / name)
        (folder / name / "thesis.txt").write_text("years of work")
    else:
        (folder / name).write_text("mine")
    old = files_of(folder)
    with pytest.raises(RunError, match=rf"{name}: is in the way"):
        train(DIGITS, set=FEW, out=folder, overwrite=True)
    drop_replaced(folder)
    assert not put_back(folder)
    assert files_of(folder) == old and len(list(mine.iterdir())) == 1
    assert kind != "folder" or len(list((folder / name).iterdir())) == 2


def test_an_own_folder_called_replaced_is_left(folder: Path) -> None:
    (folder / ".replaced").mkdir()
    (folder / ".replaced" / "recipe.yaml").write_text("mine")
    train(DIGITS, set=FEW, out=folder, overwrite=True, twin=False)
    assert (folder / ".replaced" / "recipe.yaml").read_text() == "mine"


def test_a_folder_that_only_looks_like_a_run_is_not_replaced(tiny_run: Run, tmp_path: Path) -> None:
    for name in ("recipe.yaml", "split.json"):
        shutil.copy(tiny_run.path / name, tmp_path / name)
    (tmp_path / "table.json").write_text("mine")
    (tmp_path / "source_palette.txt").write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(RunError, match=r"holds recipe\.yaml and split\.json, but neither run\.json nor a checkpoint"):
        train(DIGITS, set=FEW, out=tmp_path, overwrite=True)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "message"), [("file", "replaced by a file"), ("gone", "removed or renamed"), ("empty", "emptied")]
)
@pytest.mark.parametrize("every", [1, 3])
def test_a_folder_that_goes_while_it_is_trained_is_named(tmp_path: Path, change: str, message: str, every: int) -> None:
    folder = tmp_path / "run"

    def change_at_once(state: Progress) -> None:
        if state.step == every and folder.is_dir():
            shutil.rmtree(folder)
            if change == "file":
                folder.write_text("mine")
            elif change == "empty":
                folder.mkdir()

    changes = {"training.steps": 6, "training.validate_every": every, "training.checkpoint_every": 2}
    with pytest.raises(RunError, match=f"the run's folder was {message} while it was trained.*go on with --resume"):
        train(DIGITS, set=changes, out=folder, twin=False, progress=change_at_once)
    assert change != "file" or folder.read_text() == "mine"
    assert change != "gone" or not folder.exists()


# What is said of a run that is being trained, or is looked for elsewhere ----------------------------------------------


def test_a_run_that_is_being_trained_is_not_called_stopped(folder: Path, tiny_run: Run) -> None:
    images, last = folder / "images.npy", folder / "last.safetensors"
    np.save(images, tiny_run.dataset().test["x"][:2].numpy())
    tensors, facts = read_checkpoint(last)
    write_checkpoint(last, tensors, facts.model_copy(update={"step": 7}))
    ask = ["predict", str(folder), str(images)]
    with only_writer(folder):
        shown = CliRunner().invoke(app, ask)
        assert "is being trained now; this is its checkpoint at step 7 of 20" in " ".join(shown.stderr.split())
        assert "stopped" not in shown.stderr
    assert "was stopped at step 7 of 20; train --resume" in " ".join(CliRunner().invoke(app, ask).stderr.split())
    last.unlink()
    with only_writer(folder), pytest.raises(RunError, match="is being trained and has no checkpoint yet"):
        Run.load(folder)


def test_a_run_in_the_folder_of_runs_is_named(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "runs" / "my_images")
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["evaluate", "my_images"])
    assert shown.exit_code == 1
    assert "there is no such folder; did you mean runs/my_images?" in " ".join(shown.stderr.split())
    with pytest.raises(RunError, match=r"no such folder .*; did you mean runs/my_images\?"):
        Run.load("runs/my_image")
    for name in ("recipe.yaml", "split.json"):
        half = Path(shutil.copytree(tiny_run.path, tmp_path / f"half_{name}"))
        (half / name).unlink()
        with pytest.raises(
            RunError, match=f"this run lacks {name}: it was copied in part, or stopped as it began; copy"
        ):
            Run.load(half)


def test_a_folder_of_runs_names_them(tmp_path: Path) -> None:
    for seed in ("seed0", "seed1"):
        (tmp_path / seed).mkdir()
        for name in ("recipe.yaml", "split.json"):
            (tmp_path / seed / name).write_text("{}")
    with pytest.raises(RunError, match=r"is not a run's folder, but holds 2; name one: .*/seed0, .*/seed1$"):
        refuse_no_run(tmp_path)
    with pytest.raises(RecipeError, match=r"it holds a run, whose recipe is .*seed0/recipe\.yaml"):
        read_recipe(tmp_path / "seed0")
