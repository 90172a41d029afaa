"""An encoder that starts from an image and a row of numbers: trained, validated, evaluated and asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import semivae
from semivae.data.dataset import Dataset, class_label
from semivae.errors import DataError, RecipeError, RunError
from semivae.game.distributions import categorical_of
from semivae.recipe import read_recipe
from semivae.recipe.schema import Recipe
from semivae.runs.folder import read_metrics
from semivae.scenario.plan import plan_of, roles_of

RECIPE: dict[str, Any] = {
    "about": "An image and two numbers; only both together tell the class.",
    "source": {"name": "digits"},
    "split": {"labelled": 60, "validation": 40},
    "variables": {
        "x": {"family": "bernoulli"},
        "r": {"family": "gaussian"},
        "y": {"family": "categorical"},
        "h": {"family": "bernoulli", "shape": [4]},
    },
    "decoder": {
        "y": "uniform",
        "h": "uniform",
        "x": {"given": ["y", "h"], "net": {"name": "mlp", "hidden": [16]}},
        "r": {"given": ["y", "h"], "net": {"name": "mlp", "hidden": [16]}},
    },
    "encoder": {
        "y": {"given": ["x", "r"], "net": {"name": "mlp", "hidden": [32]}},
        "h": {"given": ["x", "r", "y"], "net": {"name": "mlp", "hidden": [16]}},
    },
    "streams": {
        "labelled": {"observe": ["x", "r", "y"], "batch": 32},
        "unlabelled": {"observe": ["x", "r"], "batch": 32},
        "labels": {"observe": ["y"], "batch": 16},
    },
    "training": {"steps": 60, "validate_every": 30, "learning_rate": 0.02, "twin": True},
}


def examples(count: int, seed: int) -> dict[str, torch.Tensor]:
    """Class 2 a + b: a is whether the image is bright, b whether the numbers are positive."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    x = torch.randint(0, 100, (count, 1, 8, 8), generator=generator) + (labels // 2).view(-1, 1, 1, 1) * 120
    r = torch.randn(count, 2, generator=generator) * 0.3 + ((labels % 2) * 2.0 - 1.0)[:, None]
    return {"x": x.to(torch.uint8), "r": r, "y": labels}


def dataset() -> Dataset:
    train, test, more = examples(400, 0), examples(80, 1), examples(80, 2)
    return Dataset("both", class_label(("00", "01", "10", "11")), train, test, {"x": more["x"], "r": more["r"]})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> semivae.Run:
    folder = tmp_path_factory.mktemp("several") / "run"
    return semivae.train(Recipe.model_validate(RECIPE), out=folder, device="cpu", dataset=dataset())


def test_roles_name_all_inputs_the_primary_one_first(run: semivae.Run) -> None:
    assert (run.roles.inputs, run.image, run.codes) == (("x", "r"), "x", ("h",))
    assert (run.roles.image_label, run.roles.predicted_label) == (None, "y")
    one = roles_of(read_recipe("digits_50labels"))
    assert (one.inputs, one.image_label, one.predicted_label) == (("x",), "y", "y")


def test_both_inputs_tell_the_class_that_neither_tells_alone(run: semivae.Run) -> None:
    report = run.evaluate(calibrate=False)
    assert report["last"]["error"] < 0.1 and report["twin"]["error"] < 0.3, "chance is 0.75, one input alone 0.5"
    assert [row["validation_error"] for row in read_metrics(run.path) if row["phase"] == "model"][-1] < 0.1


def test_examples_are_given_by_name(run: semivae.Run) -> None:
    held = examples(12, 3)
    given: dict[str, Any] = {"x": held["x"], "r": held["r"].numpy()}
    labels = run.predict(given)
    assert (labels == held["y"].numpy()).mean() > 0.8
    probabilities = run.classifier().probabilities(given)
    asked = categorical_of(run.posterior("y", x=held["x"], r=held["r"])).probs
    torch.testing.assert_close(probabilities, asked)
    assert run.posterior("h", x=held["x"], r=held["r"], y=2).mean.shape == (12, 4)
    assert run.embed(given).shape == (12, 32)
    assert np.isfinite(run.sample(3, y=1)["r"].numpy()).all()
    changed = {**given, "r": -held["r"]}
    assert (run.predict(changed) != labels).mean() > 0.8, "the row counts"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (examples(4, 0)["x"], r"starts from x and r; give \{'x': ..., 'r': ...\}"),
        ({"x": examples(4, 0)["x"]}, r"starts from x and r; give"),
        ({"x": examples(4, 0)["x"], "r": torch.zeros(3, 2)}, "x has 4, r has 3"),
        ({"x": examples(4, 0)["x"], "r": torch.zeros(4, 5)}, r"\[4, 5\]"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_refused(run: semivae.Run, given: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run.predict(given)  # type: ignore[call-overload]


def test_what_takes_one_input_alone_says_so(run: semivae.Run, tmp_path: Path) -> None:
    for call in (lambda: run.export(tmp_path / "encoder.safetensors"), lambda: run.novelty(examples(4, 0)["x"])):
        with pytest.raises(RunError, match="takes x alone, but this run starts from x and r; predict"):
            call()
    with pytest.raises(RunError, match="posterior of y: give r="):
        run.posterior("y", x=examples(4, 0)["x"])


def test_recipes_whose_inputs_no_stream_shows_are_refused() -> None:
    lost = {**RECIPE, "streams": {**RECIPE["streams"], "labelled": {"observe": ["x", "y"], "batch": 32}}}
    lost["streams"]["unlabelled"] = {"observe": ["x"], "batch": 32}
    with pytest.raises(RecipeError, match="it must start from observed variables, found r"):
        plan_of(Recipe.model_validate(lost))
    voting = {**RECIPE, "streams": {**RECIPE["streams"]}}
    voting["streams"]["unlabelled"] = {"observe": ["x", "r"], "batch": 32, "vote": {"strength": 1.0}}
    with pytest.raises(RecipeError, match="vote"):
        plan_of(Recipe.model_validate(voting))


def test_unlabelled_examples_have_all_inputs() -> None:
    data = dataset()
    with pytest.raises(DataError, match="both: the unlabelled examples have no r; add it"):
        Dataset("both", data.labels, data.train, data.test, {"x": data.unlabelled["x"]})
