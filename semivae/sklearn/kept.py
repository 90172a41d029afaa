"""A trained run as the bytes of its files, which an estimator holds in memory and pickles."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from semivae.api import Run, load
from semivae.runs.checkpoint import read_checkpoint, write_checkpoint

NEEDED = ("game.decoder.", "game.encoder_average.")  # of a checkpoint; the rest is for training on
LAST = "last.safetensors"
Files = Mapping[str, bytes]


def train_in_memory(train: Callable[[Path], Run]) -> tuple[Run, Files]:
    """Returns what `train` makes in a folder of its own, which is then removed, and the files that lay there."""
    with tempfile.TemporaryDirectory(prefix="semivae-") as folder:
        run = train(Path(folder) / "run")
        tensors, facts = read_checkpoint(run.path / LAST)
        write_checkpoint(run.path / LAST, {n: t for n, t in tensors.items() if n.startswith(NEEDED)}, facts)
        files = {file.name: file.read_bytes() for file in run.path.iterdir() if not file.name.startswith(".")}
        return _detached(run), files


def open_run(files: Files, device: str) -> Run:
    """Returns the run that files are."""
    with tempfile.TemporaryDirectory(prefix="semivae-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return _detached(load(folder, device=device))


def _detached(run: Run) -> Run:
    """The run once it needs its folder no more: with its encoding, and without the data that it learnt from."""
    assert run.encoding is None or run.encoding.columns  # reads it
    return run.with_data(None)
