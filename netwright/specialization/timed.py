"""A search whose networks are timed where they run: a prediction can be some percent off."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netwright.core.progress import say
from netwright.cost.figures import Figure
from netwright.models.arch import Arch
from netwright.searching.limits.budget import Budget
from netwright.searching.limits.reach import OutOfReach
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
    lowered by as much as the best one exceeded it, but not below what the space can reach. Where none is left in the end, the
    networks of the fastest search are returned, all of them above the limit, and a warning says so.

    Args:
        search_within: searches within a budget.
        budget: the limits.
        measure: times networks; None: nothing is timed, because no latency is limited or the device is elsewhere.
        listed: how many networks to time and return.
        stopped: whether the user has asked to stop: then no search is repeated.

    Raises:
        NetwrightError: no network is predicted to hold the budget.
    """
    found = search_within(budget)
    best = [one.arch for one in found.candidates[:listed]]
    bound_ms = budget.latency_ms
    if measure is None or bound_ms is None or not best:
        return found, best, {}
    measured: Latencies = {}
    tried: list[tuple[float, Specialization, list[Arch]]] = []  # the least latency measured, of each search
    aim_ms, fresh, tries = bound_ms, best, 0
    while fresh:
        tries += 1
        measured |= measure(fresh)
        fitting = [arch for arch in best if measured[arch].value <= bound_ms]
        if fitting:
            return found, fitting, measured
        tried.append((min(measured[arch].value for arch in best), found, best))
        if tries == TRIES or stopped():
            break
        lower = _search_lower(search_within, budget, aim_ms, bound_ms / tried[-1][0])
        if lower is None:
            break
        aim_ms, found = lower
        best = [one.arch for one in found.candidates[:listed]]
        fresh = best
    least_ms, found, best = min(tried, key=lambda one: one[0])
    say(
        f"warning: none of the networks found measures at most {bound_ms:g} ms here; the fastest measures {least_ms:.4g} ms. Those "
        f"listed exceed the limit. A limit of {1.05 * least_ms:.3g} ms can be held here"
    )
    return found, best, measured


def _search_lower(
    search_within: Callable[[Budget], Specialization], budget: Budget, aim_ms: float, share: float
) -> tuple[float, Specialization] | None:
    """Search within a share of an aim, or within the least that can be reached; None where that is no lower."""
    found_ms = aim_ms if budget.latency_ms is None else budget.latency_ms / share

    def within(lower_ms: float) -> tuple[float, Specialization]:
        found = search_within(budget.replace(latency_ms=lower_ms))
        say(
            f"the networks found measure {found_ms:.4g} ms and more: searched once more, within {lower_ms:.4g} ms predicted"
        )
        return lower_ms, found

    try:
        return within(aim_ms * share)
    except OutOfReach as error:
        least_ms = error.least.get("latency")
    if least_ms is None or least_ms >= aim_ms:
        return None
    try:
        return within(least_ms)
    except OutOfReach:  # the other limits do not let it come so low
        return None
