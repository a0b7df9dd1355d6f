"""The limit on energy: what arithmetic and memory accesses of one inference take, by the energies of a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netwright.core.errors import NetwrightError
from netwright.core.units import ENERGY_MJ
from netwright.searching.limits.kind import Asked, DevicePrices, LimitKind

if TYPE_CHECKING:
    from netwright.device.machine import Machine
    from netwright.searching.tables import AdditiveTable


def energy_table(asked: Asked) -> AdditiveTable:
    """Return the millijoules of one inference, batch 1, as `cost.speed.energy` predicts them.

    In float32; on a microcontroller in int8, as networks run there. Every operation reads its operands from memory and writes
    its result there, so the blocks add up to exactly what the whole network takes.

    Raises:
        NetwrightError: no energies of the device are known.
    """
    from netwright.searching.limits.captured import energy_of, price_blocks

    machine = _machine(asked.prices)
    dtype = "int8" if machine.core is not None else "float32"
    return asked.additive(
        price_blocks(asked, "energy", lambda block, *shapes: energy_of(block, shapes, machine, dtype))
    )


def _machine(prices: DevicePrices) -> Machine:
    from netwright.device.machines import MACHINES

    if prices.machine is None:
        raise NetwrightError(
            f"No energies of device {prices.device!r} are known, so it cannot price a limit on energy. Devices that "
            f"can: {', '.join(MACHINES)}; this machine after `netwright device this --measure --peaks`."
        )
    return prices.machine


ENERGY = LimitKind(
    "energy",
    "energy_mj",
    "mJ",
    ENERGY_MJ,
    energy_table,
    devices="devices whose energies are known",
    short=(1.0, "mJ"),
    typed="mJ",
    rank=5,
    needs=_machine,
)
