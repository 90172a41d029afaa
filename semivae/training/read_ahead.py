"""Reading the batches of the next step while this one is computed, where they come from a disk or another memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ReadAhead(Generic[Value]):
    """What a function of the step returns, read in a thread one step ahead.

    Args:
        read: the function; it depends on the step alone.
    """

    def __init__(self, read: Callable[[int], Value]) -> None:
        self.read = read
        self._thread = ThreadPoolExecutor(1, "reader")
        self._next: tuple[int, Future[Value]] | None = None

    def at(self, step: int) -> Value:
        """Returns what was read for a step, and begins to read for the next one; raises what reading raised."""
        waiting = self._next[1] if self._next is not None and self._next[0] == step else None
        value = self.read(step) if waiting is None else waiting.result()
        self._next = step + 1, self._thread.submit(self.read, step + 1)
        return value
