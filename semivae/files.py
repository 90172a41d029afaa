"""Writing files whole or not at all, and never over another one unasked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semivae.errors import RunError, SemivaeError


def temporary_of(path: Path) -> Path:
    """Returns the name under which `whole_file` writes: what is left of it where the process is killed meanwhile."""
    return path.with_name(f".{path.stem}.writing{path.suffix}")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`, with its ending; what is written there is moved to `path` at the end.

    Folders above are made.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(path)
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # of new files here; some libraries make files that others may not read
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # where its name is too long, so is this one's
            temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file in one move, text as UTF-8. Raises OSError where it cannot be written."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def refuse_occupied(
    path: Path,
    overwrite: bool,
    advice: str = "choose another name, or allow overwriting",
    error: type[SemivaeError] = RunError,
) -> None:
    """Raises an error where a file cannot or may not be written; call it before long work.

    Args:
        path: the file to be written.
        overwrite: whether a file that exists may be replaced.
        advice: what to do about one that exists.
        error: its type.
    """
    above = next((folder for folder in path.absolute().parents if folder.exists()), None)
    if above is not None and not above.is_dir():
        raise error(f"{path}: {above} is a file, not a folder; choose another place")
    if path.is_dir():
        raise error(f"{path}: this is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise error(f"{path}: exists; {advice}")
