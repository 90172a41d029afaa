"""Arrays on disk: written row by row, mapped into memory, and hashed."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

BLOCK = 2**24  # bytes that are hashed at once

MappedArray = np.memmap[Any, np.dtype[Any]]


def created_array(path: Path, shape: Sequence[int], dtype: DTypeLike) -> MappedArray:
    """Returns an array on disk to write to: the one of a packing that was stopped, else a new one."""
    with suppress(OSError, ValueError):
        found: MappedArray = np.load(path, mmap_mode="r+")
        if found.shape == tuple(shape) and found.dtype == dtype:
            return found
    new: MappedArray = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=tuple(shape))
    return new


def opened_array(path: Path) -> Tensor:
    """Returns an array that stays on disk; rows are read when they are used. Writing to it changes memory alone.

    Raises:
        OSError, ValueError: there is no such array, or it is not whole.
    """
    array = np.load(path, mmap_mode="c")  # c: nothing writes, but torch wants what it may write to
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)  # else every row reads its neighbours too
    return torch.from_numpy(array)


def file_digest(path: Path) -> str:
    """Returns the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class StoredTexts(Sequence[str]):
    """Many texts in a file, a JSON string a line, read one at a time.

    Args:
        path: the file, as `write_texts` wrote it; the place of each line lies beside it.
    """

    def __init__(self, path: Path) -> None:
        self._lines = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        self._ends = np.load(_ends_of(path), mmap_mode="r")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        place = range(len(self))[index]
        start = int(self._ends[place - 1]) if place else 0
        return json.loads(self._lines[start : int(self._ends[place])].tobytes())


def write_texts(path: Path, texts: Sequence[str]) -> None:
    """Writes texts for `StoredTexts`."""
    ends = np.empty(len(texts), np.int64)
    with path.open("wb") as file:
        for place, text in enumerate(texts):
            file.write(json.dumps(text).encode() + b"\n")
            ends[place] = file.tell()
    np.save(_ends_of(path), ends)


def _ends_of(path: Path) -> Path:
    return path.with_suffix(".ends.npy")
