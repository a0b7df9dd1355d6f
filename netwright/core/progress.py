"""Progress of long work on standard error, so that standard output stays for results."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def say(text: str) -> None:
    """Print one line of progress; of several processes that torchrun started, only the first does."""
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)


def track(items: Iterable[Item], what: str, total: int, every_s: float = 10.0) -> Iterator[Item]:
    """Yield the items; on a terminal keep one line up to date, elsewhere print one now and then."""
    terminal = sys.stderr.isatty()
    start = shown = time.monotonic()
    for count, item in enumerate(items):
        now = time.monotonic()
        if now - shown >= (0.2 if terminal else every_s):
            left_s = (now - start) / max(count, 1) * (total - count)
            text = f"{what}: {count} of {total}, about {left_s:.0f} s left"
            print(f"\r\033[K{text}" if terminal else text, file=sys.stderr, end="" if terminal else "\n", flush=True)
            shown = now
        yield item
    if terminal:
        print("\r\033[K", file=sys.stderr, end="", flush=True)
