"""Arrays on disk, mapped into memory: written row by row, gone on with after a stop, hashed, and read at random."""

from __future__ import annotations

import hashlib
import mmap
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from semivae.errors import DataError
from semivae.text import in_gigabytes

RESERVE = 2**27  # bytes of a disk that are left free

MappedArray = np.memmap[Any, np.dtype[Any]]


def refuse_full_disk(folder: Path, needed: int, kept: Iterable[Path], what: str, advice: str) -> None:
    """Refuses to begin what the disk cannot hold.

    Args:
        folder: where the arrays go.
        needed: their bytes.
        kept: files of theirs that a stopped attempt has left, which are gone on with.
        what: what they hold, with its verb: "features take".
        advice: what else may be done than to free some of the disk.

    Raises:
        DataError: the disk is too small.
    """
    there = sum(512 * path.stat().st_blocks for path in kept)  # a new array has its size at once, but no blocks
    free = shutil.disk_usage(folder).free
    if needed - there + RESERVE > free:
        raise DataError(
            f"{what} {in_gigabytes(needed)} in {folder}, but {in_gigabytes(free)} are free there; free some, {advice}"
        )


def created_array(path: Path, shape: Sequence[int], dtype: DTypeLike) -> tuple[MappedArray, bool]:
    """Returns an array on disk to write to, and whether an attempt that was stopped has left it; else it is new."""
    with suppress(OSError, ValueError):
        found: MappedArray = np.load(path, mmap_mode="r+")
        if found.shape == tuple(shape) and found.dtype == dtype:
            return found, True
    new: MappedArray = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=tuple(shape))
    return new, False


def file_digest(path: Path) -> str:
    """Returns the SHA-256 (hex) of a file's bytes. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
