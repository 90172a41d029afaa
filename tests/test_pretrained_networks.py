"""Networks trained elsewhere inside a recipe: what learns and what stays, what a run keeps, and how it opens again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models
from typer.testing import CliRunner

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.errors import RecipeError
from semivae.game.conditionals import NetworkConditional
from semivae.game.ladder import LadderConditional
from semivae.nets.body_net import BodyNet
from semivae.nets.freezing import Freezable, stages_of
from semivae.recipe import change_recipe, read_recipe
from semivae.recipe.schema import Recipe, TrainingSpec
from semivae.runs.bodies import with_earlier_networks
from semivae.scenario.build import build_game, build_players, parameter_counts
from semivae.scenario.plan import plan_of
from semivae.training.optimizer import Optimizers, PlayerOptimizer, shares_of

MODEL = "shufflenet_v2_x0_5"  # the smallest of torchvision, of five stages
FEW = {"training.steps": 3, "training.validate_every": 3, "streams.unlabelled.vote": None, "training.twin": False,
       "split.validation": 20, "streams.labelled.batch": 4, "streams.unlabelled.batch": 4, "streams.labels.batch": 4,
       "decoder.x.net.hidden": [16], "encoder.h.net.hidden": [16]}  # fmt: skip
BODY: dict[str, object] = {"name": "torchvision", "model": MODEL, "size": 32, "hidden": [16]}


def digits(body: dict[str, object], **changes: object) -> Recipe:
    """The digits recipe with a body in q(y | x), for three steps."""
    return read_recipe("digits_50labels", {**FEW, "encoder.y.net": BODY | body, **changes})


def body_net(run: Run, factor: str = "y") -> BodyNet:
    conditional = run.encoder[factor]
    assert isinstance(conditional, NetworkConditional) and isinstance(conditional.net, BodyNet)
    return conditional.net


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of weights, with a classifier."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_file(models.get_model(MODEL, weights=None).state_dict(), path)
    yield path


def body_state(run: Run) -> dict[str, Tensor]:
    return body_net(run).body.get_submodule("network").state_dict()


def changed(run: Run, path: Path) -> set[str]:
    """The stages of the body that differ from a file, by their first names."""
    before = {}
    with safe_open(path, framework="pt") as file:
        before = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return {
        name.partition(".")[0]
        for name, value in body_state(run).items()
        if not torch.allclose(value.float(), before[name].float(), rtol=0, atol=1e-7)
    }


def test_a_frozen_body_stays_as_its_file_and_a_run_needs_the_file_no_more(weights: Path, tmp_path: Path) -> None:
    mine, folder = tmp_path / "mine.safetensors", tmp_path / "run"
    shutil.copy(weights, mine)
    recipe = digits({"weights": str(mine)}, **{"training.twin": True})
    run = semivae.train(recipe, out=folder, device="cpu")
    assert changed(run, weights) == set()
    assert changed(run.at("twin"), weights) == set()
    mine.unlink()
    opened = semivae.load(folder, device="cpu")
    images = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    assert opened.embed(images).shape == (4, 16)
    np.testing.assert_array_equal(opened.embed(images), run.embed(images))
    longer = change_recipe(recipe, {"training.steps": 3})
    again = semivae.train(longer, out=folder, resume=True, device="cpu")  # nothing is left to do, and nothing is read
    assert again.facts.step == 3


def test_a_checkpoint_holds_frozen_weights_once(weights: Path, tmp_path: Path) -> None:
    run = semivae.train(digits({"weights": str(weights)}), out=tmp_path / "run", device="cpu")
    frozen = {name for name, _ in body_net(run).body.named_parameters()}
    with safe_open(tmp_path / "run" / "last.safetensors", framework="pt") as file:
        kept = [name for name in file.keys() if name.endswith(tuple(frozen)) and ".body." in name]  # noqa: SIM118
        repeated = json.loads(file.metadata()["repeated"])
    assert len(kept) == len(frozen)
    assert sum(name.endswith(tuple(frozen)) for name in repeated) == len(frozen)


@pytest.mark.parametrize(
    ("train", "stages"),
    [(1, {"conv5"}), (2, {"conv5", "stage4"}), ("all", {"conv1", "stage2", "stage3", "stage4", "conv5"})],
)
def test_so_many_stages_learn_and_no_statistics(
    weights: Path, tmp_path: Path, train: str | int, stages: set[str]
) -> None:
    recipe = digits({"weights": str(weights), "train": train, "rate": 1.0}, **{"training.ema_decay": 0.0})
    run = semivae.train(recipe, out=tmp_path / "run", device="cpu")
    assert changed(run, weights) == stages
    with safe_open(weights, framework="pt") as file:
        for name, value in body_state(run).items():
            if "running" in name:
                assert torch.equal(value, file.get_tensor(name)), name


def test_what_the_average_and_the_encoder_share() -> None:
    recipe = digits({"weights": "none", "train": 1})
    game = build_game(recipe, plan_of(recipe), torch.device("cpu"))
    own, averaged = dict(game.encoder.named_parameters()), dict(game.ema_encoder.named_parameters())
    assert {name for name in own if own[name] is averaged[name]} == {
        name for name in own if not own[name].requires_grad
    }
    frozen = {name: value.clone() for name, value in own.items() if not value.requires_grad}
    game.update_average()
    with torch.no_grad():
        for value in own.values():
            value.add_(float(value.requires_grad))
    before = {name: value.clone() for name, value in averaged.items()}
    game.update_average()
    for name, value in averaged.items():
        if name in frozen:
            assert torch.equal(value, frozen[name])
        else:
            torch.testing.assert_close(value, before[name] + (own[name] - before[name]) * (1 - 2 / 11))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_each_stage_learns_at_its_own_rate(optimizer: str) -> None:
    recipe = digits({"weights": "none", "train": 2, "rate": 0.5, "decay": 0.25}, **{"training.optimizer": optimizer})
    game = build_game(recipe, plan_of(recipe), torch.device("cpu"))
    optimizers = Optimizers.of_game(game, recipe.training)
    encoder = optimizers.of["encoder"]
    for parameter in encoder.parameters:
        parameter.grad = torch.ones_like(parameter)
    encoder.update(0)
    rates: dict[float, int] = {}
    for group in (group for each in encoder.optimizers for group in each.param_groups):
        share = round(group["lr"] / encoder.rate_at(0), 6)
        rates[share] = rates.get(share, 0) + sum(parameter.numel() for parameter in group["params"])
    by_name = dict(game.encoder.named_parameters())
    sizes = {
        stage: sum(p.numel() for name, p in by_name.items() if f"network.{stage}." in name)
        for stage in ("stage4", "conv5")
    }
    assert rates == {
        1.0: sum(p.numel() for name, p in by_name.items() if "body.network." not in name),
        0.5: sizes["conv5"],
        0.125: sizes["stage4"],
    }


def test_frozen_weights_do_not_decay() -> None:
    body = Pair()
    body.let_learn(1, rate=0.5)
    before = {name: value.clone() for name, value in body.state_dict().items()}
    spec = TrainingSpec(steps=10, learning_rate=0.1, schedule="constant", optimizer="adamw", weight_decay=0.1)
    optimizer = PlayerOptimizer(list(body.parameters()), spec, "encoder", shares_of(body))
    for parameter in body.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.update(0)
    after = body.state_dict()
    assert torch.equal(after["first.weight"], before["first.weight"])
    torch.testing.assert_close(after["second.weight"], before["second.weight"] * (1 - 0.1 * 0.5 * 0.1))


def test_of_networks_inside_each_other_the_outer_one_says_the_rates() -> None:
    outer = Outer()
    outer.let_learn("all", rate=0.5)
    assert shares_of(outer) == dict.fromkeys(outer.parameters(), 0.5)


class Outer(Freezable):
    """Holds a network that has rates of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Pair()
        self.inner.let_learn("all", rate=0.1)


