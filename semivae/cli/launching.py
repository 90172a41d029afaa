"""Starting the processes that train one model together on this machine, one for each device."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import IO, Any

import typer

from semivae.cli.showing import complain

LOST = 3  # the exit status of a process that has lost the others
GRACE = 15.0  # seconds that the others get to end by themselves


def devices_asked(text: str) -> list[str]:
    """Returns the devices of `4` (the first four) or `0,2` (those of these numbers), as numbers.

    Raises:
        typer.BadParameter: it is neither.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts) or parts == ["0"]:
        raise typer.BadParameter(f"{text!r} is no number of devices and no list; write 4 or 0,1,2,3")
    return [str(number) for number in range(int(parts[0]))] if len(parts) == 1 else parts


def words_without(words: Sequence[str], options: Sequence[str] = (), flags: Sequence[str] = ()) -> list[str]:
    """Returns the words of a command without some options and their values, and without some flags."""
    kept: list[str] = []
    following = iter(words)
    for word in following:
        if word in options:
            next(following, None)
        elif word not in flags and word.partition("=")[0] not in options:
            kept.append(word)
    return kept


def is_following() -> bool:
    """Returns whether this process is one of several that train together, and not the first of them."""
    return os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("RANK", "0") != "0"


def visible(devices: Sequence[str]) -> str:
    """Returns CUDA_VISIBLE_DEVICES for devices, numbered among those that are visible now."""
    now = [part for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part]
    return ",".join(now[int(number)] if now and int(number) < len(now) else number for number in devices)


def environment(devices: Sequence[str], processes: int) -> dict[str, str]:
    """Returns what a process gets that sees these devices alone, and shares the cores evenly with all `processes`."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // processes))
    return {"OMP_NUM_THREADS": threads} | ({"CUDA_VISIBLE_DEVICES": visible(devices)} if has_gpu() else {})


def start(words: Sequence[str], own: Mapping[str, str], **streams: Any) -> subprocess.Popen[Any]:
    """Starts `semivae WORDS` in a process of its own, with variables of its own beside those of this one."""
    return subprocess.Popen(
        [sys.executable, "-m", "semivae", *words],
        env={**os.environ, **own},
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
        **streams,
    )


def train_together(words: Sequence[str], devices: Sequence[str]) -> int:
    """Runs `semivae WORDS` in a process for each device, as one training; the first shows itself here.

    Ctrl-C and termination reach all of them. Where one fails, the others end too, and its message is shown.

    Returns:
        The exit status: 0, or the first process's.
    """
    size = len(devices)
    shared = {
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        **environment(devices, size),
    }
    with contextlib.ExitStack() as stack:
        errors = [stack.enter_context(tempfile.TemporaryFile("w+", errors="replace")) for _ in devices]
        processes = [_started(words, rank, shared, errors[rank]) for rank in range(size)]
        stack.callback(end, processes)
        stack.enter_context(forwarded(lambda: processes))
        failed = _first_failure(processes)
        if failed is None:
            return 0
        _await(processes, GRACE)
        end(processes)
        status = processes[0].returncode
        if failed > 0 and (status == LOST or status < 0):
            complain(f"process {failed} of {size} (counted from 0) {_reason(processes[failed], errors[failed])}")
        elif status < 0:
            complain(
                f"process 0 of {size} {_reason(processes[0], errors[0])}; the last checkpoint is kept: go on with "
                "--resume"
            )
        return 1 if status < 0 or status == LOST else status


def _started(words: Sequence[str], rank: int, shared: Mapping[str, str], errors: IO[str]) -> subprocess.Popen[bytes]:
    quiet = rank > 0
    own = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    return start(words, own, stdout=subprocess.DEVNULL if quiet else None, stderr=errors if quiet else None)


@contextlib.contextmanager
def forwarded(processes: Callable[[], Iterable[subprocess.Popen[Any]]]) -> Iterator[threading.Event]:
    """Sends Ctrl-C and termination signals to all processes that there are by then, and sets the event."""
    stopped = threading.Event()

    def forward(number: int, frame: FrameType | None) -> None:
        stopped.set()
        for process in processes():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_failure(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Waits for all; returns the number of the first that failed as soon as one did, None where all ended well."""
    while True:
        statuses = [process.poll() for process in processes]
        failed = [rank for rank, status in enumerate(statuses) if status not in (None, 0, LOST)]
        failed += [rank for rank, status in enumerate(statuses) if status == LOST]  # because of another, mostly
        if failed:
            return failed[0]
        if all(status == 0 for status in statuses):
            return None
        time.sleep(0.05)


def _await(processes: Sequence[subprocess.Popen[Any]], seconds: float) -> None:
    latest = time.monotonic() + seconds
    while time.monotonic() < latest and any(process.poll() is None for process in processes):
        time.sleep(0.05)


def end(processes: Sequence[subprocess.Popen[Any]]) -> None:
    """Ends what still runs: asks first, then kills, as a process may wait for one that is gone."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    _await(processes, 5.0)
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def _reason(process: subprocess.Popen[bytes], errors: IO[str]) -> str:
    """Returns why a process has ended: the signal that killed it, or its own message."""
    if process.returncode < 0:
        try:
            name = signal.Signals(-process.returncode).name
        except ValueError:
            name = f"signal {-process.returncode}"
        return f"was killed by {name}"
    errors.seek(0)
    text = errors.read().strip().removeprefix("error:").strip()
    return f"has failed: {text or f'exit status {process.returncode}'}"


def free_port() -> int:
    """Returns the number of a port of this machine that nobody listens to."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
    return port


def has_gpu() -> bool:
    """Returns whether there is a GPU here."""
    import torch

    return torch.cuda.is_available()
