"""Many image files, decoded a piece at a time: the next piece in a thread, while the one before is used."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from semivae.data.ahead import one_ahead
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import (
    ADVICE,
    Picture,
    Pictures,
    Use,
    each_picture,
    is_image,
    unreadable_text,
    why_no_image,
)
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.formats.remarks import remarks
from semivae.data.inputs.examples import Examples, split_rows
from semivae.data.inputs.reading import Reading
from semivae.errors import DataError

PIECE = 512  # files; as many as the network reads at a time


class Pieces:
    """The image files of a folder or a .zip, as `Images.read` reads them, a piece at a time.

    Iterate over the pieces, [n, *shape]; then `reading` says what they were. Once they were all read, those that are
    kept may be iterated over again and picked by row; others may be iterated over once.

    Args:
        path: the folder or .zip.
        preprocessing: how files become images.
        skip_unreadable: pass over files that cannot be read, and name them.
        use: makes of a piece, uint8 [n, channels, height, width], what is yielded of it; None: it itself.
        kept: whether all pieces stay in memory.
    """

    def __init__(
        self,
        path: Path,
        preprocessing: Preprocessing,
        skip_unreadable: bool = False,
        use: Use | None = None,
        kept: bool = False,
    ) -> None:
        self.path, self.preprocessing, self.skip_unreadable = path, preprocessing, skip_unreadable
        self.use, self.kept = use, kept
        self._found = Pictures(torch.zeros(0, *preprocessing.shape, dtype=torch.uint8), [], [], [])
        self._others: dict[str, str] = {}
        self._whole: Tensor | None = None
        self._stopped = threading.Event()

    def __iter__(self) -> Iterator[Tensor]:
        """Yields the pieces. Raises DataError after the last one where files cannot be read, with all their names."""
        if self._whole is not None:
            yield self._whole
            return
        parts = []
        for piece in self._read_all():
            part = piece if self.use is None else self.use(piece)
            if self.kept and self.use is not None:
                parts.append(part)
            yield part
        if self.kept:
            self._whole = torch.cat(parts) if self.use is not None else self._found.pixels

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Returns some of the examples, once all pieces were read and kept."""
        return self.whole[rows]

    @property
    def whole(self) -> Tensor:
        """All examples, [n, *shape], once all pieces were read and kept."""
        assert self._whole is not None, "kept pieces are read to their end before rows of them are looked at"
        return self._whole

    @property
    def examples(self) -> Pieces:
        """They themselves, as `Reading.examples` is what was read at once."""
        return self

    @property
    def names(self) -> list[str]:
        """The names of what was read so far."""
        return self._found.names

    def reading(self) -> Reading:
        """Returns what was read, with the examples if they are kept; call it after the last piece."""
        found = self._found
        notes = remarks([found], self.preprocessing)
        values = found.pixels if self._whole is None else self._whole
        return Reading(values, found.names, found.sizes, self.preprocessing.fit, found.unreadable, self._others, notes)

    def _read_all(self) -> Iterator[Tensor]:
        with open_files(self.path) as files:
            names = [name for name in files.names if is_image(name)]
            self._others = {name: why_no_image(name) for name in files.names if not is_image(name)}
            parts = [names[start : start + PIECE] for start in range(0, len(names), PIECE)]
            room: list[Tensor | None] = [None] * len(parts)
            if self.kept and self.use is None:
                self._found.pixels = torch.empty(len(names), *self.preprocessing.shape, dtype=torch.uint8)
                room = list(torch.split(self._found.pixels, PIECE))
            with closing(one_ahead(partial(self._read, files), zip(parts, room, strict=True))) as pieces:
                try:
                    yield from (piece for piece in pieces if len(piece))
                finally:
                    self._stopped.set()
            unreadable = self._found.unreadable
            if unreadable and self.kept and self.use is None:
                rows = [row for row, name in enumerate(names) if name not in unreadable]
                self._found.pixels = self._found.pixels[rows]
            if unreadable and (not self.skip_unreadable or not self._found.names):
                advice = f"{ADVICE}, or pass over them (--skip-unreadable)"
                raise DataError(f"{unreadable_text(files.place, unreadable, len(names))}. {advice}")

    def _read(self, files: Files, wanted: tuple[Sequence[str], Tensor | None]) -> Tensor:
        """Returns the pixels of some files, which are written to where there is room for them."""
        names, room = wanted
        pixels = torch.empty(len(names), *self.preprocessing.shape, dtype=torch.uint8) if room is None else room

        def keep(row: int, picture: Picture) -> Picture:
            if self._stopped.is_set():
                raise InterruptedError("nobody waits for the rest of this piece")
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


AnyExamples = Tensor | Examples | Pieces


def in_batches(examples: AnyExamples, size: int) -> Iterator[Tensor | Examples]:
    """Yields the rows in parts of `size`, the last one of fewer, wherever pieces end."""
    if not isinstance(examples, Pieces):
        yield from split_rows(examples, size)
        return
    left: Tensor | None = None
    for piece in examples:
        rows = piece if left is None else torch.cat([left, piece])
        whole = len(rows) // size * size
        for start in range(0, whole, size):
            yield rows[start : start + size]
        left = rows[whole:] if whole < len(rows) else None
    if left is not None:
        yield left


def pieces_of(
    path: Path, preprocessing: Preprocessing, skip_unreadable: bool, use: Use | None = None, kept: bool = False
) -> Pieces | None:
    """Returns the images of a folder or .zip in pieces; None where there are so few that one piece holds them."""
    if not path.is_dir() and path.suffix.lower() != ".zip":
        return None
    with open_files(path) as files:
        if sum(is_image(name) for name in files.names) <= PIECE:
            return None
    return Pieces(path, preprocessing, skip_unreadable, use, kept)
