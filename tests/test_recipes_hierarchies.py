"""The recipes with several levels of codes and no labels: both encoder orders, both objectives, on small images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import semivae
from semivae.recipe import change_recipe, read_recipe
from semivae.runs.folder import read_metrics
from semivae.scenario.build import build_players
from semivae.scenario.plan import plan_of

ORDERS = {
    "mnist_ladder": ("z0", "z1"),
    "mnist_reverse": ("z1", "z0"),
    "fashion_mnist_ladder": ("z0", "z1"),
}
SMALL = {
    "split.validation": 0,
    "training.steps": 2,
    "training.validate_every": 1,
    "streams.images.batch": 4,
    "streams.prior.batch": 4,
    "decoder.x.net.width": 4,
}
NARROW = {
    "mnist_ladder": {"bottom_up.width": 4},
    "mnist_reverse": {"encoder.z1.net.width": 4},
    "fashion_mnist_ladder": {"bottom_up.width": 4},
}


@pytest.mark.parametrize("name", ORDERS)
def test_plans_of_the_unsupervised_recipes(name: str) -> None:
    rows = {(lesson.stream, lesson.learner): lesson for lesson in plan_of(read_recipe(name)).lessons}
    assert set(rows) == {("images", "decoder"), ("prior", "encoder")}
    assert rows["images", "decoder"].draws == rows["prior", "encoder"].scores == ORDERS[name]


@pytest.mark.parametrize("name", ORDERS)
def test_what_the_untrained_decoder_paints_depends_on_its_codes(name: str) -> None:
    decoder, _ = build_players(change_recipe(read_recipe(name), {**NARROW[name], "decoder.x.net.width": 8}))
    with torch.no_grad():
        painted = decoder["x"].parameters_of(decoder.complete({}, 64))
    # behind relu 0.3: what all codes share hides what they differ in, and the encoder learns to read them slowly
    assert painted.var(dim=0).mean() / painted.square().mean() > 0.8


@pytest.mark.parametrize("name", ORDERS)
def test_two_steps_on_images_of_the_recipes_shape(name: str, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (36, 28, 28), dtype=np.uint8)
    labels = np.arange(36) % 3
    np.savez(tmp_path / "noise.npz", x=images[6:], y=labels[6:], x_test=images[:6], y_test=labels[:6])
    source = {"name": "arrays", "path": str(tmp_path / "noise.npz")}
    run = semivae.train(name, set={**SMALL, **NARROW[name], "source": source}, out=tmp_path / "run")
    assert run.finished
    assert run.sample(3)["x"].shape == (3, 1, 28, 28)
    last = read_metrics(run.path)[-1]
    assert set(last["bits"]) == {"z0", "z1"}
    assert set(last["losses"]) >= {"decoder.images.z1", "decoder.images.x", "encoder.prior.z0", "encoder.prior.z1"}
