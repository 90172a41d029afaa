"""Where several processes train one recipe: what is refused before anything is written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from semivae.data.dataset import Dataset
from semivae.data.splits import Split
from semivae.errors import RecipeError, RunError
from semivae.parallel.cut import Cut
from semivae.parallel.world import World
from semivae.recipe import Recipe, dump_recipe
from semivae.runs.folder import is_run_folder


def cut_of(recipe: Recipe, world: World, device: torch.device) -> Cut:
    """Returns how a recipe's batches are cut for these processes.

    Raises:
        RecipeError: the shards cannot be shared out evenly to the processes, or the examples of a batch to the shards.
    """
    shards = recipe.training.shards
    if shards > 1 and shards % world.size:
        even = [str(number) for number in range(1, shards + 1) if shards % number == 0]
        raise RecipeError(
            f"training.shards: {shards} parts of a batch cannot be shared out evenly to {world.size} processes; start "
            f"{' or '.join(even)}"
        )
    cut = Cut(world, shards, device)
    parts = f"training.shards: {shards}" if shards > 1 else f"{world.size} processes"
    for name, stream in recipe.streams.items():
        if over := stream.batch % cut.count:
            below, above = stream.batch - over, stream.batch - over + cut.count
            near = f"{below} or {above}" if below else f"{above}"
            raise RecipeError(
                f"streams.{name}.batch: {stream.batch} examples cannot be cut into {cut.count} equal parts ({parts}); "
                f"write {near}"
            )
    return cut


def refuse_other_data(world: World, recipe: Recipe, dataset: Dataset, split: Split) -> None:
    """Raises RunError in all processes where one of them has another recipe, other data or another split."""
    if world.size == 1:
        return
    content = f"{dump_recipe(recipe)}{dataset.digest}{dataset.digest_beside()}{split.digest}"
    found = world.objects(hashlib.sha256(content.encode()).hexdigest())
    others = [str(rank) for rank, digest in enumerate(found) if digest != found[0]]
    if others:
        raise RunError(
            f"process {' and '.join(others)} (counted from 0) reads another recipe, other data or another split than "
            "the first; give all nodes the same files"
        )


def refuse_hidden(world: World, folder: Path) -> None:
    """Raises RunError in all processes where one of them does not see the folder that the first has written."""
    with world.together():
        if not is_run_folder(folder):
            raise RunError(
                f"{folder.absolute()}: process {world.rank} (counted from 0) does not see what the first one has "
                "written there; choose a folder with --out that all nodes share"
            )
