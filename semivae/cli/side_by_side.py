"""Independent runs beside each other, one on each device: the seeds of `semivae train --seeds 0..4 --devices 4`."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from semivae.cli.launching import end, environment, forwarded, start
from semivae.errors import RunError
from semivae.text import either

LAST_LINES = 4  # of what a run that failed has written


@dataclass
class Running:
    """One run in a process of its own.

    Attributes:
        name: what it is called in front of its lines.
        device: the number of its device.
        process: the process.
        answer: a file with its report.
        lines: what it has written to stderr so far.
        reader: the thread that reads these lines.
    """

    name: str
    device: str
    process: subprocess.Popen[str]
    answer: IO[str]
    lines: list[str]
    reader: threading.Thread


def run_side_by_side(
    commands: Mapping[str, Sequence[str]], devices: Sequence[str], show: Callable[[str], None]
) -> dict[str, Any]:
    """Runs `semivae WORDS --json` for each name, one on each device at a time; returns the reports by name.

    Args:
        commands: the words of each run's command, by its name.
        devices: the numbers of the devices; on a CPU, as many runs as there are numbers share its cores.
        show: called with every line that a run writes to stderr, its name in front.

    Raises:
        RunError: a run has failed; the others have ended before that is said.
        KeyboardInterrupt: after all of them have stopped and written their checkpoints.
    """
    waiting, free = list(commands.items()), list(devices)
    running: list[Running] = []
    reports: dict[str, Any] = {}
    failed: dict[str, str] = {}
    with contextlib.ExitStack() as stack, forwarded(lambda: [run.process for run in running]) as stopped:
        stack.callback(lambda: end([run.process for run in running]))
        while waiting or running:
            while waiting and free and not stopped.is_set():
                name, words = waiting.pop(0)
                running.append(_started(name, words, free.pop(0), len(devices), show, stack))
            for run in [run for run in running if run.process.poll() is not None]:
                running.remove(run)
                free.append(run.device)
                run.reader.join()
                run.answer.seek(0)
                if run.process.returncode:
                    failed[run.name] = " ".join(run.lines[-LAST_LINES:]) or f"exit status {run.process.returncode}"
                else:
                    reports[run.name] = json.loads(run.answer.read())
            if stopped.is_set() and not running:
                raise KeyboardInterrupt
            time.sleep(0.05)
    if failed:
        reasons = "\n".join(f"- {name}: {reason}" for name, reason in failed.items())
        raise RunError(
            f"{len(failed)} of {len(commands)} runs {either(len(failed), 'has', 'have')} failed; the others are "
            f"kept:\n{reasons}"
        )
    return {name: reports[name] for name in commands}


def _started(
    name: str,
    words: Sequence[str],
    device: str,
    beside: int,
    show: Callable[[str], None],
    stack: contextlib.ExitStack,
) -> Running:
    answer: IO[str] = stack.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115 (the stack closes it)
    streams = {"stdout": answer, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    process = start([*words, "--json"], environment([device], beside), **streams)
    lines: list[str] = []
    stderr = process.stderr
    assert stderr is not None

    def read() -> None:
        with stderr:
            for line in filter(str.strip, stderr):
                lines.append(line.rstrip())
                show(f"{name}: {lines[-1]}")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    return Running(name, device, process, answer, lines, reader)
