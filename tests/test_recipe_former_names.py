"""Names of earlier versions: they are read, cited as they were written, never written again, and said once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from semivae.cli import app
from semivae.errors import RecipeError
from semivae.recipe import change_recipe, dump_recipe, find_recipe, former_names, read_recipe
from semivae.recipe.parsing import parse_value
from semivae.recipe.schema import Recipe

NAMES = (("loss_weights:", "teach:"), ("ema_decay:", "average:"), ("values: hidden", "values: left_out"))


@pytest.fixture
def present(tmp_path: Path) -> Path:
    """A recipe that uses all present names."""
    path = tmp_path / "new.yaml"
    text = find_recipe("fashion_mnist_1000labels").read_text(encoding="utf-8")
    assert all(new in text for new, _ in NAMES)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def former(present: Path) -> Path:
    """The same recipe under former names."""
    path, text = present.with_name("old.yaml"), present.read_text(encoding="utf-8")
    for new, old in NAMES:
        text = text.replace(new, old)
    path.write_text(text, encoding="utf-8")
    return path


def line_of(path: Path, words: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if words in line)


def mistakes(path: Path, *changes: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, changes)
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def test_a_recipe_under_former_names_is_the_same_recipe(present: Path, former: Path) -> None:
    wanted = read_recipe(present)
    assert read_recipe(former) == wanted
    assert Recipe.model_validate(parse_value(former.read_text())) == wanted  # as runs and benchmarks keep them
    assert not any(old in dump_recipe(read_recipe(former)) for _, old in NAMES)


def test_changes_may_use_either_name_of_whatever_the_file_uses(present: Path, former: Path) -> None:
    for old in ("training.average=0.5", "streams.labels.teach.h=0.3", "streams.labels.values=left_out"):
        new = old.replace("average", "ema_decay").replace("teach", "loss_weights").replace("left_out", "hidden")
        recipes = [read_recipe(path, [change]) for path in (present, former) for change in (old, new)]
        assert all(recipe == recipes[0] for recipe in recipes)
    weights = read_recipe(former, ["streams.labels.loss_weights.h=0.3"]).streams["labels"].loss_weights
    assert set(weights) == {"y", "h"}  # one section, whatever it is called
    streams = {"labels": {"observe": ["y"], "teach": {"y": 0}, "values": "left_out"}}
    changed = change_recipe(read_recipe(present), {"streams.labels": streams["labels"]}).streams["labels"]
    assert (changed.loss_weights, changed.values) == ({"y": 0}, "hidden")


def test_messages_cite_the_name_that_was_written(present: Path, former: Path) -> None:
    for path, key, section in ((present, "ema_decay", "loss_weights"), (former, "average", "teach")):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(f"{key}: 0", f"{key}: 7 # 0").replace(f"{section}: {{x: 0", f"{section}: {{x: -1"))
        weights, decay = line_of(path, f"{section}: {{x: -1"), line_of(path, f"{key}: 7")
        assert mistakes(path) == [
            f"{path.name}:{weights}: streams.labelled.{section}.x: must be at least 0, not -1",
            f"{path.name}:{decay}: training.{key}: must be less than 1, not 7",
        ]
        path.write_text(text, encoding="utf-8")
        assert mistakes(path, "training.average=7") == ["--set: training.average: must be less than 1, not 7"]
        assert mistakes(path, "training.ema_decay=7") == ["--set: training.ema_decay: must be less than 1, not 7"]
        assert mistakes(path, "streams.labels.teach.q=1")[0].startswith("--set: streams.labels.teach.q: no variable")


def test_both_names_of_a_key_are_a_mistake(former: Path) -> None:
    text = former.read_text(encoding="utf-8")
    former.write_text(text.replace("  average: 0.995", "  average: 0.995\n  ema_decay: 0.9"), encoding="utf-8")
    line = line_of(former, "average: 0.995")
    message = "average is the former name of ema_decay, which is given too; keep one"
    assert mistakes(former) == [f"old.yaml:{line}: training.average: {message}"]
    former.write_text(text, encoding="utf-8")
    found = mistakes(former, "training={steps: 3, average: 0.5, ema_decay: 0.5}")
    assert found == [f"--set: training.average: {message}"]
    with pytest.raises(ValidationError, match="average is given under its former and its present name"):
        Recipe.model_validate({"training": {"average": 0.5, "ema_decay": 0.5}})


def test_former_names_are_said_once_each_with_their_first_line(present: Path, former: Path) -> None:
    assert former_names(present) == []
    found = [line.replace(f"{former.parent}/", "") for line in former_names(former)]
    assert sorted(found) == sorted(
        f"old.yaml:{line_of(former, old)}: {old.removesuffix(':')} is now called {new.removesuffix(':')}"
        for new, old in NAMES
    )
    assert former_names(present, ["training.average=0.5"]) == ["--set: average is now called ema_decay"]


def test_the_command_line_notes_former_names_beside_its_report(present: Path, former: Path) -> None:
    shown = CliRunner().invoke(app, ["check", str(former), "--json"])
    assert shown.exit_code == 0 and json.loads(shown.stdout)["recipes"][0]["ok"]
    assert shown.stderr.count("note: ") == 3
    assert "teach is now called loss_weights; the former name still works" in shown.stderr
    assert not CliRunner().invoke(app, ["check", str(present)]).stderr
