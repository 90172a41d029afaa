"""The public face: `Run`, a trained run with all that can be done with it, `load`, `train` and `inspect`."""

from __future__ import annotations

from semivae.api.run import Run
from semivae.api.training import load, train
from semivae.inspection.inspecting import inspect

__all__ = ["Run", "inspect", "load", "train"]
