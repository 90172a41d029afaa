"""Commands that end with one message, as those of `semivae` do."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from semivae.cli.showing import complain
from semivae.errors import RecipeError, SemivaeError


@contextmanager
def user_errors() -> Iterator[None]:
    """Shows an error as one message and exits with the status that the `semivae` command has for it."""
    try:
        yield
    except SemivaeError as error:
        complain(str(error))
        raise typer.Exit(2 if isinstance(error, RecipeError) else 1) from None
    except KeyboardInterrupt:
        complain("stopped; what is done is kept. The same command continues: " + command_line(sys.orig_argv))
        raise typer.Exit(130) from None


def command_line(words: Sequence[str]) -> str:
    """The command that this process was started with, from `sys.orig_argv`, for a shell.

    `sys.argv` does not serve: for `python -m benchmarks.accuracy` it holds the path of a file that cannot be run.
    """
    return shlex.join(["python", *words[1:]])
