"""The painter: it learns once the game is over, changes nothing of the game, and paints every picture of a run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.errors import RecipeError, RunError
from semivae.game.families import FAMILIES
from semivae.game.graphs import PlayerName
from semivae.game.losses import Losses
from semivae.game.painter import Painting
from semivae.generative.chain import run_chains
from semivae.generative.features import FeatureSpace, quality
from semivae.generative.imputation import impute
from semivae.recipe import read_recipe
from semivae.runs.folder import read_metrics
from semivae.scenario.build import build_painter, build_scenario
from semivae.scenario.painting import painting_scenario, recipe_of_painter
from semivae.scenario.plan import painter_plan, plan_of
from semivae.scenario.shapes import net_mistakes
from semivae.training.optimizer import Optimizers
from semivae.variables import TIME_FEATURES

GAME = """
source: {name: digits}
split: {labelled: 50, balance: balanced, seed: 0, validation: 100}
variables:
  x: {family: bernoulli, shape: [1, 8, 8], complete_with: mean}
  y: {family: categorical, classes: 10}
  h: {family: bernoulli, shape: [4]}
decoder:
  y: uniform
  h: uniform
  x: {given: [y, h], net: {name: mlp, hidden: [16]}}
encoder:
  y: {given: [x], net: {name: mlp, hidden: [16]}}
  h: {given: [x, y], net: {name: mlp, hidden: [16]}}
streams:
  labelled: {observe: [x, y], batch: 8, loss_weights: {x: 0}}
  unlabelled: {observe: [x], batch: 8}
  labels: {observe: [y], batch: 8, values: uniform}
