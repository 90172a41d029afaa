"""What training measures of its game: exact on cases that can be worked out, and without a trace in what is learnt."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from semivae.api import Run, train
from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.players import Player
from semivae.monitoring.context import context_of
from semivae.monitoring.measures import (
    batch_size_for,
    capacity,
    draw_samples,
    eval_mode,
    measure_label,
    measure_samples,
)
from semivae.recipe import read_recipe
from semivae.runs.folder import read_metrics
from semivae.scenario.plan import Roles, plan_of
from semivae.tasks.kinds import CLASSES
from semivae.variables import VOID, Variable

IMAGE = Variable("x", "bernoulli", (1, 1, 3))
LABEL = Variable("y", "categorical", (), 3)
PAIR = Variable("y", "categorical", (1, 2), 2)
CODE = Variable("h", "bernoulli", (2,))

ROLES = Roles("x", {"y": CLASSES}, ("h",), "y")


class Fixed(nn.Module):
    """A network that is a given function of its inputs."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        return self.function(images, vectors)


def by_pixels(target: Variable, function: Callable[..., Tensor]) -> Player:
    return Player([NetworkConditional(target, (IMAGE,), Fixed(function))])


def test_label_is_measured_exactly() -> None:
    encoder = by_pixels(LABEL, lambda images, _: torch.log((images.flatten(1) + 1.0) / 2.0))  # pixels are probabilities
    images = torch.tensor([[0.97, 0.02, 0.01], [0.96, 0.03, 0.01], [0.2, 0.5, 0.3], [0.4, 0.3, 0.3]]).view(4, 1, 1, 3)
    labels = torch.tensor([0, 1, 1, 2])
    for batch in (4, 3, 1):
        found = measure_label(encoder, ROLES, {"x": images, "y": labels}, 0.95, batch)
        assert (found.validation_error, found.confident, found.confident_error) == (0.5, 0.5, 0.5)
        assert found.class_shares == pytest.approx((2.53 / 4, 0.85 / 4, 0.62 / 4))
        assert found.predicted_shares == (0.75, 0.25, 0.0)


def test_images_without_labels_still_show_class_shares() -> None:
    encoder = by_pixels(LABEL, lambda images, _: torch.log((images.flatten(1) + 1.0) / 2.0))
    found = measure_label(encoder, ROLES, {"x": torch.tensor([[0.5, 0.3, 0.2]]).view(1, 1, 1, 3)}, 0.4)
    assert (found.validation_error, found.confident, found.confident_error) == (None, 1.0, None)
    assert found.class_shares == pytest.approx((0.5, 0.3, 0.2))
    nothing = measure_label(encoder, ROLES, {"x": torch.zeros(0, 1, 1, 3), "y": torch.zeros(0).long()}, 0.4)
    assert nothing.validation_error is None and nothing.class_shares == ()


def test_bytes_are_read_as_training_reads_them() -> None:
    encoder = by_pixels(LABEL, lambda images, _: 100.0 * images.flatten(1))
    part = {"x": torch.tensor([[0, 255, 0]], dtype=torch.uint8).view(1, 1, 1, 3), "y": torch.tensor([1])}
    assert measure_label(encoder, ROLES, part, None).validation_error == 0.0


def test_void_places_of_a_map_do_not_count() -> None:
    encoder = by_pixels(PAIR, lambda images, _: torch.stack([images[:, 0, :, :2], -images[:, 0, :, :2]], dim=1))
    images = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]).view(2, 1, 1, 3)  # classes 0 0, and 1 0
    labels = torch.tensor([[[0, VOID]], [[0, 0]]], dtype=torch.int16)
    found = measure_label(encoder, ROLES, {"x": images, "y": labels}, 0.5)
    assert found.validation_error == pytest.approx(1 / 3)
    assert found.predicted_shares == pytest.approx((2 / 3, 1 / 3))


def test_large_images_are_measured_few_at_a_time() -> None:
    assert [batch_size_for(shape) for shape in ((3, 32, 32), (3, 64, 64), (3, 128, 128), (3, 1024, 1024), (30,))] == [
        512, 128, 32, 8, 512,
    ]  # fmt: skip
    sizes: list[int] = []

    def seen(images: Tensor, _: object) -> Tensor:
        sizes.append(len(images))
        return torch.zeros(len(images), 3)

    large = Player([NetworkConditional(LABEL, (Variable("x", "gaussian", (1, 128, 128)),), Fixed(seen))])
    measure_label(large, ROLES, {"x": torch.zeros(70, 1, 128, 128)}, None)
    assert sizes == [32, 32, 6]


def perfect_players(reads: float, side: int = 2) -> tuple[Player, Player]:
    """A decoder that writes label and code into two pixels, and an encoder that reads them: the label by its sign."""
    code = Variable("h", "bernoulli", (1,))
    label = Variable("y", "categorical", (), 2)
    image = Variable("x", "bernoulli", (1, side, side))

    def paint(_: Tensor | None, vectors: Tensor | None) -> Tensor:
        assert vectors is not None  # one-hot label, then the code as -1/+1
        pixels = 50.0 * torch.stack([vectors[:, 1] - vectors[:, 0], vectors[:, 2]], dim=1)
        return nn.functional.pad(pixels.view(-1, 1, 1, 2), (0, side - 2, 0, side - 1))

    def read(images: Tensor | None, _: Tensor | None) -> Tensor:
        assert images is not None
        return torch.stack([-images[:, 0, 0, 0], images[:, 0, 0, 0]], dim=1) * reads

    decoder = Player([Prior(label), Prior(code), NetworkConditional(image, (label, code), Fixed(paint))])
    label_of = NetworkConditional(label, (image,), Fixed(read))
    code_of = NetworkConditional(code, (image,), Fixed(lambda images, _: 50.0 * images[:, 0, 0, 1:2]))
    return decoder, Player([label_of, code_of])


