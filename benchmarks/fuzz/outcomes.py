"""What becomes of one input: it is accepted, or refused with a typed error; anything else is a fault of semivae."""

from __future__ import annotations

import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, Protocol

import PIL
import typer
from typer.testing import CliRunner

from semivae.cli import app
from semivae.errors import DataWarning, RecipeError, SemivaeError

PILLOW = Path(PIL.__file__).parent
LONGEST_MESSAGE = 20_000  # characters
SECONDS = 20.0  # of the processor that one input may take


class Kind(Protocol):
    """A kind of input."""

    name: str

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        """Writes an input into an empty folder and returns what gives it to semivae.

        All that is random comes from `draw`, so that seed, kind and number repeat it.
        """


@dataclass(frozen=True)
class Outcome:
    """Args:
    word: "accepted", "refused", or the kind of the fault.
    detail: the message or the traceback.
    """

    word: str
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        return self.word not in ("accepted", "refused")


class TooSlowError(BaseException):
    """Ends an input that takes longer than `SECONDS`; no `except Exception` holds it."""


def outcome_of(action: Callable[[], None]) -> Outcome:
    """Runs an action in this process and says what became of it."""
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        try:
            with _within(SECONDS):
                action()
            found = Outcome("accepted")
        except SemivaeError as error:
            found = _refusal(str(error))
        except TooSlowError:
            return Outcome("too slow", traceback.format_exc())
        except Exception as error:
            return Outcome(type(error).__name__, traceback.format_exc())
    strange = [note for note in noted if not issubclass(note.category, DataWarning) and not _is_of_pillow(note)]
    if strange:
        return Outcome("stray warning", "\n".join(f"{note.filename}:{note.lineno}: {note.message}" for note in strange))
    return found


def _is_of_pillow(note: warnings.WarningMessage) -> bool:
    """Whether Pillow says itself that it passes over a damaged tag of a file."""
    return note.category is UserWarning and PILLOW in Path(note.filename).parents


def _refusal(message: str) -> Outcome:
    if not message.strip():
        return Outcome("no message")
    if len(message) > LONGEST_MESSAGE:
        return Outcome("endless message", message)
    return Outcome("refused", message)


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def end(_number: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def command(words: Sequence[str]) -> None:
    """Runs `semivae WORDS` in this process.

    Raises:
        RecipeError: it ended with status 2.
        SemivaeError: it ended with status 1.
        AssertionError: it ended otherwise, or without a word to say why.
        Exception: what it would have shown as a traceback.
    """
    status, output = _ended(words)
    assert status in (0, 1, 2), f"exit status {status}: {output}"
    assert "Traceback" not in output, output
    if status:
        assert output.strip(), f"exit status {status}, and no word"
        raise (RecipeError if status == 2 else SemivaeError)(output)


def _ended(words: Sequence[str]) -> tuple[object, str]:
    """The exit status of a command, and what it printed. Raises what it would have shown as a traceback."""
    with CliRunner().isolation() as (*_, both):
        try:
            _commands().main(list(words), prog_name="semivae")
            status: object = 0
        except SystemExit as ended:
            status = ended.code or 0
        return status, both.getvalue().decode("utf-8", "replace")


@cache
def _commands() -> Any:
    """The tree of commands, which `CliRunner.invoke` would build for each input: more than half of the time."""
    return typer.main.get_command(app)
