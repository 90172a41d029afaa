"""A class and attributes of the same images, any of them seen or not: learnt, sampled and imputed given each other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import semivae
from semivae.api import Run
from semivae.cli.showing import result_tables
from semivae.data.dataset import Dataset, LabelInfo
from semivae.errors import RunError
from semivae.generative.imputation import impute
from semivae.recipe import change_recipe
from semivae.recipe.schema import Recipe
from semivae.variables import VOID

NET = {"name": "mlp", "hidden": [32]}
RECIPE: dict[str, Any] = {
    "source": {"name": "digits"},
    "split": {"labelled": 60, "also_labelled": {"a": 60}, "validation": 60},
    "variables": {
        "x": {"family": "bernoulli", "complete_with": "mean"},
        "y": {"family": "categorical"},
        "a": {"family": "bernoulli"},
        "h": {"family": "bernoulli", "shape": [2]},
    },
    "decoder": {
        "y": "uniform", "a": {"given": ["y"], "net": NET}, "h": "uniform", "x": {"given": ["y", "a", "h"], "net": NET},
    },
    "encoder": {
        "y": {"given": ["x"], "net": NET}, "a": {"given": ["x"], "net": NET},
        "h": {"given": ["x", "y", "a"], "net": NET},
    },
    "streams": {
        "both": {"observe": ["x", "y", "a"], "batch": 32},
        "attributes": {"observe": ["x", "a"], "batch": 32},
        "unlabelled": {"observe": ["x"], "batch": 32},
        "classes": {"observe": ["y"], "batch": 32},
    },
    "training": {"steps": 75, "learning_rate": 1e-2, "validate_every": 75},
}  # fmt: skip


def shapes(count: int = 400) -> Dataset:
    """Bars that lie (class 0) or stand (class 1), bright or not, thick or not; a fifth of the entries is unknown."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(2, (count,), generator=generator)
    bright, thick = torch.randint(2, (2, count), generator=generator)
    x = torch.zeros(count, 1, 6, 6)
    for row in range(count):
        width, level = 2 + 2 * int(thick[row]), 0.4 + 0.6 * float(bright[row])
        x[row, 0, 1 : 1 + width] = level
        x[row, 0] = x[row, 0].T.clone() if y[row] else x[row, 0]
    a = torch.stack([bright, thick], dim=1).to(torch.int8)
    a[torch.rand(a.shape, generator=generator) < 0.2] = VOID
    labels = {"y": LabelInfo("classes", ("lies", "stands")), "a": LabelInfo("attributes", ("bright", "thick"))}
    arrays = {"x": (x * 255).to(torch.uint8), "y": y, "a": a}
    return Dataset("bars", labels, arrays, {name: values[:100] for name, values in arrays.items()})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("beside") / "run"
    return semivae.train(Recipe.model_validate(RECIPE), out=out, dataset=shapes(), progress=False)


def test_both_labels_are_learnt(trained: Run) -> None:
    """The true attributes of test images, of which the encoder has seen 60 to 120 with gaps; few seeds fail."""
    test = shapes().test
    assert trained.evaluate()["last"]["error"] < 0.05
    posterior = trained.posterior("a", x=test["x"].float() / 255)
    known = test["a"] != VOID
    assert ((posterior.mean.cpu() > 0.5) == (test["a"] == 1))[known].float().mean() > 0.95


