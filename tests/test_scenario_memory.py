"""Memory that training needs at least: exact in small cases, and refused in words where no machine has as much."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import semivae
from semivae.cli import app
from semivae.devices import Memory, memory_of
from semivae.errors import RecipeError
from semivae.nets import Mlp
from semivae.nets.layers import WithoutInitialisation
from semivae.recipe import change_recipe, read_recipe, shipped_recipes
from semivae.recipe.schema import Recipe
from semivae.scenario.build import build_players, parameter_counts
from semivae.scenario.memory import batch_bytes, copies_of, in_bytes, looks_large, refuse_large_training
from semivae.scenario.plan import plan_of
from semivae.scenario.shapes import has_shapes

LADDER = {"bottom_up.hidden": 20, "bottom_up.width": 4, "decoder.x.net.width": 4}


def digits(**changes: object) -> Recipe:
    return read_recipe("digits_50labels", {key.replace("__", "."): value for key, value in changes.items()})


def refuse(recipe: Recipe, memory: Memory) -> None:
    """As training refuses on a device of that memory."""
    refuse_large_training(recipe, plan_of(recipe), parameter_counts(recipe), memory)


@pytest.mark.parametrize("recipe", [digits(), read_recipe("mnist_ladder", LADDER)], ids=["plain", "ladder"])
def test_parameters_are_counted_as_they_are_built(recipe: Recipe) -> None:
    for fixed in (False, True):
        counted = parameter_counts(recipe, counted="all" if fixed else "learnt")
        for name, player in zip(("decoder", "encoder"), build_players(recipe), strict=True):
            tensors = {id(p): p.numel() for p in player.parameters()}
            tensors |= {id(b): b.numel() for b in player.buffers()} if fixed else {}
            assert sum(counted[name].values()) == sum(tensors.values())


def test_counting_changes_no_weights_and_no_random_numbers() -> None:
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    first = build_players(digits())
    parameter_counts(digits())
    second = build_players(digits())
    assert torch.equal(torch.rand(3), wanted)
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_networks_that_are_counted_draw_nothing_and_real_ones_are_drawn_as_ever() -> None:
    recipe = digits(**{"encoder__y__net": {"name": "mlp", "hidden": [16]}})
    torch.manual_seed(recipe.training.seed)
    expected = Mlp((1, 8, 8), 0, (10,), (16,))
    state = torch.get_rng_state()
    with pytest.raises(ArithmeticError), WithoutInitialisation():
        Mlp((1, 8, 8), 0, (10,), (16,))
        assert not torch.zeros(3).normal_().any() and not torch.zeros(3).uniform_(1.0, 2.0).any()
        assert torch.equal(torch.get_rng_state(), state)
        raise ArithmeticError
    _, encoder = build_players(recipe)  # its first network is the first that is drawn
    found = encoder["y"].state_dict()
    assert len(found) == len(expected.state_dict()) > 3
    for name, value in expected.state_dict().items():
        assert torch.equal(found[f"net.{name}"], value)
    again = Mlp((1, 8, 8), 0, (10,), (16,))
    assert all(value.std() > 0.05 for value in again.parameters() if value.dim() > 1)


def test_bytes_of_a_batch_are_those_of_its_values_and_outputs() -> None:
    recipe = digits(variables__h__shape=[5], streams__unlabelled__vote=None, streams__labels__batch=3)
    recipe = change_recipe(recipe, {"streams.unlabelled.batch": 7, "streams.labels.loss_weights": {}})
    needed = batch_bytes(recipe, plan_of(recipe))
    values = 64 * 4 + 8 + 5 * 4  # x, a class, h
    assert needed["unlabelled"] == 7 * (values + 64 * 4)  # p(x | y, h) puts out a number a pixel
    assert needed["labels"] == 3 * (values + (10 + 5) * 4)  # q(y | x) and q(h | x, y)
    voting = change_recipe(recipe, {"streams.unlabelled.vote": {"draws": 1000}})
    of_votes = batch_bytes(voting, plan_of(voting))["unlabelled"]
    assert of_votes == 7 * (64 * 4 * 10 * 1000 + 10 * 4)  # every image once for each class and draw


def test_copies_are_those_of_the_optimizer_and_the_average() -> None:
    assert copies_of(digits()) == {"decoder": 4, "encoder": 5}
    players = {"encoder": "muon", "decoder": "adamw"}
    assert copies_of(digits(training__optimizer=players)) == {"decoder": 4, "encoder": 4}


def test_what_just_fits_is_not_refused() -> None:
    recipe = digits()
    counts = parameter_counts(recipe)
    weights = 4 * sum(sum(counts[player].values()) * copies for player, copies in copies_of(recipe).items())
    refuse(recipe, Memory("a machine", weights))
    with pytest.raises(RecipeError, match=r"a network of .* parameters; all networks need at least .* a machine"):
        refuse(recipe, Memory("a machine", weights - 1))
    refuse(digits(streams__labels__batch=10**12), Memory("a machine", math.inf))  # not known: nothing is refused


def test_frozen_numbers_are_held_once() -> None:
    recipe, machine = digits(), Memory("a machine", 10**6)
    none = {player: dict.fromkeys(factors, 0) for player, factors in parameter_counts(recipe).items()}
    refuse_large_training(recipe, plan_of(recipe), none, machine, {"encoder": {"y": 250_000}})
    with pytest.raises(
        RecipeError, match=r"encoder\.y: a network of 250,001 parameters; all networks need at least 977 KiB"
    ):
        refuse_large_training(recipe, plan_of(recipe), none, machine, {"encoder": {"y": 250_001}})


DIGITS = "digits_50labels"
LARGE: Mapping[str, tuple[str, str, object, str]] = {
    "batch": (
        "digits_50labels",
        "streams.unlabelled.batch",
        10**12,
        "streams.unlabelled.batch: 1,000,000,000,000 examples",
    ),
    "largest batch": (DIGITS, "streams.labels.batch", 2**63 - 1, "need at least 10^"),
    "channels": (DIGITS, "encoder.y.net.channels", [10**8], "encoder.y: a network of 90,0"),
    "channels beyond 64 bits": (
        "digits_50labels",
        "encoder.y.net.channels",
        [10**18],
        "encoder.y.net: more than 10^18",
    ),
    "hidden": (DIGITS, "encoder.y.net", {"name": "mlp", "hidden": [10**9, 10**9]}, "encoder.y"),
    "deconv": ("mnist_100labels", "decoder.x.net", {"name": "deconv", "channels": [10**8]}, "decoder.x"),
    "unet": ("faces_masks", "decoder.x.net.channels", [4, 4, 10**8], "decoder.x: a network"),
    "stem": ("mnist_100labels", "encoder.y.net.stem", 10**12, "encoder.y"),
    "width": (DIGITS, "encoder.y.net", {"name": "wide_resnet", "width": 10**8}, "encoder.y"),
    "bottom_up": ("mnist_ladder", "bottom_up.hidden", 10**10, "bottom_up: a network of"),
    "code": (DIGITS, "variables.h.shape", [10**13], "encoder.h: a network"),
    "code of many sides": (DIGITS, "variables.h.shape", [2] * 300, "encoder.h.net: more than 10^18"),
    "classes": (DIGITS, "variables.y.classes", 10**13, "encoder.h: a network"),
    "votes": ("mnist_100labels", "streams.unlabelled.vote.draws", 10**12, "make it or vote.draws smaller"),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_no_machine_can_hold_is_refused_before_it_is_built(name: str) -> None:
    recipe, key, value, message = LARGE[name]
    shown = CliRunner().invoke(app, ["check", recipe, "--set", f"{key}={value!r}".replace("'", '"')])
    assert shown.exit_code == 2, shown.output
    assert message in shown.stdout and len(shown.stdout.splitlines()) == 1
    assert "smaller" in shown.stdout


def test_training_and_building_refuse_too(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(RecipeError, match=r"streams\.labels\.batch: .* of memory; make the batch smaller"):
        semivae.train("digits_50labels", set={"streams.labels.batch": 10**12}, out=out, device="cpu")
    assert not out.exists()
    with pytest.raises(RecipeError, match=r"encoder\.h: a network of [0-9,]* parameters"):
        build_players(digits(encoder__h__net={"name": "mlp", "hidden": [10**8, 10**8]}))  # as a run is loaded


def test_shipped_recipes_fit() -> None:
    for name in shipped_recipes():
        recipe = read_recipe(name)
        if has_shapes(recipe):
            refuse(recipe, Memory("a small machine", 2**32))
            assert not looks_large(recipe)  # so that `check` needs no torch


def test_memory_is_that_of_this_machine() -> None:
    here = memory_of(torch.device("cpu")).size
    assert 2**28 < here < 2**50 or here == math.inf
    if Path("/proc/meminfo").exists():
        line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
        assert here <= int(line.split()[1]) * 1024


def test_bytes_are_told_in_units() -> None:
    numbers = (999, 1024, 1500 * 1024**2, 10**12, 10**18, 10**21)
    assert [in_bytes(n) for n in numbers] == ["999 bytes", "1 KiB", "1.46 GiB", "931 GiB", "888 PiB", "867 EiB"]
    assert in_bytes(10**40) == "10^40 bytes"
