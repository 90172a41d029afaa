"""Folders of many large pictures: packed when they are first read, as decoding them takes minutes each time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from semivae.data.dataset import Dataset
from semivae.data.formats.file_trees import open_files
from semivae.data.formats.image_files import THREADS_PAY, is_image
from semivae.data.formats.preprocessing import preprocessing_of
from semivae.data.packed.pictures import Tell, pack_pictures, packed_bytes
from semivae.data.packed.store import is_packed, read_packed, settings_of
from semivae.recipe.schema import FolderSource
from semivae.text import count_of, either, in_gigabytes

LOG = logging.getLogger("semivae")
FOLDER = "packed"  # below the data root
LARGE = 2**28  # bytes of picture files from which on they are packed


def packed_once(source: FolderSource, path: Path, root: Path, tell: Tell) -> Dataset | None:
    """Returns the pictures of a folder as they were packed below the data root; packs them first if they are large.

    Args:
        source: the recipe's section.
        path: its path, made absolute.
        root: the data root.
        tell: called with the place and the size before packing begins, then with how far it is.

    Returns:
        The data set; None where packing would gain nothing, or nothing can be written below the data root.

    Raises:
        DataError: as `semivae.data.packed.pictures.pack_pictures`.
    """
    stated = list(_stated(path))
    pictures = [size for name, size, _ in stated if is_image(name)]
    total = sum(pictures)
    if total < LARGE or total < THREADS_PAY * len(pictures):
        return None
    key = hashlib.sha256(json.dumps([settings_of(source), stated]).encode()).hexdigest()
    folder = root / FOLDER / f"{path.name}-{key[:16]}"
    if not is_packed(folder):
        if not _writable(folder):
            LOG.info("%s: pictures are decoded each time, as nothing can be written there", folder)
            return None
        size = packed_bytes(len(pictures), preprocessing_of(source))
        counted = count_of(len(pictures), "picture", "pictures")
        tell(
            f"{counted} ({in_gigabytes(total)}) {either(len(pictures), 'is', 'are')} decoded once and packed into "
            f"{folder}, which "
            f"takes {in_gigabytes(size)}; later commands read them there, and you may delete it at any time"
        )
        pack_pictures(source, path, folder, tell)
    return read_packed(source, folder)


def _stated(path: Path) -> Iterator[tuple[str, int, int]]:
    """Names, sizes and times of all files of a folder; of a .zip those of the archive alone."""
    if path.is_file():
        stat = path.stat()
        yield f"{path.name}.jpg", stat.st_size, stat.st_mtime_ns
        return
    with open_files(path) as files:
        for name in files.names:
            try:
                stat = (path / name).stat()
            except OSError:  # named when it is read
                yield name, 0, 0
            else:
                yield name, stat.st_size, stat.st_mtime_ns


def _writable(folder: Path) -> bool:
    above = next(place for place in folder.parents if place.exists())
    return os.access(above, os.W_OK)
