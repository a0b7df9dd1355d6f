"""The search strategies by name. Extending means passing your own function of the same signature."""

from __future__ import annotations

from collections.abc import Callable

from netwright.searching.candidates import Result
from netwright.searching.strategies import evolution, nsga2, random_search

Strategy = Callable[..., Result]

STRATEGIES: dict[str, Strategy] = {
    "evolution": evolution.search,
    "nsga2": nsga2.search,
    "random": random_search.search,
}
