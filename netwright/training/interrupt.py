"""Ctrl-C and SIGTERM ask a training to stop after the step it is in."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass
class Interruption:
    """Which signal asked to stop; 0: none."""

    signal: int = 0

    def stop(self) -> None:
        """End as the signal would have, after everything is saved."""
        if self.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Note the first signal; a second one acts at once. Outside the main thread, signals are not ours to take."""
    asked = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        asked.signal = number
        _restore(before)

    for number in before:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        _restore(before)


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
