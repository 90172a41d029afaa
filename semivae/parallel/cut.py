"""How the batches of a training are cut into shards, and which of them this process computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from semivae.parallel.lockstep import Lockstep
from semivae.parallel.shards import WHOLE, Shard
from semivae.parallel.world import ALONE, World

Result = TypeVar("Result")


class Cut:
    """The shards of all batches; each process computes equally many, those beside each other.

    Args:
        world: this process among the others.
        shards: into how many parts batches are cut, so that the result is the same bit by bit for every number of
            processes; 1 for as many as there are processes, with a result that is the same to rounding.
        device: where this process computes.

    Raises:
        ValueError: the shards cannot be shared out evenly to the processes.
    """

    def __init__(self, world: World = ALONE, shards: int = 1, device: torch.device | None = None) -> None:
        self.world, self.in_order = world, shards > 1
        self.count = shards if self.in_order else world.size
        if self.count % world.size:
            raise ValueError(f"{shards} shards cannot be shared out evenly to {world.size} processes")
        if self.count == 1:
            self.own: Sequence[Shard] = (WHOLE,)
            return
        here = self.count // world.size
        self.own = [
            Shard(world.rank * here + place, self.count, place == 0, device, world.gather) for place in range(here)
        ]
        self._lockstep = Lockstep(self.own, world.gather) if here > 1 else None

    def each(self, task: Callable[[Shard], Result]) -> list[Result]:
        """Returns what a task returns for each shard of this process, inside which that shard is the current one."""
        if self.count == 1:
            return [task(WHOLE)]
        if self._lockstep is not None:
            return self._lockstep.run(task)
        with self.own[0].active():
            return [task(self.own[0])]
