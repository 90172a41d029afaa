"""The weights with which the bodies of a recipe's networks start: of a library, a file, or an earlier run.

They are loaded where a training begins. A run keeps all weights, so it is opened and resumed without this.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from semivae.data.paths import resolve
from semivae.errors import RecipeError
from semivae.game.conditionals import NetworkConditional
from semivae.game.ladder import LadderConditional
from semivae.game.players import Player
from semivae.nets.bodies import build_body, load_pretrained
from semivae.nets.body import Body
from semivae.nets.body_net import BodyNet, EarlierBody
from semivae.nets.body_unet import PretrainedUnet
from semivae.recipe.bodies import PretrainedUnetSpec
from semivae.recipe.body_places import body_specs
from semivae.recipe.networks import RunSpec
from semivae.recipe.schema import ConditionalSpec, Recipe
from semivae.scenario.plan import roles_of

EarlierWeights = Callable[[RunSpec], dict[str, Tensor]]
"""Reads the weights of an earlier run's network (`semivae.runs.bodies.weights_of`)."""


def size_notes(recipe: Recipe) -> list[str]:
    """Returns a line for each body that is given pictures of less than half, or more than twice, its own side.

    Args:
        recipe: with every shape.
    """
    found = []
    for place, spec in body_specs(recipe).items():
        body = spec.body if isinstance(spec, PretrainedUnetSpec) else spec
        if isinstance(body, RunSpec) or body.size is not None:
            continue
        shape = recipe.variables[_picture(recipe, place)].shape
        assert shape is not None
        with torch.device("meta"):
            built = build_body(body, pretrained=False)
        if built.scaled is None and not built.size / 2 <= min(shape[1:]) <= built.size * 2:
            found.append(
                f"{'.'.join(place)}: {body.model} was trained on pictures of {built.size} pixels a side; these have "
                f"{shape[1]} x {shape[2]}; if its features are poor, try size: {built.size // 2} or {built.size}"
            )
    return found


def _picture(recipe: Recipe, place: tuple[str, ...]) -> str:
    """The variable whose values a body reads."""
    if place == ("bottom_up",):
        return roles_of(recipe).image
    factor = (recipe.encoder if place[0] == "encoder" else recipe.decoder)[place[1]]
    assert isinstance(factor, ConditionalSpec)
    return next(name for name in factor.given if len(recipe.variables[name].shape or ()) == 3)


def load_bodies(
    recipe: Recipe, decoder: Player, encoder: Player, data_root: Path, earlier_weights: EarlierWeights
) -> None:
    """Gives all bodies of a recipe's players the weights that they start with.

    Args:
        recipe: as resolved.
        decoder, encoder: its players.
        data_root: where relative paths of files start.
        earlier_weights: reads those of an earlier run.

    Raises:
        RecipeError: weights cannot be had, or do not fit.
    """
    players = {"decoder": decoder, "encoder": encoder}
    for place, spec in body_specs(recipe).items():
        where = ".".join(place)
        network = _shared(encoder) if place == ("bottom_up",) else _network(players[place[0]], place[1])
        assert isinstance(network, BodyNet | PretrainedUnet)
        try:
            if isinstance(spec, RunSpec):
                assert isinstance(network.body, EarlierBody)
                network.body.network.load_state_dict(earlier_weights(spec))
            else:
                body = spec.body if isinstance(spec, PretrainedUnetSpec) else spec
                assert isinstance(network.body, Body)
                load_pretrained(network.body, body, resolve(body.weights, data_root))
        except (ValueError, RuntimeError) as error:  # RuntimeError: torch's, for names or shapes that differ
            raise RecipeError(f"{where}.weights: {error}") from error


def _network(player: Player, name: str) -> nn.Module:
    conditional = player[name]
    assert isinstance(conditional, NetworkConditional)
    return conditional.net


def _shared(encoder: Player) -> nn.Module:
    """The network that the levels of a ladder share."""
    return next(c.bottom_up for c in map(encoder.__getitem__, encoder.names) if isinstance(c, LadderConditional))
