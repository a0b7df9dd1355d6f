"""A search whose networks are timed where they run: a prediction can be some percent off."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netwright.core.progress import say
from netwright.cost.figures import Figure
from netwright.models.arch import Arch
from netwright.searching.limits.budget import Budget
from netwright.specialization.specialize import Specialization

LISTED = 5
TRIES = 3

Latencies = dict[Arch, Figure]


def timed_search(
    search_within: Callable[[Budget], Specialization],
    budget: Budget,
    measure: Callable[[Sequence[Arch]], Latencies] | None,
    *,
    listed: int = LISTED,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[Specialization, list[Arch], Latencies]:
    """Search within a budget and time what was found; return also the best networks and their latencies.

    Networks that measure above the limit on latency are left out. While none is left, the search is repeated within a limit
    lowered by as much as the best one exceeded it.

    Args:
        search_within: searches within a budget.
        budget: the limits.
        measure: times networks; None: nothing is timed, because no latency is limited or the device is elsewhere.
        listed: how many networks to time and return.
        stopped: whether the user has asked to stop: then no search is repeated.
    """
    found = search_within(budget)
    best = [one.arch for one in found.candidates[:listed]]
    bound_ms = budget.latency_ms
    if measure is None or bound_ms is None:
        return found, best, {}
    measured: Latencies = {}
    aim_ms = bound_ms
    for tries_left in reversed(range(TRIES)):
        measured |= measure(best)
        fitting = [arch for arch in best if measured[arch].value <= bound_ms]
        if fitting:
            return found, fitting, measured
        if not tries_left or stopped():
            break
        least_ms = min(measured[arch].value for arch in best)
        aim_ms *= bound_ms / least_ms
        say(
            f"the networks found measure {least_ms:.4g} ms and more: searching once more, within {aim_ms:.4g} ms predicted"
        )
        found = search_within(budget.replace(latency_ms=aim_ms))
        best = [one.arch for one in found.candidates[:listed]]
    say(f"warning: none of {TRIES} searches found a network that measures at most {bound_ms:g} ms here")
    return found, best, measured
