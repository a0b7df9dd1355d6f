"""The one exception that netwright raises for what a person can mend."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class NetwrightError(Exception):
    """What went wrong, where, what is allowed, and what to do next, in one message."""


def unknown(what: str, given: str, allowed: Iterable[str]) -> NetwrightError:
    """Return the error for a name that is not among the allowed ones, with the nearest, or the one of these initials, as a hint."""
    names = sorted(allowed)
    short = [name for name in names if "".join(word[:1] for word in re.split("[_-]", name)) == given]
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5) or short
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return NetwrightError(f"{what} {given!r} is not known.{hint} Allowed: {', '.join(names)}.")
