"""The search strategies by name. A strategy is one file of this folder with one function, and one row here.

    search(space, score, limits, *, seed=0, ...) -> Result

It draws proposals, passes them through `Candidates.collect`, which keeps only new ones within the limits, and through
`Candidates.evaluate`, and returns `Candidates.result()`. Wherever a name is taken, so is FILE.py:NAME and the function itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from netwright.core.tables import Table

if TYPE_CHECKING:
    from netwright.searching.candidates import Result

Strategy = Callable[..., "Result"]
STRATEGIES: Table[Strategy] = Table(
    "Strategy",
    {
        "evolution": "netwright.searching.strategies.evolution:search",
        "nsga2": "netwright.searching.strategies.nsga2:search",
        "random": "netwright.searching.strategies.random_search:search",
    },
)
LEAST_EVALUATIONS = 20  # sub-networks evaluated before a search: fewer teach a predictor nothing