class Pair(Freezable):
    """Two layers, and a norm behind the first."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.first, self.norm, self.second = nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2)


def test_stages_hold_every_parameter_once_in_order() -> None:
    assert stages_of(Pair()) == [
        ["scale", "first.weight", "first.bias", "norm.weight", "norm.bias"],
        ["second.weight", "second.bias"],
    ]
    with pytest.raises(ValueError, match="train: 3: it has 2 stages"):
        Pair().let_learn(3)


def test_the_same_picture_gives_the_same_features_whatever_family_it_has() -> None:
    images, found = torch.rand(3, 1, 8, 8), []
    for family, values in (
        ("bernoulli", 2 * images - 1),
        ("discretized_logistic", 4 * images - 2),
        ("gaussian", images),
    ):
        _, encoder = build_players(digits({"weights": "none"}, **{"variables.x.family": family}))
        conditional = encoder["y"]
        assert isinstance(conditional, NetworkConditional)
        found.append(conditional.net(values, None))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[2], found[0], rtol=1e-4, atol=1e-5)


def test_numbers_are_counted_apart_and_shown() -> None:
    recipe = digits({"weights": "none"})
    learnt, frozen = parameter_counts(recipe), parameter_counts(recipe, counted="frozen")
    body = models.get_model(MODEL, weights=None)
    without = sum(p.numel() for p in body.parameters()) - sum(p.numel() for p in body.fc.parameters())
    assert frozen["encoder"] == {"y": without, "h": 0}
    assert learnt["encoder"]["y"] == 1024 * 16 + 16 + 16 * 10 + 10


def test_show_and_check_speak_of_bodies(tmp_path: Path) -> None:
    body = json.dumps(BODY | {"weights": "none"})
    shown = CliRunner().invoke(app, ["show", "digits_50labels", "--set", f"encoder.y.net={body}"])
    assert shown.exit_code == 0 and "frozen" in shown.stdout and "341,792" in shown.stdout
    for changes, message in (
        (
            {"model": "shufflenet_v3"},
            "encoder.y.net: torchvision has no model shufflenet_v3; did you mean shufflenet_v2",
        ),
        ({"train": 9}, "encoder.y.net: train: 9: it has 5 stages"),
        ({"size": 16}, "encoder.y.net: net torchvision needs a size of at least 32, not 16"),
        ({"rate": 0.5}, "encoder.y.net: rate is for a body that learns, and train: head keeps it as it is"),
        ({"model": "hf-hub:them/theirs"}, "encoder.y.net.model: 'hf-hub:them/theirs' is no name of a model"),
        ({"name": "run", "path": "runs/nothing"}, "encoder.y.net.path: runs/nothing: there is no run in this folder"),
        ({"name": "run", "path": "hf://them"}, "encoder.y.net.path: hf:/them: is no run on a hub"),
        (
            {"name": "run", "path": "~none_of_this_name/run"},
            "encoder.y.net.path: ~none_of_this_name/run: there is no home folder",
        ),
    ):
        wrong = {
            key: value for key, value in (BODY | changes).items() if changes.get("name") != "run" or key in changes
        }
        found = CliRunner().invoke(app, ["check", "digits_50labels", "--set", f"encoder.y.net={json.dumps(wrong)}"])
        assert found.exit_code == 2 and message in found.stdout, found.stdout


def test_show_says_where_pictures_are_far_from_those_of_the_body() -> None:
    note = "trained on pictures of 224 pixels a side; these have"
    for shape, size, said in (([3, 64, 64], "null", True), ([3, 64, 64], "64", False), ([3, 112, 112], "null", False)):
        sets = [f"encoder.y.net={json.dumps(BODY | {'weights': 'none', 'size': json.loads(size)})}"]
        sets += [f"variables.x.shape={shape}"]
        shown = CliRunner().invoke(
            app, ["show", "digits_50labels", *(word for each in sets for word in ("--set", each))]
        )
        assert shown.exit_code == 0 and (note in shown.stderr) == said, shown.output


def test_weights_that_cannot_be_had_end_the_training_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"encoder\.y\.net\.weights: .*nothing\.pth: there is no such file"):
        semivae.train(digits({"weights": "nothing.pth"}), out=tmp_path / "run", data_root=tmp_path, device="cpu")
    assert not (tmp_path / "run").exists()


def test_relative_files_of_weights_start_at_the_data_root(weights: Path, tmp_path: Path) -> None:
    recipe = digits({"weights": weights.name})
    run = semivae.train(recipe, out=tmp_path / "run", data_root=weights.parent, device="cpu")
    assert changed(run, weights) == set()


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["onnx", "pt2", "safetensors"])
def test_a_body_is_exported_with_its_network(weights: Path, tmp_path: Path, ending: str) -> None:
    if ending == "onnx":
        pytest.importorskip("onnxscript")
    run = semivae.train(digits({"weights": str(weights)}), out=tmp_path / "run", device="cpu")
    before = body_state(run)["conv1.0.weight"].clone()
    report = run.export(tmp_path / f"encoder.{ending}")
    assert report["largest_difference"] < 1e-4
    assert torch.equal(body_state(run)["conv1.0.weight"], before)


# The body of an earlier run ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose q(y | x) is a small convolutional network."""
    changes = {**FEW, "encoder.y.net": {"name": "conv", "channels": [8, 8], "hidden": 12}}
    out = tmp_path_factory.mktemp("earlier") / "digits"
    return semivae.train("digits_50labels", set=changes, out=out, device="cpu")


