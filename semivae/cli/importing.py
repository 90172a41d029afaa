"""Importing what commands compute with, torch above all, in less time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
