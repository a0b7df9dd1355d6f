"""The one exception that netwright raises for what a person can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NetwrightError(Exception):
    """What went wrong, where, what is allowed, and what to do next, in one message."""


def unknown(what: str, given: str, allowed: Iterable[str]) -> NetwrightError:
    """Return the error for a name that is not among the allowed ones, with the nearest as a hint."""
    names = sorted(allowed)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return NetwrightError(f"{what} {given!r} is not known.{hint} Allowed: {', '.join(names)}.")
