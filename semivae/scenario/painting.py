"""The scenario of a painter, made once the game of a run is over."""

from __future__ import annotations

from pathlib import Path

from semivae.data.dataset import Dataset
from semivae.data.splits import Split
from semivae.game.painter import Painting
from semivae.recipe.schema import Recipe
from semivae.scenario.build import Scenario, build_painter
from semivae.scenario.plan import painter_plan
from semivae.scenario.streams import make_streams
from semivae.seeds import seed_for


def recipe_of_painter(recipe: Recipe) -> Recipe:
    """Returns the recipe with the painter's steps, batches and optimiser in the place of the game's."""
    spec = recipe.painter
    assert spec is not None
    own = spec.model_dump(include={"steps", "learning_rate", "optimizer", "warmup", "clip", "ema_decay"})
    training = recipe.training.model_copy(update=own)
    streams = {name: stream.model_copy(update={"batch": spec.batch}) for name, stream in recipe.streams.items()}
    return recipe.model_copy(update={"training": training, "streams": streams})


def painting_scenario(scenario: Scenario, dataset: Dataset, split: Split, data_root: Path | None = None) -> Scenario:
    """Returns the painter's scenario: its lessons, beside the players of the finished game.

    Args:
        scenario: that of the game, whose encoder draws what the painter is given and whose decoder drafts.
        dataset, split, data_root: as for `build_scenario`.
    """
    recipe, game = recipe_of_painter(scenario.recipe), scenario.game
    players = game.decoder, game.ema_encoder
    for player in players:
        player.eval().requires_grad_(False)
    painter = build_painter(recipe, game.decoder)
    assert painter is not None
    device = next(game.parameters()).device
    plan = painter_plan(scenario.recipe, scenario.roles)
    painting = Painting(painter, *players, plan, game.weights, game.views, recipe.training.ema_decay).to(device)
    seed = seed_for(recipe.training.seed, "painter")
    streams = make_streams(recipe, dataset, split, device, seed, data_root)
    return Scenario(recipe, scenario.roles, plan, painting, streams)
