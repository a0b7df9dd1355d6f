"""The search engine: a space, a score and limits give the best archs. It needs no supernet, no images and no training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from netwright.core.errors import NetwrightError, unknown
from netwright.core.tables import name_of
from netwright.models.space import SearchSpace
from netwright.searching.candidates import Result
from netwright.searching.limits.budget import Limit
from netwright.searching.score import Score
from netwright.searching.strategies.table import STRATEGIES, Strategy

_GIVEN = ("space", "score", "limits")


def search_space(
    space: SearchSpace,
    score: Score,
    limits: Sequence[Limit] = (),
    *,
    strategy: str | Strategy = "evolution",
    seed: int = 0,
    **settings: Any,
) -> Result:
    """Search a space for the archs of highest score within limits.

    `strategy`: a name in `STRATEGIES`, FILE.py:NAME, or a function. `settings`: further arguments of the strategy, such as
    `population` and `generations`.

    Raises:
        NetwrightError: no arch is within the limits; a limit of another space; an unknown strategy, one that does not take
            these settings, or one that does not return a `Result`.
    """
    search = check_strategy(strategy, settings)
    for limit in limits:
        other = limit.table.family.space
        if other != space:
            raise NetwrightError(
                f"Limit {limit.name!r} is tabulated for space {other.name!r}, the search is of {space.name!r}. "
                "Tabulate it for the family that is searched: budget.limits(family)."
            )
    found = search(space, score, list(limits), seed=seed, **settings)
    if not isinstance(found, Result):
        raise NetwrightError(
            f"Strategy {name_of(strategy)!r} returned a {type(found).__name__}; it must return a Result, as "
            "Candidates.result() does."
        )
    return found


def check_strategy(strategy: str | Strategy, settings: Mapping[str, Any]) -> Strategy:
    """Return a strategy that takes these settings.

    Raises:
        NetwrightError: there is no such strategy, or it does not take them.
    """
    search = STRATEGIES.find(strategy)
    takes = inspect.signature(search).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        allowed = [one for one in takes if one not in _GIVEN]
        for setting in settings:
            if setting not in allowed:
                raise unknown(f"Strategy {name_of(strategy)!r}: setting", setting, allowed)
    return search
