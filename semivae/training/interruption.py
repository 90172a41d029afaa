"""Stopping between two steps: Ctrl-C and termination signals as an event."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """An event that Ctrl-C, a termination signal or a closed terminal sets, so that a loop can stop where it is whole.

    A second signal raises KeyboardInterrupt at once. Outside the main thread signals cannot be had; the event then
    stays unset.
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

    def on_signal(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    for number in previous:
        signal.signal(number, on_signal)
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
