"""The painter of a run, as its folder keeps it."""

from __future__ import annotations

from pathlib import Path

import torch

from semivae.errors import RunError
from semivae.game.painter import Painter
from semivae.game.players import Player
from semivae.recipe import Recipe
from semivae.runs.checkpoint import read_checkpoint, without_prefix
from semivae.runs.folder import PAINTER, RECIPE_FILE
from semivae.scenario.build import build_painter


def read_painter(folder: Path, recipe: Recipe, decoder: Player, device: torch.device) -> Painter | None:
    """Returns the painter of a run, which goes with its last checkpoint; None without one that has learnt to its end.

    Raises:
        RunError: its checkpoint is damaged, or of another painter than the recipe's.
    """
    path = folder / f"{PAINTER}.safetensors"
    if recipe.painter is None or not path.exists():
        return None
    tensors, facts = read_checkpoint(path)
    painter = build_painter(recipe, decoder)
    if painter is None or facts.step < facts.steps:
        return None
    try:
        painter.flow.load_state_dict(without_prefix("game.painter_average.module", tensors))
    except RuntimeError as error:
        raise RunError(
            f"{path}: holds another painter than {RECIPE_FILE}; one of them was changed: put it back, or train again "
            "with --overwrite"
        ) from error
    return painter.to(device).eval().requires_grad_(False)
