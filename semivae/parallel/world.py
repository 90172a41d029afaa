"""The processes that train one model together, one for each device (torch.distributed).

They are started by `torchrun`, `semivae train --devices`, Ray Train or anything else that sets RANK, WORLD_SIZE,
MASTER_ADDR and MASTER_PORT. Without these there is one process, for which nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from semivae import errors
from semivae.errors import LostProcessError, RunError, SemivaeError

PATIENCE = timedelta(hours=12)  # of a process for the others, which may decode pictures for hours; a lost one shows
CHUNK = 2**22  # numbers of each shard that are summed in one go, so that little memory is taken
Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0; the first one writes and shows.
        size: how many there are.
        local_rank: its number on its node.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def gather(self, own: Tensor) -> Tensor:
        """Returns the rows of all processes, [size * n, ...], in their order, given this one's, [n, ...].

        Raises:
            LostProcessError: another process has ended.
        """
        if self.size == 1:
            return own
        # as bytes: not every backend knows every type
        sent = own.contiguous().reshape(-1).view(torch.uint8)
        parts = [torch.empty_like(sent) for _ in range(self.size)]
        with self._reached():
            dist.all_gather(parts, sent)
        return torch.cat([part.view(own.dtype).view(own.shape) for part in parts])

    def sum(self, own: Tensor, in_order: bool) -> Tensor:
        """Returns the sum over all shards of numbers, [numbers], given those of this process, [shards, numbers].

        Args:
            own: float32.
            in_order: whether they are added in the order of the shards, so that every number of processes gives the
                same bits, at more cost.

        Raises:
            LostProcessError: another process has ended.
        """
        if not in_order:
            total = own.sum(dim=0)
            if self.size > 1:
                with self._reached():
                    dist.all_reduce(total)
            return total
        return torch.cat([_sum_in_order(self.gather(part.contiguous())) for part in torch.split(own, CHUNK, dim=1)])

    def agree(self, value: int) -> bool:
        """Returns whether a number is the same in all processes."""
        return self.size == 1 or len(set(self.objects(value))) == 1

    def of_first(self, value: Value) -> Value:
        """Returns the first process's value in all."""
        given: Value = self.objects(value)[0]
        return given

    def objects(self, own: Any) -> list[Any]:
        """Returns the value of every process, by rank."""
        found = [own] * self.size
        if self.size > 1:
            with self._reached():
                dist.all_gather_object(found, own)
        return found

    @contextmanager
    def together(self) -> Iterator[None]:
        """Inside, an error for the user in one process is raised in all, in which it is of the same type."""
        error: SemivaeError | None = None
        try:
            yield
        except SemivaeError as raised:
            if self.size == 1:
                raise
            error = raised
        if self.size == 1:
            return
        found = self.objects(None if error is None else (type(error).__name__, str(error)))
        if error is not None:
            raise error
        for name, text in filter(None, found):
            raise getattr(errors, name, RunError)(text)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Inside, the first process of a node comes before its others, which then find what it has downloaded."""
        if self.local_rank > 0:
            self.objects(None)
        try:
            yield
        finally:
            if self.local_rank == 0:
                self.objects(None)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise LostProcessError(
                f"process {self.rank} of {self.size} (counted from 0) has lost the others: one has ended, and its own "
                f"message says why, or cannot be reached ({reason}). The last checkpoint is kept; go on with --resume, "
                "with as many processes as you like"
            ) from error


ALONE = World()


def world_asked() -> World:
    """Returns this process as its environment describes it, whether or not the processes have met.

    Raises:
        RunError: the environment is not whole.
    """
    if dist.is_available() and dist.is_initialized():
        local = int(os.environ.get("LOCAL_RANK", dist.get_rank()))
        return World(dist.get_rank(), dist.get_world_size(), local)
    size = os.environ.get("WORLD_SIZE", "1")
    if size == "1":
        return ALONE
    try:
        rank = int(os.environ["RANK"])
        return World(rank, int(size), int(os.environ.get("LOCAL_RANK", rank)))
    except (KeyError, ValueError):
        raise RunError(
            f"WORLD_SIZE is {size}, but RANK is {os.environ.get('RANK', 'not set')}: start several processes with "
            "torchrun or semivae train --devices, or unset WORLD_SIZE"
        ) from None


@contextmanager
def joined_world(device: torch.device) -> Iterator[World]:
    """Lets the processes meet; inside, they can speak to each other. Those that have met already stay so.

    Args:
        device: where this process computes: GPUs speak by nccl, CPUs by gloo.

    Raises:
        RunError: the environment is not whole, or the others cannot be reached.
    """
    world = world_asked()
    if world.size == 1 or dist.is_initialized():
        yield world
        return
    backend = "gloo"
    if device.type == "cuda":
        backend = "nccl"
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        where = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise RunError(
            f"process {world.rank} of {world.size} (counted from 0) does not reach the others at {where} "
            f"({str(error).strip().splitlines()[0]}); start all of them with the same address, of the first node"
        ) from error
    try:
        yield world
        world.objects(None)  # none leaves before all are done
    finally:
        dist.destroy_process_group()


def _sum_in_order(parts: Tensor) -> Tensor:
    """Returns the sum of parts [shards, numbers], added one after the other."""
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total
