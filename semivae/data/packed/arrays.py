"""Many texts in a file, which are read one at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semivae.errors import DataError


class StoredTexts(Sequence[str]):
    """Many texts in a file, a JSON string a line, read one at a time.

    Args:
        path: the file, as `write_texts` wrote it; the place of each line lies beside it.
        advice: what to do where a line cannot be read, for the DataError that is raised then.
    """

    def __init__(self, path: Path, advice: str) -> None:
        self._path, self._advice = path, advice
        self._lines = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        self._ends = np.load(_ends_of(path), mmap_mode="r")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        place = range(len(self))[index]
        start = int(self._ends[place - 1]) if place else 0
        try:
            text = json.loads(self._lines[start : int(self._ends[place])].tobytes())
        except ValueError as error:
            raise DataError(f"{self._path}: line {place + 1} is damaged ({error}); {self._advice}") from error
        if not isinstance(text, str):
            raise DataError(f"{self._path}: line {place + 1} holds no text; {self._advice}")
        return text


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
