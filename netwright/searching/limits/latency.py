"""The limit on latency, priced by the block times of a latency model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netwright.core.errors import NetwrightError
from netwright.core.units import TIME_MS
from netwright.searching.limits.kind import Asked, LimitKind

if TYPE_CHECKING:
    from netwright.searching.tables import AdditiveTable


def latency_table(asked: Asked) -> AdditiveTable:
    """Return the milliseconds of one inference, batch 1.

    Raises:
        NetwrightError: the device has no latency model.
    """
    model = asked.prices.latency
    if model is None:
        raise NetwrightError(
            "A latency limit needs a latency model of the device. Make one with `netwright device this --measure`."
        )
    return asked.additive(model.block_ms, model.offset_ms)


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
)
