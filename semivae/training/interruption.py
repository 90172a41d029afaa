"""Stopping between two steps: Ctrl-C and termination signals as an event."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REPEATS = 2.0  # seconds in which a launcher may repeat to a process of several what it has got already


@contextmanager
def interruption(several: bool = False) -> Iterator[threading.Event]:
    """An event that Ctrl-C, a termination signal or a closed terminal sets, so that a loop can stop where it is whole.

    A second signal raises KeyboardInterrupt at once; of several processes one that comes later, as torchrun passes on
    a Ctrl-C that has reached them already. Outside the main thread signals cannot be had; the event then stays unset.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    stops = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # nohup: it is to outlive its terminal
        stops.append(hangup)
    previous = {number: signal.getsignal(number) for number in stops}

    first = 0.0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not event.is_set():
            first = time.monotonic()
            event.set()
        elif not several or time.monotonic() - first > REPEATS:
            raise KeyboardInterrupt

    for number in previous:
        signal.signal(number, on_signal)
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
