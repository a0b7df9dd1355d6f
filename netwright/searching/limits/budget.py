"""A budget: upper limits on what one network may cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, unknown
from netwright.core.units import rounded_up
from netwright.models.family import Family
from netwright.models.space import Genes
from netwright.searching.layout import Layout
from netwright.searching.limits.kind import Asked, DevicePrices, LatencyPrices, LimitKind
from netwright.searching.limits.table import LIMITS, find_limit, limit_keys
from netwright.searching.minimum import Factor
from netwright.searching.tables import AdditiveTable, MaxTable


@dataclass(frozen=True)
class Limit:
    """A cost that must not exceed a bound; with the default bound it is only an objective.

    `kind` says how values are written; where it is left out, the limit of that name in `LIMITS` does.
    """

    name: str
    table: AdditiveTable | MaxTable
    bound: float = math.inf
    kind: LimitKind | None = None

    @property
    def factors(self) -> list[Factor]:
        """Small arrays whose sum is, up to a constant, the excess over the bound."""
        return self.table.factors if isinstance(self.table, AdditiveTable) else self.table.excess_factors(self.bound)

    def excess(self, genes: Genes) -> NDArray[np.float64]:
        """Return how far each row of genes is beyond the bound; of a greatest value, summed over all parts beyond it."""
        if isinstance(self.table, AdditiveTable):
            return self.table(genes) - self.bound
        return self.table.excess(genes, self.bound)

    def text(self, value: float) -> str:
        """Write a value of this cost with its unit."""
        kind = self.kind or LIMITS.get(self.name)
        return kind.text(value) if kind else f"{value:.4g}" if value < 1e4 else f"{value / 1e6:.4g} M"

    def text_above(self, value: float) -> str:
        """Write a value as a limit that it holds: never rounded down."""
        whole = self.kind is not None and self.kind.unit == "bytes"
        return self.text(math.ceil(value) if whole else rounded_up(value))


class Budget:
    """Upper limits on one network, all of which hold at once.

    `Budget(latency_ms=2.0, macs=20e6)` takes the keys of `LIMITS`; None is no limit. Limits with settings, and those of a
    user's own, come as a mapping: `Budget({"training_memory@bias:8": 30e6, "mine.py:watts": 3.0}, macs=20e6)`, or with the
    `LimitKind` itself as key. A budget has its bounds as attributes: `budget.latency_ms`, None where it sets none.

    Raises:
        NetwrightError: no limit is given, one is not known, or one is not a number greater than zero.
    """

    def __init__(self, limits: Mapping[Any, float | None] | None = None, /, **by_key: float | None):
        keys = limit_keys()
        for name in by_key:
            if name not in keys:
                raise unknown("Limit", name, keys)
        given = {**{find_limit(name): bound for name, bound in (limits or {}).items()}}
        given |= {keys[name]: bound for name, bound in by_key.items()}
        found = {kind.key: (kind, kind.checked(bound)) for kind, bound in given.items() if bound is not None}
        if not found:
            raise NetwrightError(
                f"A budget needs at least one limit: {', '.join(keys)}. SRAM, flash and instructions are a microcontroller's."
            )
        order = {key: place for place, key in enumerate(keys)}
        self._found = dict(sorted(found.items(), key=lambda item: order.get(item[0].partition("@")[0], len(order))))

    def __getattr__(self, key: str) -> float | None:
        if key.startswith("_") or key not in limit_keys():
            raise AttributeError(f"A budget has no {key!r}; it has {', '.join(limit_keys())}.")
        found = self._found.get(key)
        return None if found is None else found[1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Budget) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(tuple(self.to_json().items()))

    def __repr__(self) -> str:
        return f"Budget({self.to_json()})"

    def replace(self, **by_key: float) -> Budget:
        """Return this budget with other bounds for some of its keys."""
        return Budget({kind: bound for kind, bound in self._found.values() if kind.key not in by_key}, **by_key)

    def to_json(self) -> dict[str, float]:
        """Return the limits that are given."""
        return {key: bound for key, (_, bound) in self._found.items()}

    def limits(self, family: Family, prices: DevicePrices | LatencyPrices | None = None) -> list[Limit]:
        """Tabulate the limited costs of a family, by their ranks: those that take long to tell last.

        `prices`: what is known of the device; a latency model alone will do where only latency needs it.

        Raises:
            NetwrightError: what is known of the device does not price one of the limits.
        """
        known = DevicePrices.of(prices)
        ranked = sorted(self._found.values(), key=lambda found: found[0].rank)
        for kind, _ in ranked:
            if kind.needs is not None:
                kind.needs(known)
        layout = Layout(family)
        return [
            Limit(kind.name, kind.table(Asked(family, known, bound, layout, kind.settings)), bound, kind)
            for kind, bound in ranked
        ]


def costs_of(limits: Sequence[Limit], genes: Genes) -> NDArray[np.float64]:
    """Return the costs of each row of genes, one column a limit."""
    return np.stack([limit.table(genes) for limit in limits], 1) if limits else np.zeros((len(genes), 0))