training: {steps: 4, validate_every: 2, checkpoint_every: 2, twin: true}
"""
PAINTER = """
painter: {net: {name: unet, channels: [8]}, flow: {steps: 2, guidance: 2, guides: [y]}, steps: 6, batch: 4}
"""


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "game.yaml").write_text(GAME)
    (folder / "painted.yaml").write_text(GAME + PAINTER)
    return folder / "game.yaml", folder / "painted.yaml"


@pytest.fixture(scope="module")
def plain(recipes: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return semivae.train(recipes[0], out=tmp_path_factory.mktemp("runs") / "plain", device="cpu")


@pytest.fixture(scope="module")
def painted(recipes: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return semivae.train(recipes[1], out=tmp_path_factory.mktemp("runs") / "painted", device="cpu")


def test_the_game_is_the_same_with_a_painter(plain: Run, painted: Run) -> None:
    for file in ("last.safetensors", "twin.safetensors"):
        ours, theirs = load_file(painted.path / file), load_file(plain.path / file)
        assert set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)
    rows = read_metrics(painted.path)
    assert [(row["phase"], row["step"]) for row in rows][-3:] == [("painter", 2), ("painter", 4), ("painter", 6)]
    assert rows[-1]["read_as_intended"] is not None and "decoder.unlabelled.x" in rows[-1]["losses"]


def test_a_painter_learns_where_the_decoder_learns_the_image(recipes: tuple[Path, Path]) -> None:
    recipe = read_recipe(recipes[1])
    (lesson,) = painter_plan(recipe).lessons
    assert (lesson.stream, lesson.learner, lesson.draws, lesson.scores) == ("unlabelled", "decoder", ("y", "h"), ("x",))
    assert lesson in plan_of(recipe).lessons


def test_pictures_are_the_painters_and_scores_the_decoders(plain: Run, painted: Run) -> None:
    assert plain.painter is None and painted.painter is not None
    ours, theirs = painted.sample(8, y=3, seed=0), plain.sample(8, y=3, seed=0)
    assert torch.equal(ours["h"], theirs["h"]), "codes are drawn by the same decoder"
    assert not torch.allclose(ours["x"], theirs["x"])
    noisy = painted.sample(8, y=3, seed=0, noise=True)["x"] * 255
    assert torch.allclose(noisy, noisy.round(), atol=1e-3), "grey pixels are painted as levels of 8 bits"
    images = painted.dataset().test["x"][:4].float() / 255
    sample = {"x": images, "y": torch.tensor([0, 1, 2, 3]), "h": torch.zeros(4, 4)}
    assert torch.equal(painted.decoder.log_prob(sample, ["x"])["x"], plain.decoder.log_prob(sample, ["x"])["x"])
    assert painted.at("selected").painter is None and painted.at("twin").painter is None


def test_every_tool_shows_what_is_painted(painted: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert painted.painter is not None
    grey = torch.full((1000, 1, 8, 8), 0.25)
    monkeypatch.setattr(painted.painter, "picture", lambda sample, around: grey[: len(sample["h"])])
    assert (painted.sample(2, y=3)["x"] == 0.25).all()
    images = painted.dataset().test["x"][:2].float() / 255
    missing = torch.zeros_like(images, dtype=torch.bool)
    missing[..., :4] = True
    filled = impute(painted, images, missing, draws=2, rounds=1).draws
    assert (filled[..., :4] == 0.25).all() and torch.equal(filled[:, 0, ..., 4:], images[..., 4:])
    states = list(run_chains(painted, "model", 3, (0, 1), seed=0))
    assert all((state.images == 0.25).all() for state in states)
    found = quality(painted, FeatureSpace.of(painted, painted), 20, seed=0)
    assert found["random_code"]["frechet"] > 0
    monkeypatch.undo()
    for command in (["diagnose"], ["report", "--out", str(tmp_path / "report.html")], ["evaluate"]):
        done = CliRunner().invoke(app, [command[0], str(painted.path), *command[1:]])
        assert done.exit_code == 0, done.output


def test_of_several_pictures_the_one_is_kept_that_shows_its_label_best(
    painted: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert painted.painter is not None and painted.recipe.painter is not None
    choosing = painted.recipe.painter.model_copy(update={"choose": 3})
    monkeypatch.setattr(painted, "recipe", painted.recipe.model_copy(update={"painter": choosing}))
    labels = torch.tensor([3, 7] * 20)
    drawn = [torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    handed = iter(drawn)
    monkeypatch.setattr(painted.painter, "picture", lambda sample, around: next(handed))
    chosen = painted.picture({"y": labels, "h": torch.zeros(40, 4)})
    sure = torch.stack([painted.encoder["y"]({"x": each}).log_prob(labels) for each in drawn])
    places = sure.argmax(dim=0)
    assert len(places.unique()) == 3
    assert torch.equal(chosen, torch.stack(drawn)[places, torch.arange(40)])
    handed = iter(drawn)
    assert torch.equal(painted.picture({"h": torch.zeros(40, 4)}), drawn[0]), "without a label there is nothing to show"


@pytest.mark.parametrize("step", [1, 3])
def test_a_killed_painter_goes_on_bit_for_bit(
    recipes: tuple[Path, Path], painted: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    take_step = Optimizers.step

    def killed(self: Optimizers, learners: Sequence[PlayerName], losses: Losses, at: int) -> None:
        if at == step and len(self.of["encoder"].parameters) == 0:
            raise ConnectionAbortedError("pulled the plug")
        take_step(self, learners, losses, at)

    with monkeypatch.context() as patch:
        patch.setattr(Optimizers, "step", killed)
        with pytest.raises(ConnectionAbortedError):
            semivae.train(recipes[1], out=tmp_path / "run", device="cpu")
    assert semivae.load(tmp_path / "run", device="cpu").painter is None, "a painter that has not learnt to its end"
    semivae.train(recipes[1], out=tmp_path / "run", resume=True, device="cpu")
    ours, theirs = (load_file(path / "painter.safetensors") for path in (painted.path, tmp_path / "run"))
    assert set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(not torch.equal(ours[f"game.painter_average.module.{name}"], ours[f"game.decoder.conditionals.x.{name}"])
               for name in ("net.head.weight",))  # fmt: skip


def test_a_finished_run_gets_a_painter_and_keeps_it(
    recipes: tuple[Path, Path], plain: Run, painted: Run, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(plain.path, tmp_path / "copy"))
    semivae.train(recipes[1], out=copy, resume=True, device="cpu")
    ours, theirs = (load_file(path / "painter.safetensors") for path in (copy, painted.path))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(RunError, match=r"painter.steps: was 6, now 7"):
        semivae.train(recipes[1], set={"painter.steps": 7}, out=copy, resume=True, device="cpu")
    with pytest.raises(RunError, match=r"painter: was .*, now None"):
        semivae.train(recipes[0], out=copy, resume=True, device="cpu")


def test_a_finished_painter_draws_otherwise_without_learning_anew(
    recipes: tuple[Path, Path], painted: Run, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(painted.path, tmp_path / "copy"))
    changes = {"painter.flow.guidance": 5, "painter.flow.steps": 3, "painter.choose": 2}
    other = semivae.train(recipes[1], set=changes, out=copy, resume=True, device="cpu")
    assert (copy / "painter.safetensors").read_bytes() == (painted.path / "painter.safetensors").read_bytes()
    assert other.painter is not None and other.painter.flow.sampling.guidance == 5.0
    assert not torch.equal(other.sample(4, y=3, seed=0)["x"], painted.sample(4, y=3, seed=0)["x"])
    with pytest.raises(RunError, match=r"painter.flow.drop: was 0.1, now 0.2"):
        semivae.train(recipes[1], set={"painter.flow.drop": 0.2}, out=copy, resume=True, device="cpu")


def test_a_painter_of_another_recipe_is_refused(recipes: tuple[Path, Path], painted: Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(painted.path, tmp_path / "copy"))
    other = semivae.train(recipes[1], set={"painter.net.channels": [4]}, out=tmp_path / "other", device="cpu")
    shutil.copy(other.path / "painter.safetensors", copy / "painter.safetensors")
    with pytest.raises(RunError, match=r"painter\.safetensors: holds another painter than recipe\.yaml"):
        semivae.load(copy, device="cpu")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"painter.flow.guides": ["x"]}, "painter.flow.guides: x cannot lead the painter"),
        ({"decoder.x.flow": {}}, "painter: the decoder's x is a flow already"),
        ({"painter.net": {"name": "conv"}}, "painter.net: net conv puts out a vector"),
        ({"painter.steps": 0}, "painter.steps: must be at least 1, not 0"),
    ],
)
def test_painters_that_cannot_be(recipes: tuple[Path, Path], change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        recipe = read_recipe(recipes[1], change)
        plan_of(recipe)
        raise RecipeError(*net_mistakes(recipe))
    assert message in str(error.value)


def test_the_painters_own_steps_batches_and_guides(painted: Run) -> None:
    recipe = recipe_of_painter(painted.recipe)
    assert {stream.batch for stream in recipe.streams.values()} == {4} and recipe.training.steps == 6
    assert painted.painter is not None
    assert painted.painter.flow.sampling.guides == ("y", "draft picture"), "without its guides it sees no draft"


def test_nobody_but_the_painter_moves(painted: Run) -> None:
    scenario = build_scenario(painted.recipe, painted.dataset(), painted.split(), torch.device("cpu"))
    scenario.game.train()
    made = painting_scenario(scenario, painted.dataset(), painted.split())
    first, again = (each.streams["unlabelled"].batch(0)["x"][:4] for each in (made, scenario))
    assert not torch.equal(first, again), "its batches come in an order of their own"
    painting = made.game
    for player in (scenario.game.decoder, scenario.game.ema_encoder):
        assert not player.training and not any(weight.requires_grad for weight in player.parameters())
    assert all(weight.requires_grad for weight in painting.decoder.parameters())


def test_the_average_follows_the_painter(painted: Run) -> None:
    """The first update copies; the next ones keep (1 + n) / (10 + n) of the average, at most `ema_decay`."""
    painter = build_painter(painted.recipe, painted.decoder)
    assert painter is not None
    painting = Painting(painter, painted.decoder, painted.encoder, painter_plan(painted.recipe), ema_decay=0.9)
    current, average = (next(module.parameters()) for module in (painter.flow, painting.painter_average))
    start = current.detach().clone()
    with torch.no_grad():
        for expected in (1.0, 1.0 + 9 / 11, 1.0 + 9 / 11 + (2.0 - 9 / 11) * 9 / 12):
            current.add_(1.0)
            painting.update_average()
            assert torch.allclose(average - start, torch.full_like(start, expected), atol=1e-5)
    assert torch.equal(next(painting.painter.flow.parameters()), average)


def test_the_painter_learns_beside_the_decoders_draft(painted: Run) -> None:
    """What its network sees is the decoder's mean image of the parents that the encoder draws, or nothing of it."""
    painter = build_painter(painted.recipe, painted.decoder)
    assert painter is not None
    painting = Painting(painter, painted.decoder, painted.encoder, painter_plan(painted.recipe))
    seen: list[torch.Tensor] = []
    painter.flow.net.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    observed = {"x": painted.dataset().test["x"][:200].float() / 255}
    step = painting.begin({"unlabelled": observed}, {"unlabelled": 200}, 0.0, torch.Generator())
    torch.manual_seed(0)
    drawn = painted.encoder.complete(observed)
    torch.manual_seed(0)
    painting.loss(("decoder",), step)
    (images,) = seen
    draft = painter.flow.given[-1]
    expected = FAMILIES[draft.family].as_input(draft, painted.decoder["x"](drawn).mean)
    without = (images[:, -1:] == 0).all(dim=(1, 2, 3))
    assert 5 <= int(without.sum()) <= 40  # a tenth; outside once in ten thousand seeds
    torch.testing.assert_close(images[~without, -1:], expected[~without])


