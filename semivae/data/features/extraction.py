"""Extraction: all pictures, once through the network for each pass, some at a time; it goes on where it was stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semivae.data.ahead import one_ahead
from semivae.data.features.network import AT_A_TIME, FeatureNetwork, as_pictures, ready
from semivae.data.features.pictures import Pictures
from semivae.data.features.store import TYPE, Pass, Store
from semivae.data.formats.mapped_arrays import MappedArray, created_array, refuse_full_disk
from semivae.data.views import View
from semivae.errors import DataError
from semivae.files import write_whole
from semivae.seeds import seed_for
from semivae.text import count_of, in_gigabytes

STANDARDISED_BY = 2048  # pictures, evenly spread over those to train on
PROGRESS_FILE = "progress.json"
EVERY = 15.0  # seconds between two reports, and between two records of how far it is

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What to extract.

    Args:
        what: the network's variable and name, for messages.
        network: the network; its standardisation is set here where the store has none.
        pictures: all of them, those to train on first.
        drawn: how many of them, from the first, are trained on, with labels or without: they get random draws of views,
            and from them the standardisation is taken.
        passes: all that is wanted.
        device: where the network computes.
    """

    what: str
    network: FeatureNetwork
    pictures: Pictures
    drawn: int
    passes: Sequence[Pass]
    device: torch.device

    def rows(self, one: Pass) -> int:
        """How many pictures a pass takes."""
        return len(self.pictures) if one.view is None else self.drawn


def extract(job: Job, store: Store, tell: Tell) -> None:
    """Computes the passes that a store lacks, and says before how long it will take and how much disk.

    Raises:
        DataError: the disk is too small or cannot be written, or a picture cannot be read.
    """
    missing = [one for one in job.passes if not store.has(one)]
    if not missing and (job.network.fitted or store.read_scale(job.network)):
        return
    size = sum(job.rows(one) for one in missing) * job.network.size * np.dtype(TYPE).itemsize
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        advice = "ask for fewer draws, or choose another place for data (--data-root)"
        refuse_full_disk(store.folder, size, store.folder.glob("*.writing.npy"), "features take", advice)
        if not job.network.fitted and not store.read_scale(job.network):
            _fit(job)
        if not store.has_scale():
            store.write_scale(job.network)
        _run(job, missing, store, size, tell)
    except OSError as error:
        raise DataError(f"{store.folder}: features cannot be written ({error.strerror or error})") from error


def _fit(job: Job) -> None:
    """Standardises the network's features by pictures that are evenly spread over those to train on.

    Raises:
        DataError: there are fewer pictures than components asked for.
    """
    count = min(STANDARDISED_BY, job.drawn)
    if job.network.basis is not None and count < job.network.size:
        raise DataError(
            f"{job.what}: {job.network.size} components cannot be told from "
            f"{count_of(count, 'picture', 'pictures')}; write components: {count} or fewer"
        )
    rows = [row * job.drawn // count for row in range(count)]
    raw = []

    def read(some: Sequence[int]) -> Tensor:
        return torch.cat([job.pictures.read(range(row, row + 1)) for row in some])

    with ready(job.network, job.device):
        for chunk in one_ahead(read, [rows[start : start + AT_A_TIME] for start in range(0, count, AT_A_TIME)]):
            raw.append(job.network.raw(as_pictures(chunk, job.device)).cpu())
    job.network.cpu().fit(torch.cat(raw))


def _run(job: Job, missing: Sequence[Pass], store: Store, size: int, tell: Tell) -> None:
    made = {one: created_array(store.writing(one), (job.rows(one), job.network.size), TYPE) for one in missing}
    arrays = {one: array for one, (array, _) in made.items()}
    progress = store.folder / PROGRESS_FILE
    whole = all(kept for _, kept in made.values())  # a record speaks of the arrays that were there
    first = _chunks_done(progress, missing, len(_starts(job, missing))) if whole else 0
    chunks = [range(start, min(start + AT_A_TIME, len(job.pictures))) for start in _starts(job, missing)]
    started = told = saved = time.monotonic()
    work = [sum(max(0, min(job.rows(one), rows.stop) - rows.start) for one in missing) for rows in chunks]
    with ready(job.network, job.device):
        pictures = one_ahead(job.pictures.read, chunks[first:])
        for number, (rows, images) in enumerate(zip(chunks[first:], pictures, strict=True), start=first):
            _one_chunk(job, arrays, rows, images, number)
            now, done = time.monotonic(), sum(work[first : number + 1])
            left = (now - started) / max(done, 1) * sum(work[number + 1 :])
            if number == first:
                passes = f"{len(missing)} times" if len(missing) > 1 else "once"
                tell(
                    f"{job.what}: {count_of(len(job.pictures), 'picture goes', 'pictures go')} {passes} through the "
                    f"network, about {_time(left)}; {in_gigabytes(size)} in {store.folder}, used "
                    "again by every later training"
                )
            elif now - told > EVERY:
                told = now
                tell(f"{job.what}: {rows.stop:,} of {len(job.pictures):,} pictures, about {_time(left)} left")
            if now - saved > EVERY:
                saved = now
                _save(progress, missing, arrays, number + 1)
    for array in arrays.values():
        array.flush()
    for one in missing:
        store.finish(one)
    progress.unlink(missing_ok=True)


def _starts(job: Job, missing: Sequence[Pass]) -> range:
    return range(0, max((job.rows(one) for one in missing), default=0), AT_A_TIME)


def _one_chunk(job: Job, arrays: dict[Pass, MappedArray], rows: range, images: Tensor, number: int) -> None:
    """Passes one chunk of pictures through the network, once for each array that has rows of it."""
    pictures = as_pictures(images, job.device)
    for one, array in arrays.items():
        count = max(0, min(job.rows(one), rows.stop) - rows.start)
        if not count:
            continue
        seen = pictures[:count]
        if one.view is not None:
            seed = seed_for("features", *one.seed_parts, number)
            generator = torch.Generator(job.device).manual_seed(seed)
            with torch.autocast(job.device.type, enabled=False):
                seen = View(one.view)(seen, generator).contiguous(memory_format=torch.channels_last)
        array[rows.start : rows.start + count] = job.network(seen).cpu().numpy().astype(TYPE)


def _chunks_done(progress: Path, missing: Sequence[Pass], most: int) -> int:
    """How many chunks, of at most so many, a stopped extraction of the same passes has finished."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(progress.read_text(encoding="utf-8"))
        if kept["passes"] == [one.name for one in missing] and 0 <= (chunks := int(kept["chunks"])) <= most:
            return chunks
    return 0


def _save(progress: Path, missing: Sequence[Pass], arrays: dict[Pass, MappedArray], chunks: int) -> None:
    """Records how far it is, after what it speaks of is on the disk."""
    for array in arrays.values():
        array.flush()
    text = json.dumps({"passes": [one.name for one in missing], "chunks": chunks})
    write_whole(progress, text)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
