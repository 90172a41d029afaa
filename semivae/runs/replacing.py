"""Replacing a run by a new one: the old one is set aside, and put back unless the new one makes a step.

The files move through three folders inside that of the run. Each state can be told from the others after a kill:

    .semivae-moving     some files of the old run are here, the others in the folder; the new run has none yet
    .semivae-replaced   the old run is here, whole; the folder holds the new one
    .semivae-dropped    the new run has made a step; what is left here of the old one may go

Only folders that hold nothing but files of a run count as such a folder, and only such files are ever deleted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from semivae.errors import RunError
from semivae.runs.folder import OF_A_RUN, being_written, not_writable, only_writer

MOVING, REPLACED, DROPPED = ".semivae-moving", ".semivae-replaced", ".semivae-dropped"


def set_aside(folder: Path) -> Path | None:
    """Returns where the old run is, until a new one has made a step; None if nothing is set aside."""
    for name in (REPLACED, MOVING):
        if _is_ours(folder / name) and any((folder / name).iterdir()):
            return folder / name
    return None


def refuse_set_aside(folder: Path) -> None:
    """Raises RunError, with the place of the old run, where it is set aside."""
    aside = set_aside(folder)
    if aside is not None:
        state = "has made no step yet" if being_written(folder) else "was killed before its first step"
        raise RunError(
            f"{folder}: the training that was to replace this run {state}; the old run is in {aside}, and the next "
            f"training command for {folder} puts it back"
        )


def put_back(folder: Path) -> bool:
    """Puts back a run that a killed training had set aside; returns whether there was one.

    While another training writes to the folder, nothing is done.

    Raises:
        RunError: the folder cannot be written.
    """
    if set_aside(folder) is None or being_written(folder):
        return False
    with only_writer(folder):
        return _put_back(folder)


@contextmanager
def replacing(folder: Path) -> Iterator[Callable[[], None]]:
    """Sets the run in a folder aside, nothing else that is there; yields a function that deletes it for good.

    If training fails before that was called, the run is put back: a mistake in the new one must not cost the old one.
    Call it as the only writer.

    Raises:
        RunError: the folder cannot be written, or holds something else under a name that is needed.
    """
    for name in (MOVING, REPLACED, DROPPED):
        if os.path.lexists(folder / name) and not _is_ours(folder / name):
            raise RunError(
                f"{folder / name}: is in the way: the run that is replaced is set aside under this name; move it away"
            )
    try:
        _put_back(folder)
        (folder / MOVING).mkdir()
        _move(folder, folder / MOVING)
        os.replace(folder / MOVING, folder / REPLACED)
    except OSError as error:
        raise not_writable(folder, error) from error
    try:
        yield partial(drop_replaced, folder)
    except BaseException:
        _put_back(folder)
        raise
    drop_replaced(folder)


def drop_replaced(folder: Path) -> None:
    """Deletes a run that was set aside, if there is one."""
    with suppress(OSError):
        if _is_ours(folder / REPLACED):
            os.replace(folder / REPLACED, folder / DROPPED)
        _clear(folder / DROPPED)


def _put_back(folder: Path) -> bool:
    replaced, moving = folder / REPLACED, folder / MOVING
    with suppress(OSError):
        _clear(folder / DROPPED)
    try:
        if _is_ours(replaced):
            _remove(folder)
            os.replace(replaced, moving)  # from now on, all files that are in the folder are the old run's
        if not _is_ours(moving):
            return False
        _move(moving, folder)
        moving.rmdir()
    except OSError as error:
        raise not_writable(folder, error) from error
    return True


def _is_ours(place: Path) -> bool:
    """Returns whether a place is a folder, no link, that holds nothing but files of a run."""
    try:
        return not place.is_symlink() and place.is_dir() and all(path.name in OF_A_RUN for path in place.iterdir())
    except OSError:
        return False


def _clear(place: Path) -> None:
    if _is_ours(place):
        _remove(place)
        place.rmdir()


def _move(source: Path, target: Path) -> None:
    for name in OF_A_RUN:
        if os.path.lexists(source / name):
            os.replace(source / name, target / name)


def _remove(folder: Path) -> None:
    for name in OF_A_RUN:
        (folder / name).unlink(missing_ok=True)
