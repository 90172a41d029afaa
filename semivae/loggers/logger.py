"""The protocol of a logger, and the loggers that have a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from semivae.errors import RunError
from semivae.text import join_names

Picture = NDArray[np.uint8]  # [height, width, 3]
PROJECT = "semivae"  # of trackers that group runs
# the name of a logger, which is that of its module here and of its extra -> the package that it needs
PACKAGES: Mapping[str, str] = {
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "trackio": "trackio",
    "wandb": "wandb",
}


@dataclass(frozen=True)
class AboutRun:
    """What a logger gets when a training starts or goes on.

    Attributes:
        name: of the run, such as "digits_50labels".
        folder: where the run is.
        settings: the recipe as plain values.
        id: what `Logger.start` returned when the training was started; None where it starts now.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    id: str | None = None


@runtime_checkable
class Logger(Protocol):
    """Where the measurements of a training go. What it raises is warned of once, and ends the logging alone."""

    @property
    def name(self) -> str:
        """The name under which the run's folder keeps the id."""
        ...

    def start(self, about: AboutRun) -> str:
        """Starts a run of the tracker, or goes on with the one called `about.id`; returns its id."""
        ...

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Takes what a validation measured, such as {"model/validation_error": 0.03}."""
        ...

    def picture(self, step: int, name: str, pixels: Picture) -> None:
        """Takes a picture, such as a grid of the decoder's samples."""
        ...

    def end(self, finished: bool) -> None:
        """Ends the tracker's run; `finished` is False if training was stopped or failed."""
        ...


def loggers_of(asked: Sequence[str | Logger]) -> list[Logger]:
    """Returns loggers by name or as they are; a name that is given twice counts once.

    Raises:
        RunError: an unknown name, a package that is not installed, or an object that is no `Logger`.
    """
    given = [asked] if isinstance(asked, str) else list(asked)  # a text is a sequence of texts too
    if bad := [each for each in given if isinstance(each, type) or not isinstance(each, str | Logger)]:
        raise RunError(
            f"{bad[0]!r} is no logger: it lacks one of name, start, numbers, picture and end "
            "(semivae.loggers.logger.Logger); give an object that has them all, not its class"
        )
    names = dict.fromkeys(each for each in given if isinstance(each, str))
    return [*map(named, names), *(each for each in given if not isinstance(each, str))]


def named(name: str) -> Logger:
    """Returns the logger of a name. Raises RunError where there is none, or its package is not installed."""
    if name not in PACKAGES:
        raise RunError(
            f"there is no logger {name}; choose {join_names(list(PACKAGES))}, or give one of your own in Python"
        )
    if find_spec(PACKAGES[name]) is None:
        raise RunError(f"logging to {name} needs the package {PACKAGES[name]}; pip install 'semivae[{name}]'")
    logger: Logger = import_module(f"semivae.loggers.to_{name}").TheLogger()
    return logger


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested values by paths: {"training": {"steps": 5}} as {"training.steps": 5}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return found
