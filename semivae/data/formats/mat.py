"""MATLAB's .mat files: those that are known in this process, all others in a process of their own.

SciPy's reader is compiled, and a damaged file can end the process that it runs in.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from semivae.data.formats import mat_process
from semivae.data.inputs.pixels import Array

PATIENCE = 300  # seconds for a file


def load_mat(path: Path, names: Sequence[str], *, known: bool) -> dict[str, Array]:
    """The arrays `names` of a .mat file (version 5 to 7).

    Args:
        path: the file.
        names: the arrays that are needed; all others are passed over.
        known: its checksum is that of a file that can be read; else it is read in a process of its own.

    Raises:
        ValueError: it cannot be read, takes too much memory or time, or lacks an array of numbers.
    """
    if known:
        return mat_process.arrays_of(path, names)
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-P", mat_process.__file__, str(path.absolute()), scratch, *names]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread would count as memory
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment)
        except subprocess.TimeoutExpired as error:
            raise ValueError(f"reading it took more than {PATIENCE} seconds") from error
        if done.returncode < 0:
            raise ValueError(f"reading it broke the process that did so, signal {-done.returncode}")
        if done.returncode:
            raise ValueError((done.stderr.strip().splitlines() or ["no reason given"])[-1])
        return {name: np.load(Path(scratch, f"{name}.npy"), allow_pickle=False) for name in names}