@pytest.mark.parametrize("side", [2, 128])  # all at once, and 32 at a time
@pytest.mark.parametrize(("reads", "share"), [(1.0, 1.0), (-1.0, 0.0)])
def test_samples_are_measured_exactly(reads: float, share: float, side: int) -> None:
    decoder, encoder = perfect_players(reads, side)
    sample = draw_samples(decoder, ROLES, 70, seed=0)
    assert sample["x"].shape == (70, 1, side, side) and sample["y"].shape == (70,)
    found = measure_samples(decoder, encoder, ROLES, sample)
    assert found.read_as_intended == share
    assert found.bits["h"] == pytest.approx(1.0, abs=1e-6)


def test_label_without_a_prior_is_drawn_from_known_values() -> None:
    decoder, encoder = perfect_players(1.0)
    without = Player([decoder["h"], decoder["x"]])
    sample = draw_samples(without, ROLES, 8, 0, {"y": torch.tensor([1], dtype=torch.int16)})
    assert sample["y"].tolist() == [1] * 8
    assert measure_samples(without, encoder, ROLES, sample).read_as_intended == 1.0
    nothing = measure_samples(without, encoder, ROLES, draw_samples(without, ROLES, 8, 0))
    assert nothing.read_as_intended is None and nothing.bits == {}


def test_nothing_is_dropped_out_while_measuring() -> None:
    net = nn.Sequential(nn.Dropout(0.5))
    network = Fixed(lambda images, _: net(images.flatten(1)))
    network.add_module("inner", net)
    player = Player([NetworkConditional(LABEL, (IMAGE,), network)])
    part = {"x": torch.rand(64, 1, 1, 3), "y": torch.zeros(64).long()}
    assert measure_label(player, ROLES, part, None) == measure_label(player, ROLES, part, None)
    assert net.training and player.training
    player.eval()
    with eval_mode(player):
        pass
    assert not net.training


def test_capacity_is_the_entropy_of_the_prior() -> None:
    assert capacity(Prior(CODE)) == pytest.approx(2.0)
    assert capacity(Prior(CODE, torch.tensor([0.0, 50.0]))) == pytest.approx(1.0)
    assert capacity(Prior(LABEL)) == pytest.approx(math.log2(3))
    assert capacity(Prior(Variable("g", "gaussian", (4,)))) == math.inf
    given = NetworkConditional(CODE, (LABEL,), Fixed(lambda _, vectors: vectors[:, :2]))
    assert capacity(given) == 2.0


def test_context_says_what_the_recipe_says(tiny_run: Run) -> None:
    part = {"x": torch.zeros(4, 1, 8, 8), "y": torch.tensor([0, 0, 1, 9])}
    recipe, roles, decoder = tiny_run.recipe, tiny_run.roles, tiny_run.decoder
    context = context_of(recipe, roles, plan_of(recipe), decoder, part, tiny_run.classes)
    assert (context.steps, context.last_start, context.label, context.has_labels) == (20, 0.0, "y", True)
    assert context.expected == (0.5, 0.25, *[0.0] * 7, 0.25)
    assert context.chance == pytest.approx(0.1)  # the decoder's prior, from which the samples are drawn
    assert [threshold.key for threshold in context.thresholds] == ["streams.unlabelled.views.threshold"]
    assert context.sample_streams == ()  # the recipe says loss_weights: {y: 0}
    assert not context.draws_image
    changes = {
        "streams.labels.loss_weights": {"y": {"weight": 0.2, "start": 0.5}},
        "variables.x.complete_with": "sample",
    }
    recipe = read_recipe("digits_50labels", changes)
    context = context_of(recipe, roles, plan_of(recipe), decoder, {"x": part["x"]}, tiny_run.classes)
    assert (context.last_start, context.sample_streams, context.draws_image) == (0.5, ("labels",), True)
    assert context.expected == pytest.approx([0.1] * 10)


SHORT = {"training.steps": 6, "training.twin": False, "training.checkpoint_every": 6, "encoder.y.net.hidden": 16}


def test_validating_more_often_changes_nothing_that_is_learnt(tmp_path: Path) -> None:
    often, seldom = (
        train("digits_50labels", set={**SHORT, "training.validate_every": every}, out=tmp_path / str(every)).path
        for every in (1, 100)
    )
    first, second = (load_file(folder / "last.safetensors") for folder in (often, seldom))
    games = [{name: value for name, value in of.items() if name.startswith("game.")} for of in (first, second)]
    assert games[0].keys() == games[1].keys()
    assert all(torch.equal(games[0][name], games[1][name]) for name in games[0])
    last, only = read_metrics(often)[-1], read_metrics(seldom)[-1]
    for name in ("validation_error", "bits", "read_as_intended", "class_shares"):
        assert last[name] == only[name]


def test_without_validation_images_unlabelled_ones_show_class_shares(tmp_path: Path) -> None:
    run = train("digits_50labels", set={**SHORT, "split.validation": 0}, out=tmp_path / "run")
    (row,) = read_metrics(run.path)
    assert row["validation_error"] is None and row["confident_error"] is None
    assert sum(row["class_shares"]) == pytest.approx(1.0)
    assert 0.0 <= row["read_as_intended"] <= 1.0
