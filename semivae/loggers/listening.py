"""Hands what a training reports on to loggers; what fails there is warned of once, and never ends a training."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from semivae.data.inputs.inputs import inputs_of
from semivae.errors import DataWarning
from semivae.files import write_whole
from semivae.generative.grids import grid_pixels
from semivae.loggers.logger import AboutRun, Logger, Picture, flat, loggers_of
from semivae.runs.folder import LOGGERS_FILE, kept_recipe
from semivae.training.progress import Progress, Report

LOG = logging.getLogger("semivae")


@contextmanager
def logged(asked: Sequence[str | Logger], folder: Path, report: Report | None) -> Iterator[Report | None]:
    """Yields what a training reports to, so that loggers hear of it too; `report` itself where there are none.

    Args:
        asked: loggers, by name or objects of the protocol `Logger`.
        folder: of the run that is trained.
        report: who else hears of it.

    Raises:
        RunError: no such logger, or its package is not installed; before training.
    """
    loggers = loggers_of(asked)
    if not loggers:
        yield report
        return
    listeners = [Listening(logger, folder) for logger in loggers]

    def tell(progress: Progress) -> None:
        failures = [failure for listener in listeners if (failure := listener(progress))]
        if report is not None:
            report(progress)
            for failure in failures:
                report(replace(progress, message=failure))
        elif progress.message:
            warnings.warn(progress.message, DataWarning, stacklevel=2)

    finished = False
    try:
        yield tell
        finished = True
    finally:
        for listener in listeners:
            listener.end(finished)


class Listening:
    """One logger with what the run's folder keeps of it: its id, and the last step that it was given, by phase."""

    def __init__(self, logger: Logger, folder: Path) -> None:
        self.logger, self.folder = logger, folder
        self.started = self.failed = False
        self.logged: dict[str, int] = {}

    def __call__(self, progress: Progress) -> str:
        """Hands a validation on; returns what went wrong, once, or an empty text."""
        return self._guarded(lambda: self._hear(progress))

    def end(self, finished: bool) -> None:
        """Ends the tracker's run."""
        if self.started:
            self._guarded(lambda: self.logger.end(finished))

    def _guarded(self, act: Callable[[], None]) -> str:
        if self.failed:
            return ""
        try:
            act()
        except Exception as error:  # whatever a tracker or its server does, training goes on
            self.failed = True
            text = f"{self.logger.name} fails ({type(error).__name__}: {error}); nothing more is logged there"
            LOG.warning("%s", text)
            return text
        return ""

    def _hear(self, progress: Progress) -> None:
        if not self.started and (progress.about_data or progress.row is not None):  # the folder holds the run by then
            self._start()
        if progress.row is None or progress.step <= self.logged.get(progress.phase, -1):
            return  # a run that is resumed measures again what it measured before it was stopped
        found = numbers_of(progress.row).items()
        self.logger.numbers(
            progress.step, {f"{progress.phase}/{key.replace('.', '/', 1)}": value for key, value in found}
        )
        if (pixels := picture_of(progress)) is not None:
            self.logger.picture(progress.step, f"{progress.phase}/samples", pixels)
        self.logged[progress.phase] = progress.step
        self._keep()

    def _start(self) -> None:
        kept = read_kept(self.folder).get(self.logger.name, {})
        settings = kept_recipe(self.folder).model_dump(mode="json")
        name, known = self.folder.resolve().name, kept.get("id")
        self.id = self.logger.start(AboutRun(name, self.folder, settings, known if isinstance(known, str) else None))
        self.started = True
        logged = kept.get("logged")
        self.logged = dict(logged) if isinstance(logged, dict) else {}
        self._keep()

    def _keep(self) -> None:
        content = read_kept(self.folder) | {self.logger.name: {"id": self.id, "logged": self.logged}}
        write_whole(self.folder / LOGGERS_FILE, json.dumps(content, indent=1) + "\n")


def read_kept(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns what a run's folder keeps of its loggers, by name; nothing where the file is missing or damaged."""
    try:
        content = json.loads((folder / LOGGERS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = content.items() if isinstance(content, dict) else ()
    return {key: value for key, value in entries if isinstance(value, dict)}


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers in a row of metrics, by their paths: {"losses.decoder.labelled.x": 81.2}."""
    wanted = {key: value for key, value in row.items() if key != "step"}
    return {
        key: float(value)
        for key, value in flat(wanted).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def picture_of(progress: Progress) -> Picture | None:
    """Returns a grid of the decoder's samples; None where the validation gives none, or no images."""
    means = progress.samples() if progress.samples is not None else None
    if means is None:
        return None
    inputs = inputs_of(tuple(means.shape[1:]))
    shown = inputs.are_images and inputs.shape[0] in (1, 3)
    return grid_pixels(inputs.as_shown(means)) if shown else None
