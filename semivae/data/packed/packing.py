"""`semivae pack`: the data of a recipe as arrays on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from semivae.data.packed.pictures import PROGRESS_FILE, Tell, pack_pictures
from semivae.data.packed.store import LOCK_FILE, NAMES_FILE, finish_packing, is_packed, only_packer
from semivae.data.readers.masks import palette_files, read_masks
from semivae.errors import DataError
from semivae.recipe.schema import FolderSource, MasksSource, Source

OURS = {LOCK_FILE, NAMES_FILE, PROGRESS_FILE}


def pack(source: Source, path: Path, folder: Path, tell: Tell) -> None:
    """Packs a user's pictures, or pictures and masks, into a folder that recipes name as `source.path` in their place.

    Args:
        source: the recipe's section.
        path: its path, made absolute.
        folder: where the arrays go; an interrupted packing goes on there.
        tell: called with how far it is.

    Raises:
        DataError: another kind of source; the folder holds something else, or packed data; or as the readers say.
    """
    if not isinstance(source, FolderSource | MasksSource):
        raise DataError(
            f"source: {source.name} is read in seconds and not packed; folder and masks, whose files are decoded, are"
        )
    if is_packed(path):
        raise DataError(f"{path} is packed already; name it as source.path")
    if is_packed(folder):
        raise DataError(f"{folder}: holds packed data; remove it, or choose another folder")
    if folder.is_dir() and any(not _ours(place) for place in folder.iterdir()):
        raise DataError(f"{folder}: holds other files; choose a new folder")
    try:
        if isinstance(source, FolderSource):
            pack_pictures(source, path, folder, tell)
            return
        dataset = read_masks(source, path)  # scaled, all of them fit into memory on the way
        with only_packer(folder):
            finish_packing(folder, dataset, source)
            for name in palette_files(source):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path / name, folder / name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error}); choose another place") from error


def _ours(place: Path) -> bool:
    return place.name in OURS or place.suffix == ".npy"
