"""What every block costs on a microcontroller: arena, flash and instructions of the C that netwright writes for it.

Memory comes from the planner itself, run once on each distinct block, so that whole populations are priced by look-up.
Schedule and architecture are chosen together: under a limit on SRAM a block runs layer by layer where that fits, and row by
row where it does not, at the instructions and the arena that has. (MCUNetV2, Lin et al. 2021, arXiv:2110.15352, Section 3.3, searches both;
rows that stream recompute nothing, so that no receptive field has to be moved, but a large kernel early has larger rings.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.device.machine import Machine
from netwright.device.machines import MACHINES, machine
from netwright.mcu.network import Network
from netwright.mcu.price.from_blocks import network_of_blocks
from netwright.mcu.price.instructions import WHOLE, InstructionModel, flash_model, flash_of, instruction_model, works_of
from netwright.mcu.schedule.schedule import Schedule, schedule
from netwright.nn.block import Block, Shape
from netwright.nn.wiring import Blocks

Way = tuple[int, float]  # bytes of arena, instructions
LEFT_OUT = "wait states of the flash, cache misses, stalls for memory, and instructions that take more than one clock"
DUAL_ISSUE = ("cortex-m7",)  # Arm Cortex-M7 Processor Technical Reference Manual, r1p2, 1.1


@dataclass(frozen=True)
class NetworkCost:
    """One network on a microcontroller: arena by the real plan, flash and instructions predicted."""

    arena_bytes: int
    flash_bytes: int
    instructions: int
    mode: str

    def to_json(self) -> dict[str, int | str]:
        """Return plain JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class McuPrices:
    """Prices of blocks for one CPU. `sram_bytes`: the limit under which schedules are chosen. `stream`: whether any block may
    run row by row.

    A block is planned alone: its input, what it needs while it runs, its output; layer by layer where that fits the limit,
    row by row where not. The plan of a whole network needs no more than its costliest block, and less where several blocks
    stream together (`ArenaTable` asks for that), so what fits here fits.
    """

    cpu: str
    instructions: InstructionModel
    flash: InstructionModel
    clock_hz: float
    sram_bytes: float | None = None
    stream: bool = True
    _ways: dict[tuple[Any, ...], Way] = field(default_factory=dict, compare=False, repr=False)
    _flash: dict[tuple[Any, ...], float] = field(default_factory=dict, compare=False, repr=False)

    def memory_bytes(self, block: Block, *in_shapes: Shape) -> int:
        """Return the arena of a block under the schedule chosen for it; where none fits, the least of all."""
        return self._way(block, *in_shapes)[0]

    def block_instructions(self, block: Block, *in_shapes: Shape) -> float:
        """Return the instructions of a block under the schedule chosen for it."""
        return self._way(block, *in_shapes)[1]

    def block_ms(self, block: Block, *in_shapes: Shape) -> float:
        """Return the milliseconds of a block at one instruction a clock."""
        return 1e3 * self.block_instructions(block, *in_shapes) / self.clock_hz

    @property
    def latency_source(self) -> str:
        """What the milliseconds rest on, and what they leave out."""
        error = self.instructions.error
        counted = "instructions as predicted" + (f" within {error:.1%}" if math.isfinite(error) else "")
        pairs = "; cores that start two instructions a clock may also be faster" if self.cpu in DUAL_ISSUE else ""
        return (
            f"a bound, nobody measured it: {counted}, one a clock, {self.cpu} at {self.clock_hz / 1e6:g} MHz. It leaves out {LEFT_OUT}"
            f"{pairs}"
        )

    @property
    def offset_ms(self) -> float:
        """Milliseconds of an inference besides its blocks."""
        return 1e3 * self.offset_instructions / self.clock_hz

    @property
    def offset_instructions(self) -> float:
        """Instructions of an inference besides its blocks."""
        return self.instructions.coefficients[WHOLE][0]

    def flash_bytes(self, block: Block, *in_shapes: Shape) -> float:
        """Return the constants of a block; the code, which blocks share, is in `offset_flash`."""
        key = (block, *in_shapes)
        if key not in self._flash:
            works = flash_of(network_of_blocks([block], *in_shapes, seed=None).layers)
            self._flash[key] = sum(self.flash.of(work) for work in works if work[0].startswith("constants"))
        return self._flash[key]

    @property
    def offset_flash(self) -> float:
        """Bytes of the code of a network that has every kernel."""
        code = [row[0] for kind, row in self.flash.coefficients.items() if kind.startswith("code ")]
        return sum(code) + self.flash.coefficients[WHOLE][0]

    def _way(self, block: Block, *in_shapes: Shape) -> Way:
        key = (block, *in_shapes)
        if key not in self._ways:
            network = network_of_blocks([block], *in_shapes, seed=None)
            plan = schedule(network, mode="layers")
            if self.stream and self.sram_bytes is not None and plan.arena_bytes > self.sram_bytes:
                plan = schedule(network, mode="stream")
            self._ways[key] = plan.arena_bytes, self._spent(network, plan)
        return self._ways[key]

    def network(self, blocks: Blocks, in_shape: Shape) -> NetworkCost:
        """Return the cost of a whole network, planned as `netwright compile` plans it under the limit on SRAM."""
        made = network_of_blocks(blocks, in_shape, seed=None)
        limit = None if self.sram_bytes is None else int(self.sram_bytes)
        mode = "auto" if self.stream else "layers"
        plan = schedule(made, sram_bytes=limit, mode=mode)
        flash = self.flash.network(flash_of(made.layers))
        spent = self._spent(made, plan) + self.offset_instructions
        return NetworkCost(plan.arena_bytes, round(flash), round(spent), plan.mode)

    def _spent(self, network: Network, plan: Schedule) -> float:
        return sum(map(self.instructions.of, works_of(network, plan)))


def mcu_prices(device: str, *, sram_bytes: float | None = None, stream: bool = True) -> McuPrices:
    """Return the prices of a microcontroller by name; `sram_bytes`: None for all that it has; `stream` as in `McuPrices`.

    Raises:
        NetwrightError: no such device, or it is no microcontroller.
    """
    found = microcontroller(device)
    assert found.core is not None and found.clock_hz is not None and found.sram_bytes is not None
    limit = found.sram_bytes.value if sram_bytes is None else sram_bytes
    models = instruction_model(found.core), flash_model(found.core)
    return McuPrices(found.core, *models, found.clock_hz.value, float(limit), stream)


def microcontroller(device: str) -> Machine:
    """Return a microcontroller by name.

    Raises:
        NetwrightError: no such device, or it is no microcontroller.
    """
    found = machine(device)
    if found.core is None:
        raise NetwrightError(
            f"{device} is no microcontroller, so SRAM, flash and instructions do not limit it. "
            f"Microcontrollers: {', '.join(microcontrollers())}."
        )
    return found


def microcontrollers() -> list[str]:
    """Return the names of the devices that are microcontrollers."""
    return [name for name, one in MACHINES.items() if one.core is not None]


def with_memories(device: str, limits: Mapping[Any, float]) -> dict[Any, float]:
    """Return the limits of a search for a microcontroller, by key: where none is given on a memory, all that the device has.

    Raises:
        NetwrightError: a limit is above what the device has.
    """
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
