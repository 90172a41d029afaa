"""Importing what commands compute with, torch above all, in less time, and files of the user's own."""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from semivae.errors import RunError, SemivaeError
from semivae.text import shortened


@contextmanager
def kept_modules() -> Iterator[None]:
    """Imports modules that stay to the end without looking for garbage among them, now or later.

    The collector would look through their hundreds of thousands of objects again and again while they are made, and
    once more at the exit: a quarter of the time of a command that classifies one image.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def import_own(name: str) -> None:
    """Imports a file or a module of the user's, as `semivae.extending.import_file` does.

    Raises:
        RunError: there is none, or it fails; the message names the line.
    """
    from semivae.extending import import_file

    try:
        import_file(name)
    except SemivaeError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {shortened(str(getattr(error, 'msg', error)), 200)}"
        raise RunError(f"--import {name} fails{_line_of(error, name)}: {what}") from error


def _line_of(error: Exception, name: str) -> str:
    """Returns where in the user's file `error` came from, or where its syntax is wrong; "" for neither."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {error.filename}:{error.lineno}"
    path = os.path.abspath(name)  # as frames have it
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    own = frames or [frame for frame in traceback.extract_tb(error.__traceback__) if "<frozen" not in frame.filename]
    return f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
