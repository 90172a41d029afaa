"""Many image files, decoded a piece at a time: the next piece in a thread, while the one before is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import (
    ADVICE,
    Picture,
    Pictures,
    each_picture,
    is_image,
    unreadable_text,
    why_no_image,
)
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.formats.remarks import remarks
from semivae.data.inputs.reading import Reading
from semivae.errors import DataError

PIECE = 512  # files; as many as the network reads at a time


class Pieces:
    """The image files of a folder or a .zip, as `Images.read` reads them, but never all at a time.

    Iterate once over the pieces, uint8 [n, channels, height, width]; then `reading` says what they were.

    Args:
        path: the folder or .zip.
        preprocessing: how files become images.
        skip_unreadable: pass over files that cannot be read, and name them.
    """

    def __init__(self, path: Path, preprocessing: Preprocessing, skip_unreadable: bool) -> None:
        self.path, self.preprocessing, self.skip_unreadable = path, preprocessing, skip_unreadable
        self._found = Pictures(torch.zeros(0, *preprocessing.shape, dtype=torch.uint8), [], [], [])
        self._others: dict[str, str] = {}

    def __iter__(self) -> Iterator[Tensor]:
        """Yields the pieces. Raises DataError after the last one where files cannot be read, with all their names."""
        with open_files(self.path) as files, ThreadPoolExecutor(1, "reader") as reader:
            names = [name for name in files.names if is_image(name)]
            self._others = {name: why_no_image(name) for name in files.names if not is_image(name)}
            parts = [names[start : start + PIECE] for start in range(0, len(names), PIECE)]
            waiting = reader.submit(self._read, files, parts[0]) if parts else None
            for place in range(len(parts)):
                assert waiting is not None
                piece = waiting.result()
                if place + 1 < len(parts):
                    waiting = reader.submit(self._read, files, parts[place + 1])
                if len(piece):
                    yield piece
            unreadable = self._found.unreadable
            if unreadable and (not self.skip_unreadable or not self._found.names):
                advice = f"{ADVICE}, or pass over them (--skip-unreadable)"
                raise DataError(f"{unreadable_text(files, unreadable, len(names))}. {advice}")

    def reading(self) -> Reading:
        """Returns what was read, but for the images themselves; call it after the last piece."""
        found = self._found
        notes = remarks([found], self.preprocessing)
        return Reading(
            found.pixels, found.names, found.sizes, self.preprocessing.fit, found.unreadable, self._others, notes
        )

    def _read(self, files: Files, names: Sequence[str]) -> Tensor:
        pixels = torch.empty(len(names), *self.preprocessing.shape, dtype=torch.uint8)

        def keep(row: int, picture: Picture) -> Picture:
            pixels[row] = torch.from_numpy(picture.pixels.copy())
            return picture

        kept = []
        for row, met in enumerate(each_picture(files, names, self.preprocessing, keep)):
            if isinstance(met, str):
                self._found.unreadable[names[row]] = met
                continue
            kept.append(row)
            self._found.names.append(names[row])
            self._found.sizes.append(met.size)
            self._found.levels.append(met.levels)
        return pixels if len(kept) == len(names) else pixels[kept]


def pieces_of(path: Path, preprocessing: Preprocessing, skip_unreadable: bool) -> Pieces | None:
    """Returns the images of a folder or .zip in pieces; None where there are so few that one piece holds them."""
    if not path.is_dir() and path.suffix.lower() != ".zip":
        return None
    with open_files(path) as files:
        if sum(is_image(name) for name in files.names) <= PIECE:
            return None
    return Pieces(path, preprocessing, skip_unreadable)
