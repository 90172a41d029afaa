"""What is printed: people get text and tables, programs one JSON object, and errors go to stderr."""

from __future__ import annotations

import errno
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from semivae.errors import DataWarning
from semivae.text import Nouns, count_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO}  # what may keep an output from being written while work can go on


def console(to_stderr: bool = False, outlived: bool = False) -> Console:
    """Returns what prints to standard output, or to stderr; work that `outlived` it goes on where its disk is full.

    Texts are shown as they are: names of classes and files hold brackets, and `recipe.yaml:100:` is no emoji.
    """
    from rich.console import Console

    class Output(Console):
        lost = False  # whether something could not be written

        def _check_buffer(self) -> None:
            try:
                super()._check_buffer()
            except OSError as error:
                if not outlived or error.errno not in FULL:
                    raise
                self.lost = True
                del self._buffer[:]
                self.on_broken_pipe()
                with suppress(OSError):  # stderr may be full too
                    note(f"standard {'error' if to_stderr else 'output'}: {error.strerror}; training goes on unseen")

        def on_broken_pipe(self) -> None:
            """Lets the work go on in silence when the reader has gone, where rich would end it."""
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    plain_width = None if (sys.stderr if to_stderr else sys.stdout).isatty() or "COLUMNS" in os.environ else 120
    return Output(stderr=to_stderr, highlight=False, markup=False, emoji=False, width=plain_width)


def complain(message: str) -> None:
    """Prints an error to stderr, in red where there are colours; a list of mistakes starts on a new line."""
    from rich.console import Console

    shown = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    shown.print("error:", style="red", end="\n" if "\n" in message else " ")
    shown.print(message)


def note(message: str, what: str = "note") -> None:
    """Prints to stderr what is worth knowing but no error, so that it never mixes with a report."""
    from rich.console import Console

    Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True).print(f"{what}: {message}")


@contextmanager
def data_warnings() -> Iterator[None]:
    """Sends warnings about data to stderr, each time, in a line of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, DataWarning):
                note(str(message), "warning")
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


def lost_output(shown: Console) -> bool:
    """Returns whether a console that work outlives could not write all that it was given."""
    return bool(getattr(shown, "lost", False))


def say(message: str) -> None:
    console().print(message, soft_wrap=True)


def reply(report: Mapping[str, Any], as_json: bool, shown: Console, *parts: RenderableType) -> None:
    """Prints a report as one JSON object, or its parts for people."""
    if as_json:
        print(json.dumps(report, default=str))
        return
    for part in parts:
        if isinstance(part, str):
            shown.print(part, soft_wrap=True)
        else:
            shown.print(part)


def result_tables(report: Mapping[str, Any]) -> list[RenderableType]:
    """Returns an evaluation's main figures, and where the run is."""
    from semivae.cli.kinds import shown_as
    from semivae.cli.tables import nouns_of

    where = "; ".join([f"The run is in {report['run']}", *report.get("history", ())])
    tables = shown_as(report["kind"]).results(report)
    for name, further in report.get("further_labels", {}).items():
        if further["count"]:
            whole = {"split": report["split"], "nouns": nouns_of(report), **further}
            tables += [f"{name}:", *shown_as(further["kind"]).results(whole)]
        else:
            tables.append(f"{name}: no example that is measured on shows it")
    return [*tables, where]


def classifier_lines(facts: Mapping[str, Any], nouns: Nouns) -> list[str]:
    """Returns lines about the steps after the encoder: temperature, vote, prior."""
    lines = []
    if facts["calibrated_on"]:
        vote = f", the decoder's vote weighed {facts['strength']:.3g}" if facts["draws"] else ""
        lines.append(
            f"temperature {facts['temperature']:.3g}{vote}: least NLL on "
            f"{count_of(facts['calibrated_on'], *nouns, before='validation')}"
        )
    if "prior" in facts:
        shown = [f"{name} {share:.1%}" for name, share in list(facts["prior"].items())[:20]]
        how = (
            f" (estimated, {count_of(facts['estimate']['steps'], 'step', 'steps')} of EM)"
            if "estimate" in facts
            else ""
        )
        lines.append(f"prior{how}: {', '.join(shown)}{', ...' if len(facts['prior']) > len(shown) else ''}")
    if "estimate" in facts and not facts["estimate"]["settled"]:
        lines.append(f"the prior has not settled: {facts['estimate']['gap']:.2g} nats may be missing to its maximum")
    return lines
