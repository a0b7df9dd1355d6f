"""The limits of microcontrollers: SRAM, flash and instructions of the C that netwright writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netwright.core.errors import NetwrightError
from netwright.core.units import BYTES, COUNT
from netwright.searching.limits.kind import Asked, DevicePrices, LimitKind

if TYPE_CHECKING:
    from netwright.searching.limits.arena import ArenaTable
    from netwright.searching.limits.mcu_prices import McuPrices
    from netwright.searching.tables import AdditiveTable


def sram_table(asked: Asked) -> ArenaTable:
    """Return the bytes of the arena: activations and what the kernels need beside them.

    Raises:
        NetwrightError: the device is no microcontroller.
    """
    from netwright.searching.limits.arena import ArenaTable

    return ArenaTable(asked.family, _prices(asked.prices), asked.bound, layout=asked.layout)


def flash_table(asked: Asked) -> AdditiveTable:
    """Return the bytes of code and constants.

    Raises:
        NetwrightError: the device is no microcontroller.
    """
    prices = _prices(asked.prices)
    return asked.additive(prices.flash_bytes, prices.offset_flash)


def instructions_table(asked: Asked) -> AdditiveTable:
    """Return the instructions of one inference.

    Raises:
        NetwrightError: the device is no microcontroller.
    """
    prices = _prices(asked.prices)
    return asked.additive(prices.block_instructions, prices.offset_instructions)


def _prices(prices: DevicePrices) -> McuPrices:
    from netwright.searching.limits.mcu_prices import McuPrices, microcontrollers

    if not isinstance(prices.latency, McuPrices):
        raise NetwrightError(
            "Limits on SRAM, flash and instructions need the prices of a microcontroller; name one as the device: "
            f"{', '.join(microcontrollers())}. On other devices, limit peak_memory instead."
        )
    return prices.latency


SRAM = LimitKind(
    "sram",
    "sram_bytes",
    "bytes",
    BYTES,
    sram_table,
    devices="microcontrollers",
    short=(1024.0, "KB SRAM"),
    typed="B",
    rank=9,
    needs=_prices,
)
FLASH = LimitKind(
    "flash",
    "flash_bytes",
    "bytes",
    BYTES,
    flash_table,
    devices="microcontrollers",
    short=(1024.0, "KB flash"),
    typed="B",
    rank=4,
    needs=_prices,
)
INSTRUCTIONS = LimitKind(
    "instructions",
    "instructions",
    "instructions",
    COUNT,
    instructions_table,
    devices="microcontrollers",
    short=(1e6, "M instructions"),
    rank=3,
    needs=_prices,
)
