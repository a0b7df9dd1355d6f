"""Searching for a microcontroller: its limits, its prices, and what a network found needs there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError, unknown
from netwright.core.units import BYTES, COUNT, parse_quantity

if TYPE_CHECKING:
    from netwright.cost.figures import Figure
    from netwright.models.arch import Arch
    from netwright.models.family import Family
    from netwright.searching.limits.budget import Budget
    from netwright.searching.limits.microcontroller import McuPrices

LIMITS = {
    "sram": ("sram_bytes", BYTES),
    "flash": ("flash_bytes", BYTES),
    "instructions": ("instructions", COUNT),
}


def parse_more(texts: Sequence[str]) -> dict[str, float]:
    """Read limits written as NAME=VALUE: sram=128KB, flash=512KB, instructions=10M.

    Raises:
        NetwrightError: no `=`, another name, or not a number with a unit.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise NetwrightError(f"--limit {text!r} must look like NAME=VALUE, for example --limit sram=128KB.")
        if name.strip() not in LIMITS:
            raise unknown("--limit", name.strip(), LIMITS)
        key, units = LIMITS[name.strip()]
        found[key] = parse_quantity(value.strip(), units, f"--limit {name.strip()}")
    return found


def is_microcontroller(device: str) -> bool:
    """Whether a device is known as a microcontroller."""
    from netwright.device.machines import MACHINES

    return device in MACHINES and MACHINES[device].core is not None


def with_memories(device: str, limits: dict[str, float]) -> dict[str, float]:
    """Return the limits of a search for a microcontroller: where none is given on a memory, all that the device has.

    Raises:
        NetwrightError: a limit is above what the device has.
    """
    from netwright.searching.limits.microcontroller import microcontroller

    found = microcontroller(device)
    limits = dict(limits)
    for key, memory in (("sram_bytes", found.sram_bytes), ("flash_bytes", found.flash_bytes)):
        if memory is None:
            continue
        if limits.setdefault(key, memory.value) > memory.value:
            name = key.removesuffix("_bytes")
            raise NetwrightError(
                f"--limit {name}={limits[key]:,.0f}B is more than the {memory.value:,.0f} bytes of {device}. Lower it."
            )
    return limits


def describe_prices(prices: McuPrices, made: Family, budget: Budget) -> dict[str, Any]:
    """Return what a search result keeps of the device: the models used, and what TinyNAS says of resolutions and widths."""
    from netwright.specialization.tinynas import choose_space

    return {
        "cpu": prices.cpu,
        "clock_hz": prices.clock_hz,
        "instructions_error": prices.instructions.error,
        "flash_error": prices.flash.error,
        "milliseconds": "at one instruction a clock",
        "spaces": [space.to_json() for space in choose_space(made, budget.limits(made, prices))],
    }


def predicted_ms(prices: McuPrices, made: Family, arch: Arch) -> Figure:
    """Return the milliseconds of a network at one instruction a clock."""
    from netwright.cost.figures import Figure

    source = f"{prices.cpu} at {prices.clock_hz / 1e6:g} MHz, one instruction a clock"
    return Figure(made.total(arch, prices.block_ms, prices.offset_ms), "predicted", prices.instructions.error, source)


def needs(prices: McuPrices, made: Family, arch: Arch) -> dict[str, Any]:
    """Return arena (by the plan that `compile` makes), flash and instructions (predicted) of a network."""
    return prices.network(made.blocks(arch), (3, arch.resolution, arch.resolution)).to_json()
