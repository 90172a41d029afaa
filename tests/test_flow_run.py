"""Flows in whole runs: as decoder of the image and as learnt prior of a code, through the tools that draw and score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.errors import RecipeError
from semivae.game.flow import FlowConditional
from semivae.game.graphs import PlayerName
from semivae.game.losses import Losses
from semivae.generative.chain import run_chains
from semivae.generative.imputation import impute
from semivae.generative.likelihood import likelihood
from semivae.generative.novelty import novelty
from semivae.recipe import read_recipe
from semivae.scenario.shapes import net_mistakes
from semivae.training.optimizer import Optimizers

TEXT = """
source: {name: digits}
split: {labelled: 50, balance: balanced, seed: 0, validation: 100}
variables:
  x: {family: discretized_logistic, shape: [1, 8, 8]}
  y: {family: categorical, classes: 10}
  h: {family: gaussian, shape: [4]}
decoder:
  y: uniform
  h: {given: [], net: {name: mlp, hidden: [16]}, flow: {steps: 2, levels: 4}}
  x: {given: [y, h], net: {name: unet, channels: [8]}, flow: {steps: 3, guidance: 2, guides: [y], levels: 4}}
encoder:
  y: {given: [x], net: {name: mlp, hidden: [16]}}
  h: {given: [x, y], net: {name: mlp, hidden: [16]}}
views:
  weak: {shift: 0.07}
streams:
  labelled: {observe: [x, y], batch: 8}
  unlabelled: {observe: [x], batch: 8, views: {weak: weak, strong: weak}, vote: {strength: 0.05}}
  labels: {observe: [y], batch: 8, values: uniform}
training: {steps: 6, validate_every: 3, checkpoint_every: 3}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "flow.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def run(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return semivae.train(recipe, out=tmp_path_factory.mktemp("runs") / "flow", device="cpu")


def test_every_tool_takes_flows(run: Run, tmp_path: Path) -> None:
    assert isinstance(run.decoder["x"], FlowConditional) and isinstance(run.decoder["h"], FlowConditional)
    drawn = run.sample(6, y=3, seed=0)
    assert drawn["x"].shape == (6, 1, 8, 8) and drawn["h"].shape == (6, 4)
    assert drawn["x"].min() >= 0 and drawn["x"].max() <= 1
    noisy = run.sample(6, y=3, seed=0, noise=True)["x"]
    assert torch.allclose(noisy * 255, (noisy * 255).round(), atol=1e-3), "with noise, pixels are levels of 8 bits"
    images = run.dataset().test["x"][:4]
    found = likelihood(run, images, 2, seed=0)
    assert all(math.isfinite(found[key]) for key in ("bound", "elbo", "reconstruction"))
    filled = impute(run, images.float() / 255, torch.arange(8).expand(4, 1, 8, 8) < 4, draws=2, rounds=2)
    assert filled.draws.shape == (4, 2, 1, 8, 8)
    assert torch.equal(filled.draws[:, 0, :, :, 4:], images[:, :, :, 4:].float() / 255)
    assert [state.number for state in run_chains(run, "model", 3, (0, 1), seed=0)] == [0, 1]
    assert run.evaluate()["last"] is not None
    assert len(novelty(run, images, draws=1, count=40).scores.decoder) == 4
    for command in (["diagnose"], ["report", "--out", str(tmp_path / "report.html")]):
        done = CliRunner().invoke(app, [command[0], str(run.path), *command[1:]])
        assert done.exit_code == 0, done.output


def test_draws_repeat_with_their_seed(run: Run) -> None:
    one, two, other = (run.sample(3, y=1, seed=seed)["x"] for seed in (4, 4, 5))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_a_killed_training_goes_on_bit_for_bit(
    recipe: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step = Optimizers.step

    def killed(self: Optimizers, learners: Sequence[PlayerName], losses: Losses, at: int) -> None:
        if at == 4:
            raise ConnectionAbortedError("pulled the plug")
        take_step(self, learners, losses, at)

    with monkeypatch.context() as patch:
        patch.setattr(Optimizers, "step", killed)
        with pytest.raises(ConnectionAbortedError):
            semivae.train(recipe, out=tmp_path / "run", device="cpu")
    resumed = semivae.train(recipe, out=tmp_path / "run", resume=True, device="cpu")
    ours, theirs = (load_file(path / "last.safetensors") for path in (run.path, resumed.path))
    assert set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"encoder.h.flow": {}}, "encoder.h.flow: only the decoder's factors can be flows"),
        ({"decoder.y": {"given": [], "flow": {}, "net": {"name": "mlp"}}}, "decoder.y.flow: y is a single class"),
        ({"decoder.x.flow.guides": ["z"]}, "decoder.x.flow.guides[0]: z is not given to this factor"),
        ({"decoder.h.flow.guidance": 2}, "decoder.h.flow: guidance needs variables that lead"),
        ({"decoder.x.flow.steps": 0}, "decoder.x.flow.steps: must be at least 1, not 0"),
        ({"decoder.h.flow": None}, "decoder.h: given needs at least 1 entry"),
        ({"training.objective": "elbo"}, "training.objective: the lower bound takes no flow"),
        ({"decoder.h.net": {"name": "unet"}}, "decoder.h.net: net unet reads an image"),
    ],
)
def test_recipes_of_flows_that_cannot_be(recipe: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        raise RecipeError(*net_mistakes(read_recipe(recipe, change)))
    assert message in str(error.value)
