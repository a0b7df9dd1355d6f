"""Machines by name. Their figures are in `datasheets.py`; nothing here imports torch before this machine is asked for."""

from __future__ import annotations

from netwright.core.errors import unknown
from netwright.core.tables import OWN, Table, is_own
from netwright.device.machine import THIS, Machine

MACHINES: Table[Machine] = Table(
    "Device",
    {
        "xeon-8380": "netwright.device.datasheets:SERVER_CPU",
        "a100": "netwright.device.datasheets:A100",
        "h200": "netwright.device.datasheets:H200",
        "jetson-orin": "netwright.device.datasheets:JETSON_ORIN",
        "snapdragon-8-gen-1": "netwright.device.datasheets:SNAPDRAGON_8_GEN_1",
        "pixel-1": "netwright.device.datasheets:PIXEL_1",
        "stm32f746": "netwright.device.datasheets:STM32F746",
        "stm32f412": "netwright.device.datasheets:STM32F412",
    },
    kind="netwright.device.machine:Machine",
)


def machine(given: str | Machine, *, threads: int = 1) -> Machine:
    """Return a machine by name: one of `MACHINES`, FILE.py:NAME, or `this`, the one that netwright runs on, as it was measured.

    `threads`: of this machine; the others are described as a whole, `scope` says how. A machine is returned as it is.

    Raises:
        NetwrightError: there is no such machine, or this one was not measured with so many threads yet.
    """
    if given == THIS:
        from netwright.device.peaks import this_machine  # torch, only where it is needed

        return this_machine(threads)
    if isinstance(given, str) and given not in MACHINES and not is_own(given):
        raise unknown("Device", given, (*MACHINES, THIS, OWN))
    return MACHINES.find(given)
