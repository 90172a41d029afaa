"""One step of a game, as the training loop takes it, for tests of the game alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from semivae.game.game import Game
from semivae.game.plan import PlayerName
from semivae.variables import Sample


class Descent(Protocol):
    """Moves one player down a loss."""

    def __call__(self, loss: Tensor) -> None: ...


def take_step(
    game: Game,
    batches: Mapping[str, Sample],
    sizes: Mapping[str, int],
    optimizers: Mapping[PlayerName, Descent],
    progress: float = 0.0,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Takes one step of all players in turn; returns terms and mask rates by the names that metrics have for them."""
    step = game.begin(batches, sizes, progress, torch.Generator().manual_seed(seed))
    found: dict[str, Tensor] = {}
    for players in game.turns:
        losses = game.loss(players, step)
        for player in players:
            optimizers[player](losses.total)
        found |= losses.by_name()
    game.update_average()
    return found