LADDER = """
source: {name: digits}
split: {labelled: 50, seed: 0, validation: 20}
variables: {x: {family: bernoulli, shape: [1, 8, 8]}, z: {family: bernoulli, shape: [4]}}
decoder: {z: uniform, x: {given: [z], net: {name: mlp, hidden: [8]}}}
encoder: {z: {given: [x], net: {name: mlp, hidden: []}, ladder: true}}
bottom_up: {name: conv, channels: [4], hidden: 6}
streams: {unlabelled: {observe: [x], batch: 8}, prior: {observe: [], batch: 8}}
training: {steps: 2}
"""


def on_run(path: Path, options: dict[str, object] | None = None) -> Recipe:
    net = {"name": "run", "path": str(path), "hidden": []} | (options or {})
    return read_recipe("digits_50labels", {**FEW, "encoder.y.net": net})


def test_an_earlier_run_gives_its_features_and_is_needed_no_more(earlier: Run, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(earlier.path, gone)
    recipe = on_run(gone)
    run = semivae.train(recipe, out=tmp_path / "run", device="cpu")
    shutil.rmtree(gone)
    opened = semivae.load(tmp_path / "run", device="cpu")
    images = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    theirs = torch.tensor(earlier.embed(images))
    expected = nn.functional.layer_norm(theirs, theirs.shape[1:])
    torch.testing.assert_close(torch.tensor(opened.embed(images)), expected)
    assert semivae.train(recipe, out=run.path, resume=True, device="cpu").facts.step == 3


def test_a_run_without_labels_gives_what_its_levels_share(tmp_path: Path) -> None:
    (tmp_path / "ladder.yaml").write_text(LADDER)
    first = semivae.train(tmp_path / "ladder.yaml", out=tmp_path / "ladder", device="cpu")
    recipe = with_earlier_networks(on_run(tmp_path / "ladder"))
    net = recipe.encoder["y"].net
    assert first.recipe.bottom_up is not None and net.name == "run" and net.network == first.recipe.bottom_up
    run = semivae.train(on_run(tmp_path / "ladder"), out=tmp_path / "run", device="cpu")
    assert body_net(run).body.features == 6


def test_what_the_levels_of_a_ladder_share_may_be_a_body(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "ladder.yaml").write_text(LADDER)
    changes = {"bottom_up": {**BODY, "weights": str(weights)}}
    run = semivae.train(tmp_path / "ladder.yaml", set=changes, out=tmp_path / "run", device="cpu")
    level = run.encoder["z"]
    assert isinstance(level, LadderConditional) and isinstance(level.bottom_up, BodyNet)
    with safe_open(weights, framework="pt") as file:
        kept = level.bottom_up.body.get_submodule("network").state_dict()
        assert all(torch.equal(value, file.get_tensor(name)) for name, value in kept.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": "h"}, r"encoder\.y\.net\.factor: the encoder of .* infers no h from x alone; use y"),
        ({"path": "nowhere"}, r"encoder\.y\.net\.path: nowhere"),
    ],
)
def test_runs_that_cannot_be_bodies_are_refused(earlier: Run, options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        with_earlier_networks(on_run(earlier.path, options))


def test_images_of_another_shape_are_refused(earlier: Run) -> None:
    recipe = change_recipe(on_run(earlier.path), {"variables.x.shape": [1, 16, 16]})
    with pytest.raises(RecipeError, match=r"have shape \[1, 8, 8\], those of this recipe \[1, 16, 16\]"):
        with_earlier_networks(recipe)


def test_a_chain_of_runs_is_refused(earlier: Run, tmp_path: Path) -> None:
    semivae.train(on_run(earlier.path), out=tmp_path / "second", device="cpu")
    with pytest.raises(RecipeError, match="is itself that of an earlier run"):
        with_earlier_networks(on_run(tmp_path / "second"))
