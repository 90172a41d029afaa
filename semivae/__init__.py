"""Semi-supervised learning with labels in the latent space of a variational autoencoder.

    >>> import semivae
    >>> print(semivae.inspect("images"))                    # what is there, and what training would refuse
    >>> run = semivae.train("digits_50labels", out="runs/digits")
    >>> run.predict(images)                                 # class numbers, (n,)
    >>> run.sample(16, y=3)["x"]                            # sixteen generated threes, (16, 1, 8, 8)
    >>> run = semivae.load("runs/digits")

`train` trains the model of a recipe (a YAML file, or the name of a shipped one) and returns a `Run`; `load` opens one;
a `Run` classifies, generates, imputes, finds what is novel, and exports. `semivae.sklearn` has estimators for
scikit-learn, `semivae.extending` registers networks, families, teachers and games of your own, and `semivae.errors`
holds the errors that tell a user what to mend. The command `semivae --help` lists the same from a terminal.
"""

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


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})  # what is imported late too, for help() and completion
