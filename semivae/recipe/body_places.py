"""Where a recipe asks for networks that were trained elsewhere. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from semivae.recipe.networks import BodySpec, Net
from semivae.recipe.schema import ConditionalSpec, Recipe

Place = tuple[str, ...]
"""The keys that lead to a network: ("encoder", "y", "net"), or ("bottom_up",)."""


def body_specs(recipe: Recipe) -> dict[Place, BodySpec]:
    """Returns the networks on bodies, by the keys that lead to them."""
    return {place: net for place, net in _nets(recipe) if isinstance(net, BodySpec)}


def with_bodies(recipe: Recipe, bodies: Mapping[Place, BodySpec]) -> Recipe:
    """Returns a recipe with other networks at some places."""
    changes: dict[str, Any] = {"encoder": dict(recipe.encoder), "decoder": dict(recipe.decoder)}
    for place, spec in bodies.items():
        if place == ("bottom_up",):
            changes["bottom_up"] = spec
        else:
            player, name, _ = place
            changes[player][name] = changes[player][name].model_copy(update={"net": spec})
    return recipe.model_copy(update=changes) if bodies else recipe


def _nets(recipe: Recipe) -> Iterator[tuple[Place, Net]]:
    if recipe.bottom_up is not None:
        yield ("bottom_up",), recipe.bottom_up
    for player, factors in (("encoder", recipe.encoder), ("decoder", recipe.decoder)):
        for name, factor in factors.items():
            if isinstance(factor, ConditionalSpec):
                yield (player, name, "net"), factor.net
