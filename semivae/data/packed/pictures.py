"""Packing a folder of pictures: decoded in parallel, row by row onto the disk, and going on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from semivae.data.dataset import Dataset
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import ADVICE, Picture, Pictures, each_picture, unreadable_text
from semivae.data.formats.mapped_arrays import MappedArray, created_array, opened_array, refuse_full_disk
from semivae.data.formats.preprocessing import Preprocessing, preprocessing_of
from semivae.data.formats.remarks import remarks
from semivae.data.packed.store import finish_packing, only_packer, path_of, settings_of
from semivae.data.readers.arranging import arranged
from semivae.data.readers.folder import further_labels, held_out, label_doubts, label_info, label_values
from semivae.data.readers.parts import Labelled, Layout
from semivae.errors import DataError
from semivae.files import write_whole
from semivae.recipe.schema import FolderSource

AT_A_TIME = 256  # pictures between two records of how far it is
EVERY = 15.0  # seconds between two reports
REMARKED = 20_000  # pictures whose sizes and levels are looked at
PROGRESS_FILE = "progress.json"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Parts:
    """The files of each part of a folder, in the order of the arrays.

    Attributes:
        train: those to train on, the ones for validation last.
        test: those to test on.
        unlabelled: those without a class.
        validation: how many of the last of `train` are for validation.
        origin: how the test part came about (`Dataset.test_origin`).
    """

    train: Labelled
    test: Labelled
    unlabelled: Labelled
    validation: int
    origin: str

    @classmethod
    def of(cls, layout: Layout, share: float) -> Parts:
        unlabelled = [(name, "") for name in layout.unlabelled]
        val = layout.val or []
        if layout.test is not None:
            return cls([*layout.train, *val], layout.test, unlabelled, len(val), "given")
        kept, held = ([layout.train[row] for row in rows.tolist()] for rows in held_out(layout, share))
        return cls([*kept, *val], held, unlabelled, len(val), f"test split off by hash, {share:.0%}")


def pack_pictures(source: FolderSource, path: Path, folder: Path, tell: Tell) -> None:
    """Packs the pictures of a folder or a .zip, as `read_folder` reads them.

    Args:
        source: the recipe's section.
        path: its path, made absolute.
        folder: where the arrays go; what an interrupted packing of the same files has written there is kept.
        tell: called with what goes on: the size before it begins, then how far it is.

    Raises:
        DataError: as `read_folder`; or the disk is too small.
    """
    how = preprocessing_of(source)
    with open_files(path) as files, only_packer(folder):
        layout = arranged(files, source)
        parts = Parts.of(layout, source.test_share)
        shown = [name for name, _ in (*parts.train, *parts.unlabelled)]
        tested = [name for name, _ in parts.test]
        count = len(shown) + len(tested)
        what = f"{count:,} pictures of {how.height} x {how.width} take"
        advice = "choose another place, or make source.size smaller"
        refuse_full_disk(folder, packed_bytes(count, how), folder.glob("*x.npy"), what, advice)
        done = _Done(folder, _key(source, [*shown, *tested]))
        made = {
            "train": created_array(path_of(folder, "train", "x"), (len(shown), *how.shape), np.uint8),
            "test": created_array(path_of(folder, "test", "x"), (len(tested), *how.shape), np.uint8),
        }
        # a record speaks of the arrays that were there, and of no more pictures than there are
        if done.count > count or not all(kept for _, kept in made.values()):
            done.start_anew()
        arrays = {part: array for part, (array, _) in made.items()}
        looked = _decode(files, [*shown, *tested], how, arrays, done, tell)
        del arrays
        finish_packing(folder, _dataset(source, path, folder, layout, parts, remarks([looked], how)), source)
        done.forget()


def packed_bytes(count: int, how: Preprocessing) -> int:
    """Returns how many bytes so many pictures take."""
    return count * how.channels * how.height * how.width


def _dataset(
    source: FolderSource, path: Path, folder: Path, layout: Layout, parts: Parts, remarked: tuple[str, ...]
) -> Dataset:
    whole, test_x = opened_array(path_of(folder, "train", "x")), opened_array(path_of(folder, "test", "x"))
    count = len(parts.train)
    further, labels = further_labels(source, layout, [parts.train, parts.test, parts.unlabelled])
    train = {"x": whole[:count], "y": label_values(parts.train, layout), **further[0]}
    test = {"x": test_x, "y": label_values(parts.test, layout), **further[1]}
    unlabelled = {"x": whole[count:], **further[2]} if parts.unlabelled else {}
    names = {
        part: [name for name, _ in files]
        for part, files in (("train", parts.train), ("test", parts.test), ("unlabelled", parts.unlabelled))
    }
    known = count - parts.validation
    alone = {key: values[:known] for key, values in train.items()}
    called = names | {"train": names["train"][:known]}
    warnings = layout.warnings + layout.unused + remarked
    warnings += tuple(label_doubts(layout, alone, test, unlabelled, str(path), called))
    if parts.validation:
        val = {key: values[known:] for key, values in train.items()}
        of_val = called | {"test": names["train"][known:]}
        warnings += tuple(label_doubts(layout, alone, val, {}, str(path), of_val, "validation"))
    return Dataset(
        f"folder:{path.name}",
        label_info(layout) | labels,
        train,
        test,
        unlabelled,
        warnings,
        parts.origin,
        validation=torch.arange(known, count) if layout.val is not None else None,
        names=tuple(names["train"]),
    )


class _Done:
    """How many pictures a packing has decoded, and which it could not read; kept where it is stopped.

    Args:
        folder: where it is kept.
        key: of what is packed; the record of something else does not count.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path, self.key = folder / PROGRESS_FILE, key
        self.count = 0
        self.unreadable: dict[str, str] = {}
        self.recorded = 0  # when, in nanoseconds since 1970
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            if kept["key"] == key:
                self.count, self.unreadable = max(0, int(kept["count"])), dict(kept["unreadable"])
                self.recorded = self.path.stat().st_mtime_ns

    def start_anew(self) -> None:
        self.count, self.unreadable = 0, {}

    def is_stale(self, files: Files, name: str) -> bool:
        """Whether a file could not be read, or was changed since the record was written."""
        place = files.place if files.place.is_file() else files.place / name
        with suppress(OSError):
            return name in self.unreadable or place.stat().st_mtime_ns > self.recorded
        return True

    def save(self) -> None:
        write_whole(self.path, json.dumps({"key": self.key, "count": self.count, "unreadable": self.unreadable}))

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def _key(source: FolderSource, names: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([settings_of(source), names]).encode()).hexdigest()


