"""Independent runs beside each other, one on each device: the seeds of `semivae train --seeds 0..4 --devices 4`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import IO, Any

from semivae.cli.launching import has_gpu, threads_each, visible
from semivae.errors import RunError

LAST_LINES = 4  # of what a run that failed has written


@dataclass
class Running:
    """One run in a process of its own.

    Attributes:
        name: what it is called in front of its lines.
        device: the number of its device.
        process: the process, and `answer`, a file with its report, and `lines`, what it has told so far.
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
        show: called with every line that a run tells, with its name before it.

    Raises:
        RunError: a run has failed; the others have ended before that is said.
        KeyboardInterrupt: after all of them have stopped and written their checkpoints.
    """
    waiting, free = list(commands.items()), list(devices)
    running: list[Running] = []
    reports: dict[str, Any] = {}
    failed: dict[str, str] = {}
    gpu = has_gpu()
    with contextlib.ExitStack() as stack, _forwarded(running) as stopped:
        while waiting or running:
            while waiting and free and not stopped.is_set():
                name, words = waiting.pop(0)
                running.append(_started(name, words, free.pop(0), len(devices), gpu, show, stack))
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
        raise RunError(f"{len(failed)} of {len(commands)} runs have failed; the others are kept:\n{reasons}")
    return {name: reports[name] for name in commands}


def _started(
    name: str,
    words: Sequence[str],
    device: str,
    beside: int,
    gpu: bool,
    show: Callable[[str], None],
    stack: contextlib.ExitStack,
) -> Running:
    own = {"OMP_NUM_THREADS": threads_each(beside)} | ({"CUDA_VISIBLE_DEVICES": visible([device])} if gpu else {})
    answer: IO[str] = stack.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115 (the stack closes it)
    process = subprocess.Popen(
        [sys.executable, "-m", "semivae", *words, "--json"],
        env={**os.environ, **own},
        stdin=subprocess.DEVNULL,
        stdout=answer,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
    )
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


@contextlib.contextmanager
def _forwarded(running: Sequence[Running]) -> Iterator[threading.Event]:
    """Inside, Ctrl-C and termination signals go to all runs, and set the event; what is left at the end is killed."""
    stopped = threading.Event()

    def forward(number: int, frame: FrameType | None) -> None:
        stopped.set()
        for run in running:
            with contextlib.suppress(ProcessLookupError):
                run.process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for run in running:
            run.process.kill()
