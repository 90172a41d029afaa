"""semivae: semi-supervised learning with labels in the latent space of a variational autoencoder."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from semivae.version import __version__ as __version__

if TYPE_CHECKING:
    from semivae.api import Run, inspect, load, train

__all__ = ["Run", "inspect", "load", "train"]

logging.getLogger("semivae").addHandler(logging.NullHandler())  # nothing is printed unless the user asks for it


def __getattr__(name: str) -> Any:
    if name in __all__:  # torch takes seconds to import, so what needs it is imported when it is asked for
        return getattr(import_module("semivae.api"), name)
    raise AttributeError(f"module semivae has no attribute {name!r}")
