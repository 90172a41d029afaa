"""Reads a .mat file and writes its arrays as .npy: a program of its own, run by `mat.py` on files that nobody knows.

It imports nothing of semivae, and so starts fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MEMORY, SECONDS = 2**32, 300  # that it may take


def arrays_of(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """The arrays `names` of a .mat file. Raises ValueError where it cannot be read, or lacks an array of numbers."""
    import numpy as np
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=list(names))
    except Exception as error:  # scipy raises a dozen kinds, by the byte that is wrong
        raise ValueError(str(error) or type(error).__name__) from error
    for name in names:
        if name not in content:
            raise ValueError(f"it has no array {name}")
        if not isinstance(content[name], np.ndarray) or content[name].dtype.kind not in "biuf":
            raise ValueError(f"{name} is no array of numbers")
    return {name: content[name] for name in names}


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows has none; the patience of the process that waits is the limit there
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main(path: str, folder: str, *names: str) -> int:
    _limit()
    import numpy as np

    try:
        for name, array in arrays_of(Path(path), names).items():
            np.save(Path(folder, f"{name}.npy"), array)
    except (ValueError, OSError, MemoryError) as error:
        sys.stderr.write(f"{error or type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
