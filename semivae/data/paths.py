"""Where data live."""

from __future__ import annotations

import os
from pathlib import Path


def data_root(option: str | Path | None = None, kept: Path | None = None) -> Path:
    """`option` if given; else where a run's data were, `kept`, if that is a folder still; else the environment
    variable SEMIVAE_DATA; else the folder data of the working directory.
    """
    if not option and kept is not None and kept.is_dir():
        return kept
    return Path(option or os.environ.get("SEMIVAE_DATA") or "data").expanduser()


def resolve(path: str, root: Path) -> Path:
    """A path as written in a recipe: absolute, with ~ for the home folder, or starting at `root`."""
    return root / Path(path).expanduser()