def test_the_painters_average_computes_without_dropout(painted: Run) -> None:
    painter = build_painter(painted.recipe, painted.decoder)
    assert painter is not None
    painting = Painting(painter, painted.decoder, painted.encoder, painter_plan(painted.recipe)).train()
    assert painter.flow.training
    assert not any(module.training for module in painting.painter_average.modules())


def test_the_parents_of_a_picture_are_drawn_given_evidence(recipes: tuple[Path, Path], tmp_path: Path) -> None:
    """Groups say whether a digit is small; then so is every class that the painter is given."""
    groups = {"small": list("01234"), "large": list("56789")}
    changes = {
        "source.simulate": {"c": {"groups": groups}},
        "split.also_labelled": {"c": 100},
        "variables.c": {"family": "categorical"},
        "decoder.c": {"given": ["y"], "groups": groups},
        "streams.coarse": {"observe": ["x", "c"], "batch": 8},
        "training.steps": 1,
        "training.twin": False,
        "painter.steps": 1,
        "painter.flow": {"steps": 2},
    }
    run = semivae.train(recipes[1], set=changes, out=tmp_path / "run", device="cpu")
    scenario = build_scenario(run.recipe, run.dataset(), run.split(), torch.device("cpu"))
    painting = painting_scenario(scenario, run.dataset(), run.split())
    assert isinstance(painting.game, Painting)
    given: list[torch.Tensor] = []
    painting.game.decoder["x"].get_submodule("net").register_forward_pre_hook(
        lambda module, inputs: given.append(inputs[1])
    )
    (lesson,) = (lesson for lesson in painting.plan.lessons if lesson.stream == "coarse")
    batch = {"x": torch.rand(200, 1, 8, 8), "c": torch.tensor([0, 1]).repeat(100)}
    step = painting.game.begin({"coarse": batch}, {"coarse": 200}, 0.0, torch.Generator())
    painting.game.losses_of([lesson], step)
    y = given[0][:, TIME_FEATURES : TIME_FEATURES + 10].argmax(dim=1)
    assert torch.equal(y >= 5, batch["c"] == 1) and len(y.unique()) > 4
