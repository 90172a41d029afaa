"""Several shards in one process, one after the other between two of their meetings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore
from typing import TypeVar

import torch
from torch import Tensor

from semivae.parallel.shards import Exchange, Shard

Result = TypeVar("Result")


class _AbandonedError(Exception):
    """Ends the task of a shard when that of another one has failed."""


class Lockstep:
    """Runs a task for several shards. Where they exchange rows, each waits until all have come as far.

    Each shard has a thread, as its task must stop in the midst of the method; only one of them runs at a time, in the
    order of the shards, so that the result does not depend on how fast they are.

    Args:
        shards: of this process, in order.
        exchange: how the rows of all of them meet those of other processes.
    """

    def __init__(self, shards: Sequence[Shard], exchange: Exchange) -> None:
        self.shards, self.exchange = shards, exchange
        self._threads = ThreadPoolExecutor(len(shards), "shard")
        self._turns = [Semaphore(0) for _ in shards]
        self._back = Semaphore(0)
        self._given: dict[int, Tensor] = {}
        self._whole: Tensor | None = None
        self._abandoned = False
        for place, shard in enumerate(shards):
            shard.exchange = self._meeting(place)

    def run(self, task: Callable[[Shard], Result]) -> list[Result]:
        """Returns what the task returns for each shard. What it raises for one is raised here, and ends the others."""
        self._abandoned = False
        running = [self._threads.submit(self._work, place, task) for place in range(len(self.shards))]
        try:
            while any(not future.done() for future in running):
                self._advance(running)
        finally:
            self._abandoned = True
            for place, future in enumerate(running):
                if not future.done():
                    self._turns[place].release()
                    self._back.acquire()
            self._given.clear()
        return [future.result() for future in running]

    def _advance(self, running: Sequence[Future[Result]]) -> None:
        """Lets every shard go on until it has something to exchange, or is done."""
        for place, future in enumerate(running):
            self._turns[place].release()
            self._back.acquire()
            if place not in self._given:
                future.result()  # raises what the task has raised
        if not self._given:
            return
        if len(self._given) < len(running):
            raise RuntimeError("not all shards exchange something: their tasks differ")
        self._whole = self.exchange(torch.cat([self._given[place] for place in range(len(running))]))
        self._given.clear()

    def _work(self, place: int, task: Callable[[Shard], Result]) -> Result:
        self._turns[place].acquire()
        try:
            if self._abandoned:
                raise _AbandonedError
            with self.shards[place].active():
                return task(self.shards[place])
        finally:
            self._back.release()

    def _meeting(self, place: int) -> Exchange:
        def meet(own: Tensor) -> Tensor:
            self._given[place] = own
            with self.shards[place].paused():
                self._back.release()
                self._turns[place].acquire()
            if self._abandoned or self._whole is None:
                raise _AbandonedError
            return self._whole

        return meet