def test_every_label_is_measured(trained: Run) -> None:
    report = trained.evaluate()
    further, test = report["further_labels"]["a"], shapes().test
    assert further["kind"] == "attributes" and further["count"] == int((test["a"] != VOID).any(dim=1).sum()) < 100
    assert further["twin"] is None and further["selected"] is not None
    scores = further["last"]
    posterior = trained.posterior("a", x=test["x"].float() / 255).mean.cpu()
    for place, name in enumerate(("bright", "thick")):
        known, true = test["a"][:, place] != VOID, test["a"][:, place] == 1
        found = scores["per_attribute"][name]
        assert found["known"] == known.sum() and found["positives"] == (known & true).sum()
        chosen = posterior[:, place] >= found["threshold"]
        right = (chosen & true & known).sum()
        assert found["f1"] == pytest.approx(float(2 * right / ((chosen & known).sum() + (true & known).sum())))
    assert scores["thresholds_chosen_on"] > 0
    tables = result_tables(report)
    assert "a:" in tables and "a" in trained.evaluate(split="validation")["further_labels"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_label_inferred_from_another_is_measured_on_its_most_likely_values(tmp_path: Path) -> None:
    streams = {name: stream for name, stream in RECIPE["streams"].items() if name != "attributes"}
    changes = {"encoder.a.given": ["x", "y"], "training.steps": 2, "training.validate_every": 2, "streams": streams}
    run = semivae.train(
        change_recipe(Recipe.model_validate(RECIPE), changes), out=tmp_path / "run", dataset=shapes(), progress=False
    )
    test = shapes().test
    likely = torch.from_numpy(run.predict(test["x"]))
    posterior = run.posterior("a", x=test["x"].float() / 255, y=likely).mean.cpu()
    known, true = test["a"] != VOID, (test["a"] == 1).float()
    error = -(true * posterior.log() + (1 - true) * (1 - posterior).log())[known].mean()
    assert run.evaluate()["further_labels"]["a"]["last"]["nll"] == pytest.approx(float(error), rel=1e-4)


def test_each_stream_shows_who_knows_its_labels(trained: Run) -> None:
    split, data = trained.split(), shapes()
    also = split.also_labelled["a"]
    assert len(also) == 60 and (data.train["a"][also] != VOID).any(dim=1).all()
    assert not torch.isin(also, split.labelled).any()


def test_samples_are_drawn_given_any_of_the_labels(trained: Run) -> None:
    """The decoder's bars are as asked for; what is not asked for is drawn, and differs."""
    drawn = trained.sample(64, y="stands", a="bright,!thick", seed=0)
    assert (drawn["y"] == 1).all() and (drawn["a"] == torch.tensor([1.0, 0.0])).all()
    dim = trained.sample(64, y="stands", a="!bright,!thick", seed=0)
    assert drawn["x"].mean() > 1.3 * dim["x"].mean()
    thick = trained.sample(64, y="stands", a="bright,thick", seed=0)
    assert thick["x"].mean() > 1.3 * drawn["x"].mean()
    partly = trained.sample(200, y="lies", a="bright,?", seed=0)["a"]
    assert (partly[:, 0] == 1).all() and 0.2 < partly[:, 1].mean() < 0.8
    free = trained.sample(200, seed=0)
    assert 0.2 < free["a"].mean() < 0.8 and 0.3 < free["y"].float().mean() < 0.7
    with pytest.raises(RunError, match="attribute 'wide' is unknown; the attributes are bright, thick"):
        trained.sample(1, a="wide")


def test_a_label_is_imputed_given_the_other(trained: Run) -> None:
    """Of an image nothing is known; given a class alone its attributes vary, given attributes they stay."""
    images = torch.zeros(1, 1, 6, 6)
    missing = torch.ones_like(images, dtype=torch.bool)
    found = impute(trained, images, missing, given={"y": "stands", "a": "bright,?"}, draws=40, rounds=3, seed=0)
    assert found.labels is not None and (found.labels == 1).all()
    bright = found.draws.mean()
    dim = impute(trained, images, missing, given={"y": "stands", "a": "!bright,?"}, draws=40, rounds=3, seed=0)
    assert bright > 1.3 * dim.draws.mean()


def test_a_run_keeps_the_names_of_further_labels(trained: Run) -> None:
    assert semivae.load(trained.path).facts.further == {"a": ["bright", "thick"]}
    assert replace(shapes(), labels=shapes().labels).labels["a"].classes == ("bright", "thick")
