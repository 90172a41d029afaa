"""semivae: semi-supervised learning with labels in the latent space of a variational autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from semivae.run import Run
    from semivae.training import train

__version__ = "0.1.0"
__all__ = ["Run", "load", "train"]


def load(path: str | Path, checkpoint: str = "last", **options: Any) -> Run:
    """Opens a run's folder. See `semivae.run.Run.load`."""
    from semivae.run import Run

    return Run.load(path, checkpoint, **options)


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, so what needs it is imported when it is asked for
    if name == "train":
        from semivae.training import train

        return train
    if name == "Run":
        from semivae.run import Run

        return Run
    raise AttributeError(f"module semivae has no attribute {name!r}")
