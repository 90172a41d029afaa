"""Where data live."""

from __future__ import annotations

import os
from pathlib import Path

from semivae.errors import DataError


def data_root(option: str | Path | None = None, kept: Path | None = None) -> Path:
    """`option` if given; else where a run's data were, `kept`, if that is a folder still; else the environment
    variable SEMIVAE_DATA; else the folder data of the working directory.

    Raises:
        DataError: a name of a user's home folder that there is not, or a path that the system cannot look up.
    """
    if not option and kept is not None and kept.is_dir():
        return kept
    return reachable(expanded(option or os.environ.get("SEMIVAE_DATA") or "data"))


def resolve(path: str, root: Path) -> Path:
    """A path as written in a recipe: absolute, with ~ for the home folder, or starting at `root`.

    Raises:
        DataError: as `data_root`.
    """
    return reachable(root / expanded(path))


def expanded(path: str | Path) -> Path:
    """Returns a path with ~ for the home folder. Raises DataError for a name of a home folder that there is not."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{path}: there is no home folder of this name; write the whole path") from error


def reachable(path: Path) -> Path:
    """Returns `path`, whether or not there is anything.

    Raises:
        DataError: the system cannot say so: the path is too long, or in a folder that may not be entered.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        shown = str(path) if len(str(path)) < 200 else f"{str(path)[:200]}..."
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{shown} cannot be looked up ({reason}); correct the path") from error
    return path
