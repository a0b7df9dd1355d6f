"""The limit on latency, priced by the block times of a latency model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netwright.core.errors import NetwrightError
from netwright.core.units import TIME_MS
from netwright.searching.limits.kind import Asked, DevicePrices, LatencyPrices, LimitKind

if TYPE_CHECKING:
    from netwright.searching.tables import AdditiveTable


def latency_table(asked: Asked) -> AdditiveTable:
    """Return the milliseconds of one inference, batch 1.

    Raises:
        NetwrightError: the device has no latency model.
    """
    model = _model(asked.prices)
    return asked.additive(model.block_ms, model.offset_ms)


def _model(prices: DevicePrices) -> LatencyPrices:
    if prices.latency is None:
        raise NetwrightError(
            "A latency limit needs a latency model of the device. Make one with `netwright device this --measure`."
        )
    return prices.latency


LATENCY = LimitKind(
    "latency",
    "latency_ms",
    "ms",
    TIME_MS,
    latency_table,
    devices="devices with a latency model, and microcontrollers",
    short=(1.0, "ms"),
    typed="ms",
    rank=0,
    needs=_model,
)
