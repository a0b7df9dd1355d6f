"""Limits on cost, and the answer when no architecture can hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.models.family import Family
from netwright.models.space import Genes, SearchSpace
from netwright.nn.block import Block, Shape
from netwright.searching.layout import Layout
from netwright.searching.limits.arena import ArenaTable
from netwright.searching.limits.microcontroller import McuPrices
from netwright.searching.minimum import Factor, minimize_sum
from netwright.searching.tables import AdditiveTable, MaxTable, macs_price, params_price

UNITS = {"latency": "ms", "macs": "MACs", "params": "parameters", "sram": "bytes", "flash": "bytes"}
UNITS["instructions"] = "instructions"

_ROUNDS = 25


class LatencyPrices(Protocol):
    """What a latency model must offer: block times that add up."""

    @property
    def offset_ms(self) -> float: ...

    def block_ms(self, block: Block, in_shape: Shape) -> float: ...


@dataclass(frozen=True)
class Limit:
    """A cost that must not exceed a bound; with the default bound it is only an objective."""

    name: str
    table: AdditiveTable | MaxTable
    bound: float = math.inf

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
        unit = UNITS.get(self.name, "")
        if unit == "bytes":
            return f"{value:,.0f} {unit}"
        return f"{value:.4g} {unit}".rstrip() if unit == "ms" or value < 1e4 else f"{value / 1e6:.4g} M {unit}".rstrip()


@dataclass(frozen=True)
class Budget:
    """Upper limits on one network; None is no limit. SRAM, flash (bytes) and instructions are a microcontroller's.

    Raises:
        NetwrightError: no limit is given, or one is not greater than zero.
    """

    latency_ms: float | None = None
    macs: float | None = None
    params: float | None = None
    sram_bytes: float | None = None
    flash_bytes: float | None = None
    instructions: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not given:
            raise NetwrightError(
                "A budget needs at least one limit: latency, macs or params; for a microcontroller also SRAM, flash or "
                "instructions."
            )
        for name, value in given.items():
            if not (math.isfinite(value) and value > 0):
                raise NetwrightError(f"The limit on {name} must be a number greater than zero, not {value}.")

    def to_json(self) -> dict[str, float]:
        """Return the limits that are given."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def limits(self, family: Family, latency: LatencyPrices | None = None) -> list[Limit]:
        """Tabulate the limited costs of a family: latency, MACs, parameters, instructions, flash, SRAM, in this order.

        Raises:
            NetwrightError: latency is limited but there is no latency model; or what only `McuPrices` can price is.
        """
        layout = Layout(family)
        limits = []
        if self.latency_ms is not None:
            if latency is None:
                raise NetwrightError(
                    "A latency limit needs a latency model of the device. Make one with `netwright device this --measure`."
                )
            table = AdditiveTable(family, latency.block_ms, latency.offset_ms, layout=layout)
            limits.append(Limit("latency", table, self.latency_ms))
        if self.macs is not None:
            limits.append(Limit("macs", AdditiveTable(family, macs_price, layout=layout), self.macs))
        if self.params is not None:
            limits.append(Limit("params", AdditiveTable(family, params_price, layout=layout), self.params))
        return limits + self._mcu_limits(family, latency, layout)

    def _mcu_limits(self, family: Family, prices: LatencyPrices | None, layout: Layout) -> list[Limit]:
        if self.sram_bytes is self.flash_bytes is self.instructions is None:
            return []
        if not isinstance(prices, McuPrices):
            raise NetwrightError(
                "Limits on SRAM, flash and instructions need the prices of a microcontroller: name one."
            )
        limits = []
        if self.instructions is not None:
            table = AdditiveTable(family, prices.block_instructions, prices.offset_instructions, layout=layout)
            limits.append(Limit("instructions", table, self.instructions))
        if self.flash_bytes is not None:
            table = AdditiveTable(family, prices.flash_bytes, prices.offset_flash, layout=layout)
            limits.append(Limit("flash", table, self.flash_bytes))
        if self.sram_bytes is not None:
            table = ArenaTable(family, prices, self.sram_bytes, layout=layout)
            limits.append(Limit("sram", table, self.sram_bytes))
        return limits


