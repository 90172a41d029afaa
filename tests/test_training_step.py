"""A step of the loop: the game as its rules say, at the recipe's precision and rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

import semivae
from semivae.api import Run
from semivae.data.sources import load_source
from semivae.game.graphs import PlayerName
from semivae.game.players import Player
from semivae.recipe import read_recipe
from semivae.runs.folder import read_metrics
from semivae.scenario.build import Scenario, build_players, build_scenario
from semivae.seeds import seed_for
from semivae.tasks.splitting import make_split
from tests.game_steps import play_with

STEPS = 4
SHORT = {
    "training.steps": STEPS,
    "training.validate_every": STEPS,
    "training.learning_rate": 0.01,
    "training.precision": "float32",
    "training.twin": False,
    "encoder.y.net": {"name": "mlp", "hidden": [32]},
    "encoder.h.net": {"name": "mlp", "hidden": [32]},
    "decoder.x.net": {"name": "mlp", "hidden": [32]},
    "streams.unlabelled.views.threshold": 0.0,
}


def trained(folder: Path, precision: str) -> Run:
    return semivae.train("digits_50labels", set=SHORT | {"training.precision": precision}, out=folder, device="cpu")


@pytest.fixture(scope="module")
def in_float32(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("runs") / "float32", "float32")


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    recipe = read_recipe("digits_50labels", SHORT)
    dataset = load_source(recipe.source, Path())
    return build_scenario(recipe, dataset, make_split(dataset, recipe.split), torch.device("cpu"))


def weights(player: Player) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in player.parameters()])


def test_a_training_is_the_game_played_step_by_step(in_float32: Run, scenario: Scenario) -> None:
    """By hand: Adam at the rates of a half cosine, the decoder first, then the encoder, then its average."""
    game, generator = scenario.game.train(), torch.Generator()
    adams: dict[PlayerName, torch.optim.Adam] = {
        "decoder": torch.optim.Adam(game.decoder.parameters()),
        "encoder": torch.optim.Adam(game.encoder.parameters()),
    }
    for step, rate in enumerate((0.01, 0.00853553, 0.005, 0.00146447)):
        torch.manual_seed(seed_for(0, "draws", step))
        generator.manual_seed(seed_for(0, "views", step))
        given = {name: stream.batch(step) for name, stream in scenario.streams.items()}
        sizes = {name: scenario.recipe.streams[name].batch for name in given}

        def descend(learners: Sequence[PlayerName], loss: Tensor, rate: float = rate) -> None:
            (player,) = learners
            adams[player].param_groups[0]["lr"] = rate
            adams[player].zero_grad()
            loss.backward()
            adams[player].step()

        play_with(descend, game, given, sizes, generator, step / STEPS)
    for kept, played in ((in_float32.decoder, game.decoder), (in_float32.encoder, game.ema_encoder)):
        assert kept is not None
        for name, value in played.state_dict().items():
            torch.testing.assert_close(kept.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_training_in_bfloat16_stays_near_float32(in_float32: Run, scenario: Scenario, tmp_path: Path) -> None:
    """Autocast rounds what the networks compute to eight bits; weights and losses stay float32."""
    rounded = trained(tmp_path / "bfloat16", "bfloat16")
    start = weights(build_players(scenario.recipe)[1])
    one, other = weights(in_float32.encoder), weights(rounded.encoder)
    assert other.dtype == torch.float32
    assert 0.0 < (one - other).norm() < 0.2 * (one - start).norm(), "it goes the same way, by other roundings"
    expected, found = (read_metrics(run.path)[-1]["losses"] for run in (in_float32, rounded))
    assert found == pytest.approx(expected, rel=0.01) and found != expected
