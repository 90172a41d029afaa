"""A run: what is refused where its folder was damaged or changed, and posteriors given more than the image."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import semivae
from semivae.api import Run
from semivae.errors import DataError, RunError
from semivae.recipe import Recipe
from semivae.runs.folder import read_metrics

RECIPES = Path(__file__).parent.parent / "recipes"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("shape: [16]", "shape: [15]", "last.safetensors holds another model than recipe.yaml"),
        ("hidden: 128", "hiden: 128", r"its recipe.yaml was changed or damaged(?s:.*)unknown key; did you mean hidden"),
        ("name: conv", "name: deconv\n      blocks: 1", "its recipe.yaml was changed or damaged"),
    ],
)
def test_run_with_another_recipe_is_refused(tiny_run: Run, tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.path, folder)
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    assert old in text
    (folder / "recipe.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RunError, match=message):
        Run.load(folder)


def test_a_trained_run_has_the_recipe_that_it_is_opened_with(tiny_run: Run) -> None:
    opened = Run.load(tiny_run.path)
    assert opened.recipe == tiny_run.recipe
    assert opened.recipe.model_dump_json() == tiny_run.recipe.model_dump_json()


def test_code_may_be_called_like_what_every_module_has(tmp_path: Path) -> None:
    text = (RECIPES / "digits_50labels.yaml").read_text(encoding="utf-8")
    recipe = tmp_path / "renamed.yaml"
    recipe.write_text(re.sub(r"\bh\b", "values", text), encoding="utf-8")
    changes: dict[str, object] = {"training.steps": 2, "training.validate_every": 2}
    run = semivae.train(recipe, set=changes, out=tmp_path / "run", device="cpu")
    images = run.dataset().test["x"][:3]
    assert semivae.load(run.path).posterior("values", x=images, y=3).mean.shape == (3, 16)


def test_missing_twin_says_how_to_get_one(tiny_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.path, folder)
    (folder / "twin.safetensors").unlink()
    with pytest.raises(RunError, match="no supervised twin; train it along with --twin"):
        Run.load(folder, "twin")


def test_metrics_damaged_to_no_text_are_left_out(tiny_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.path, folder)
    rows = read_metrics(folder)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b"\x00\xff")  # a power failure may leave any bytes at the end
    assert rows and read_metrics(folder) == rows


def test_missing_selection_says_why(tiny_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.path, folder)
    (folder / "selected.safetensors").unlink()
    with pytest.raises(RunError, match=r"for want of validation examples \(split.validation\)"):
        Run.load(folder, "selected")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ((12, 4), ["cat", "dog"] * 6, "was made for arrays:mine.npz .* Use the data that it was made for"),
        ((12, 4), ["cat", "cow", "dog"] * 4, "the classes were cat, dog and are cat, cow, dog"),
        ((12, 5), ["cat", "dog"] * 6, r"one x was \[4\] and is \[5\]"),
    ],
)
def test_data_that_have_changed_are_refused(tmp_path: Path, x: tuple[int, int], y: list[str], message: str) -> None:
    path, numbers = tmp_path / "mine.npz", np.random.default_rng(0)
    recipe = {
        "source": {"name": "arrays", "path": str(path)},
        "split": {"labelled": 4},
        "variables": {"x": {"family": "gaussian"}, "y": {"family": "categorical"}},
        "decoder": {"y": "uniform", "x": {"given": ["y"], "net": {"name": "mlp", "hidden": [4]}}},
        "encoder": {"y": {"given": ["x"], "net": {"name": "mlp", "hidden": [4]}}},
        "streams": {"pairs": {"observe": ["x", "y"], "batch": 4}},
        "training": {"steps": 1},
    }
    np.savez(path, x=numbers.normal(size=(12, 4)), y=np.array(["cat", "dog"] * 6))
    run = semivae.train(Recipe.model_validate(recipe), out=tmp_path / "run", device="cpu")
    assert run.evaluate()["count"] == 2
    np.savez(path, x=numbers.normal(size=x), y=np.array(y))
    with pytest.raises(DataError, match=message):
        semivae.load(run.path).evaluate()


def test_posterior_of_a_code_takes_labels_as_sample_does(tiny_run: Run) -> None:
    images = tiny_run.dataset().test["x"][:4]
    threes = tiny_run.posterior("h", x=images, y=3).mean
    assert threes.shape == (4, 16)
    torch.testing.assert_close(tiny_run.posterior("h", x=images, y=torch.full((4,), 3)).mean, threes)
    torch.testing.assert_close(tiny_run.posterior("h", x=images, y=["3", "3", "3", "3"]).mean, threes)
    assert not torch.equal(tiny_run.posterior("h", x=images, y=8).mean, threes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": 11}, "y: class 11 is unknown"),
        ({"y": [0, 1, 2]}, "y: 3 classes do not divide 4 samples"),
        ({"y": [0.5] * 4}, "y: class 0.5 is unknown"),
        ({"label": 3}, "label: unknown variable; this run has x, y, h"),
    ],
)
def test_posterior_refuses_values_that_do_not_fit(tiny_run: Run, given: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        tiny_run.posterior("h", x=tiny_run.dataset().test["x"][:4], **given)