def _decode(
    files: Files,
    names: Sequence[str],
    how: Preprocessing,
    arrays: dict[str, MappedArray],
    done: _Done,
    tell: Tell,
) -> Pictures:
    """Writes the rows that are missing; returns what the first pictures were."""
    shown, first, started = len(arrays["train"]), done.count, time.monotonic()
    looked = Pictures(torch.zeros(0), [], [], [])
    told = started
    if first:
        tell(f"going on after {first:,} of {len(names):,} pictures")
    again = [row for row in range(first) if done.is_stale(files, names[row])]
    done.unreadable.clear()

    def decode(rows: Sequence[int]) -> None:
        def keep(place: int, picture: Picture) -> Picture:
            row = rows[place]
            array, row = (arrays["train"], row) if row < shown else (arrays["test"], row - shown)
            array[row] = picture.pixels
            return picture

        chunk = [names[row] for row in rows]
        for name, met in zip(chunk, each_picture(files, chunk, how, keep), strict=True):
            if isinstance(met, str):
                done.unreadable[name] = met
            elif len(looked.names) < REMARKED:
                looked.names.append(name)
                looked.sizes.append(met.size)
                looked.levels.append(met.levels)

    if again:
        decode(again)  # perhaps they were repaired
    for start in range(first, len(names), AT_A_TIME):
        rows = range(start, min(start + AT_A_TIME, len(names)))
        decode(rows)
        done.count = rows.stop
        now = time.monotonic()
        if now - told > EVERY:
            told = now
            for array in arrays.values():
                array.flush()  # before the record says that they are there
            done.save()
            left = (now - started) / (done.count - first) * (len(names) - done.count)
            tell(f"{done.count:,} of {len(names):,} pictures, about {max(1, round(left / 60))} min left")
    for array in arrays.values():
        array.flush()
    done.save()
    if done.unreadable:
        raise DataError(f"{unreadable_text(files.place, done.unreadable, len(names))}. {ADVICE}")
    return looked