def costs_of(limits: Sequence[Limit], genes: Genes) -> NDArray[np.float64]:
    """Return the costs of each row of genes, one column a limit."""
    return np.stack([limit.table(genes) for limit in limits], 1) if limits else np.zeros((len(genes), 0))


def reach(space: SearchSpace, limits: Sequence[Limit], rng: np.random.Generator) -> Genes:
    """Return an arch that holds all limits.

    Each limit alone is decided exactly. Several together are sought by minimising weighted sums of the costs
    (exactly, raising the weight of what is violated), then by mutation; a weighted sum whose minimum exceeds
    its bound proves that no arch exists.

    Raises:
        NetwrightError: there is none, or none was found; names those limits that cannot be held, all where only together
            they cannot, with their least reachable values.
    """
    bounded = [limit for limit in limits if math.isfinite(limit.bound)]
    if not bounded:
        return np.zeros_like(space.sizes)
    least = [limit.table.minimum() for limit in bounded]
    beyond = [value > limit.bound for (value, _), limit in zip(least, bounded, strict=True)]
    if any(beyond):
        raise NetwrightError(_beyond(space, bounded, [value for value, _ in least]))
    scale = np.array([max(abs(limit.bound), 1e-12) for limit in bounded])

    def violation(genes: Genes) -> NDArray[np.float64]:
        return np.stack([limit.excess(genes) for limit in bounded], 1) / scale

    tried = np.stack([genes for _, genes in least])
    weights = np.full(len(bounded), 1 / len(bounded))
    proven = False
    for _ in range(_ROUNDS):
        if violation(tried).max(1).min() <= 0 or proven:
            break
        factors = [
            (columns, values * weight / size)
            for limit, weight, size in zip(bounded, weights, scale, strict=True)
            for columns, values in limit.factors
        ]
        _, genes = minimize_sum(factors, space.sizes)
        genes = space.canonical(genes[None])
        excess = violation(genes)[0]
        proven = float(weights @ excess) > 1e-9
        tried = np.concatenate([tried, genes])
        weights = weights * np.exp(np.clip(4 * excess, -4, 4))
        weights /= weights.sum()
    for _ in range(0 if proven else _ROUNDS):
        worst = violation(tried).max(1)
        if worst.min() <= 0:
            break
        near = tried[np.argsort(worst, kind="stable")[:20]]
        tried = np.concatenate([near, space.mutate(rng, near.repeat(50, 0), 2 / len(space.sizes))])
    worst = violation(tried).max(1)
    best = tried[worst.argmin()]
    if worst.min() > 0:
        raise NetwrightError(
            _beyond_together(space, bounded, [value for value, _ in least], costs_of(bounded, best[None])[0], proven)
        )
    return best


def _reachable(least: Iterable[tuple[Limit, float]]) -> list[str]:
    return [
        f"{limit.name} at most {limit.text(limit.bound)} (least reachable: {limit.text(value)})"
        for limit, value in least
    ]


def _beyond(space: SearchSpace, limits: Sequence[Limit], least: Sequence[float]) -> str:
    """Write the message where some limits cannot be held even alone: just those, each with its least reachable value."""
    beyond = [pair for pair in zip(limits, least, strict=True) if pair[1] > pair[0].bound]
    parts = _reachable(beyond)
    advice = "Raise this limit to at least that" if len(parts) == 1 else "Raise these limits to at least those values"
    return f"No network of space {space.name!r} fits this budget: {'; '.join(parts)}. {advice}."


def _beyond_together(
    space: SearchSpace, limits: Sequence[Limit], least: Sequence[float], joint: NDArray[np.float64], proven: bool
) -> str:
    """Write the message where only all limits together cannot be held: with least values and the nearest miss."""
    parts = _reachable(zip(limits, least, strict=True))
    nearest = ", ".join(f"{limit.name} {limit.text(value)}" for limit, value in zip(limits, joint, strict=True))
    how = "fits" if proven else "was found to fit"
    return (
        f"No network of space {space.name!r} {how} all limits together, though each alone can be reached: "
        f"{'; '.join(parts)}. The nearest found has {nearest}. Raise a limit."
    )
