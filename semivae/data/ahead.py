"""Reading beside computing: what is used next is read in a thread, while what was read before is used."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

Wanted = TypeVar("Wanted")
Value = TypeVar("Value")

LARGE = 2**30  # bytes of an array, of which a part may have to come from the disk


def one_ahead(read: Callable[[Wanted], Value], wanted: Iterable[Wanted]) -> Generator[Value, None, None]:
    """Yields `read(each)` in order; while one is used, the next is read, and no more than that.

    Raises what reading raised, after everything before it was yielded. A read that goes on when the iterator is closed
    is waited for.
    """
    with ThreadPoolExecutor(1, "reader") as reader:
        waiting: Future[Value] | None = None
        for each in wanted:
            following = reader.submit(read, each)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def is_slow(array: Tensor, device: torch.device) -> bool:
    """Whether parts of an array may come from a disk or from another device's memory, and are worth a thread."""
    return array.device.type != device.type or array.nbytes > LARGE
