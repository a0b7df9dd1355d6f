"""A network that a search found, with what it costs, as values and as the entries of a search file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netwright.core.metric import TOP_1, Metric
from netwright.cost.figures import Cost, Figure
from netwright.device.latency import LatencyModel
from netwright.models.arch import Arch
from netwright.models.family import Family
from netwright.searching.limits.kind import DevicePrices, LatencyPrices
from netwright.searching.limits.mcu_prices import McuPrices, NetworkCost
from netwright.searching.pareto import front

MOST_FRONT = 30


@dataclass(frozen=True)
class Candidate:
    """A network and its cost. `microcontroller`: what it needs on one, where the search was for one.

    `exceeds`: the limits, by key, that it was measured to be above. `chosen_by`: the metric on the images held out for the
    search, where `cost.score` is that on other images.
    """

    arch: Arch
    cost: Cost
    microcontroller: NetworkCost | None = None
    exceeds: Mapping[str, float] = field(default_factory=dict)
    chosen_by: Figure | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; what does not apply is left out."""
        more: dict[str, Any] = {"microcontroller": self.microcontroller.to_json()} if self.microcontroller else {}
        more |= {"exceeds": dict(self.exceeds)} if self.exceeds else {}
        more |= {"chosen_by": self.chosen_by.to_json()} if self.chosen_by else {}
        return {"arch": self.arch.to_json(), **self.cost.to_json(), **more}


class Describe:
    """Describes networks of a family on a device: multiply-accumulates, parameters, latency, score."""

    def __init__(self, family: Family, prices: DevicePrices | LatencyPrices | None, metric: Metric = TOP_1):
        self.family, self.metric = family, metric
        self.model = DevicePrices.of(prices).latency

    def candidate(
        self, arch: Arch, score: Figure, latency: Figure | None = None, *, planned: bool = False
    ) -> Candidate:
        """Return a network with its cost.

        Args:
            arch: the network.
            score: the value of the metric.
            latency: as it was measured; None: as the device's model predicts it.
            planned: on a microcontroller, also plan the whole network as `compile` does, for arena, flash and instructions.
        """
        latency = latency or self.latency(arch)
        cost = Cost(self.family.macs(arch), self.family.params(arch), latency, score, self.metric)
        on_mcu = planned and isinstance(self.model, McuPrices)
        return Candidate(arch, cost, needs(self.model, self.family, arch) if on_mcu else None)  # type: ignore[arg-type]

    def latency(self, arch: Arch) -> Figure | None:
        """Return the predicted milliseconds of a network with the model's error, if known; None where no model is known.

        On a microcontroller they are a bound, and its source says what it leaves out.
        """
        if self.model is None:
            return None
        milliseconds = self.family.total(arch, self.model.block_ms, self.model.offset_ms)
        if isinstance(self.model, McuPrices):
            return Figure(milliseconds, "bounded", source=self.model.latency_source)
        error = self.model.held_out["mape"] / 100 if isinstance(self.model, LatencyModel) else None
        return Figure(milliseconds, "predicted", error)

    def trade_off(self, networks: Sequence[tuple[Arch, float]]) -> tuple[Candidate, ...]:
        """Return the front of score against latency (MACs where no model is known), best score first, at most 30 networks."""
        every = [self.candidate(arch, Figure(round(value, 4), "measured"), planned=True) for arch, value in networks]
        rows = front(np.array([[-self.metric.score(one.cost.score.value), self._axis(one)] for one in every]))  # type: ignore[union-attr]
        if len(rows) > MOST_FRONT:
            rows = rows[np.linspace(0, len(rows) - 1, MOST_FRONT).round().astype(int)]
        return tuple(every[row] for row in rows)

    def _axis(self, one: Candidate) -> float:
        return one.cost.latency_ms.value if one.cost.latency_ms else one.cost.macs


def needs(prices: McuPrices, family: Family, arch: Arch) -> NetworkCost:
    """Return arena (by the plan that `compile` makes), flash and instructions (predicted) of a network."""
    return prices.network(family.blocks(arch), (3, arch.resolution, arch.resolution))
