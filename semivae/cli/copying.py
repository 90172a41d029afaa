"""Copies of chosen image files, in folders for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from semivae.cli.writing import write_file
from semivae.errors import DataError, RunError

OF_WINDOWS = '<>:"|?*\\/'  # what names of folders may not hold everywhere


def check_copies(folder: Path, images: Path) -> None:
    """Refuses a folder that holds anything, one among the images, and images that are no files."""
    if images.is_file() and images.suffix.lower() != ".zip":
        raise DataError(f"{images} is no folder or .zip of image files, so nothing can be copied; leave out --copy-to")
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: this is a file; give the name of a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise RunError(f"{folder}: exists and is not empty; choose another folder, nothing is ever copied over files")
    if folder.resolve().is_relative_to(images.resolve()):
        raise RunError(f"{folder}: lies in {images}, whose images it would double; choose a folder outside")


def names_a_folder(label: str) -> bool:
    """Whether a class can be a folder on every system, and one that is read as a class."""
    return (
        label.isprintable()
        and label != ""
        and label == label.strip(" .")
        and not any(sign in label for sign in OF_WINDOWS)
    )


def places_in(folders: Sequence[str] | None, names: Sequence[str], instead: str) -> list[str]:
    """Where each file is copied: FOLDER/NAME, or NAME without folders; numbered in front where two names are equal.

    Args:
        folders: one for each file; None: no folders.
        names: of the files, each perhaps with the folders that it lies in.
        instead: what the user can do where a class can be no folder.

    Raises:
        RunError: the name of a folder is none on every system.
    """
    files: Sequence[str] = [PurePosixPath(name).name for name in names]
    if len({file.lower() for file in files}) < len(files):
        files = [f"{number}-{file}" for number, file in enumerate(files)]
    if folders is None:
        return list(files)
    if bad := [folder for folder in folders if not names_a_folder(folder)]:
        raise RunError(f"{bad[0]!r} can be no folder; {instead}")
    return [f"{folder}/{file}" for folder, file in zip(folders, files, strict=True)]


def copy_files(images: Path, names: Sequence[str], folder: Path, places: Sequence[str]) -> None:
    """Copies files of a folder or .zip, byte for byte; none is written over another.

    Raises:
        RunError: a file has gone meanwhile, or cannot be written.
    """
    from semivae.data.formats.file_trees import open_files

    with open_files(images) as files:
        for name, place in zip(names, places, strict=True):
            try:
                content = files.read(name)
            except (OSError, ValueError) as error:
                raise RunError(f"{images}: {name} cannot be copied: {error}; give the command again") from None
            if (folder / place).exists():
                raise RunError(f"{folder / place}: exists; choose another folder, nothing is ever copied over files")
            write_file(folder / place, content)
