"""Files that a command leaves: never over another one unasked, and whole or not at all."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from semivae.errors import RunError
from semivae.files import refuse_occupied, write_whole


def check_target(path: Path | None, overwrite: bool, *endings: str, hint: str = "") -> None:
    """Refuses a file that cannot or may not be written, before any work is done for it."""
    if path is None:
        return
    if endings and path.suffix.lower() not in endings:
        raise typer.BadParameter(f"{path} must end in {', '.join(endings)}", param_hint="--out")
    refuse_occupied(path, overwrite, hint or "choose another name, or replace it with --overwrite")


def check_target_folder(folder: Path, overwrite: bool) -> None:
    """Refuses a folder that holds anything, unless its files may be replaced."""
    if not folder.is_dir():
        check_target(folder, False, hint="give the name of a folder")
    elif any(folder.iterdir()) and not overwrite:
        raise RunError(
            f"{folder}: exists and is not empty; choose another folder, or replace its files with --overwrite"
        )


def make_folder(folder: Path) -> None:
    """Makes a folder and all above it, where they do not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: the folder cannot be made: {error.strerror}; choose another one") from None


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an .npz file, whole or not at all."""
    import numpy as np

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:  # np.savez takes no array called `file`
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    write_file(path, data.getvalue())


def csv_bytes(header: Collection[object], rows: Iterable[Iterable[object]], unreadable: Iterable[str] = ()) -> bytes:
    """Returns a .csv file in UTF-8; names of files keep the bytes that they have on the disk, which may be others.

    Args:
        header: the names of the columns.
        rows: the cells.
        unreadable: names of files that could not be read, which follow with empty cells.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    writer.writerows([name, *[""] * (len(header) - 1)] for name in unreadable)
    return text.getvalue().encode("utf-8", "surrogateescape")


def write_file(path: Path, data: bytes) -> None:
    """Writes a file, whole or not at all."""
    try:
        write_whole(path, data)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
