"""The roofline (Williams, Waterman and Patterson 2009): the least time that each operation takes on a machine.

An operation takes at least its multiply-accumulates over the peak rate, and at least its bytes over the bandwidth of the
smallest memory that holds them. Run one by one, operations take at least the sum; a runtime that fuses them moves
less, and is bounded by all multiply-accumulates and by the bytes that no fusion avoids. Products are counted as they are
defined: a convolution by Winograd's or Fourier's transform multiplies less, and may pass below the bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from netwright.core.errors import NetwrightError
from netwright.cost.figures import Figure
from netwright.cost.rules.work import Work
from netwright.cost.speed.traffic import compulsory_bytes, moved_bytes
from netwright.device.machine import Machine
from netwright.graph.graph import Graph, Op

Bound = Literal["compute", "memory"]


class HasWorks(Protocol):
    """The counts of a graph: one work for each operation, None where nobody priced it."""

    @property
    def works(self) -> Sequence[Work | None]: ...


@dataclass(frozen=True, slots=True)
class OpBound:
    """The roofline of one operation, or of several together: the least milliseconds, and what sets them.

    `intensity`: multiply-accumulates a byte; 0 where no bytes move.
    """

    macs: int
    bytes: int
    compute_ms: float
    memory_ms: float
    ms: float

    @property
    def intensity(self) -> float:
        return self.macs / self.bytes if self.bytes else 0.0

    @property
    def bound(self) -> Bound:
        return "compute" if self.compute_ms > self.memory_ms else "memory"


@dataclass(frozen=True)
class Roofline:
    """The roofline of every operation of a graph, in order, on one machine.

    `total`: milliseconds, the least for a runtime that runs the operations one by one, as PyTorch's eager mode does.
    `floor`: the least for any runtime. `notes`: what the bound supposes.
    """

    machine: str
    ops: tuple[OpBound, ...]
    total: Figure
    floor: Figure
    notes: tuple[str, ...]

    def together(self, ops: Iterable[int]) -> OpBound:
        """Return several operations, run one after another, as one: a layer, a block."""
        rows = [self.ops[index] for index in ops]
        return OpBound(
            sum(row.macs for row in rows),
            sum(row.bytes for row in rows),
            sum(row.compute_ms for row in rows),
            sum(row.memory_ms for row in rows),
            sum(row.ms for row in rows),
        )


def roofline(graph: Graph, counts: HasWorks, machine: Machine) -> Roofline:
    """Return the least time of each operation of a graph on a machine.

    Raises:
        NetwrightError: the machine has neither a peak rate nor a bandwidth, so that nothing is bounded.
    """
    if not machine.peak_macs_per_s and machine.bandwidth_bytes_per_s is None:
        raise NetwrightError(f"Nothing is known of the speed of {machine.name}: it bounds no latency.")
    ops = tuple(
        _bound(macs_of(work), moved, operand_dtype(graph, op), machine)
        for op, work, moved in zip(graph.ops, counts.works, moved_bytes(graph), strict=True)
    )
    needed = compulsory_bytes(graph)
    memory_ms = _memory_ms(needed, machine)
    floor_ms = max(sum(one.compute_ms for one in ops), memory_ms)
    return Roofline(
        machine.name,
        ops,
        Figure(sum(one.ms for one in ops), "bounded"),
        Figure(floor_ms, "bounded"),
        _notes(graph, machine),
    )


def macs_of(work: Work | None) -> int:
    """Return the multiply-accumulates of a work; 0 for what nobody priced."""
    return work.macs if work else 0


def operand_dtype(graph: Graph, op: Op) -> str:
    """Return the type in which an operation computes: that of its first operand, or of its output without one."""
    indices = op.inputs or op.outputs
    return graph.tensors[indices[0]].dtype if indices else "float32"


def _bound(macs: int, moved: int, dtype: str, machine: Machine) -> OpBound:
    rate = machine.peak(dtype)
    compute_ms = 1e3 * macs / rate.value if macs and rate else 0.0
    memory_ms = _memory_ms(moved, machine)
    return OpBound(macs, moved, compute_ms, memory_ms, max(compute_ms, memory_ms))


def _memory_ms(moved: int, machine: Machine) -> float:
    bandwidth = machine.bandwidth(moved)
    return 1e3 * moved / bandwidth.value if moved and bandwidth else 0.0


def _notes(graph: Graph, machine: Machine) -> tuple[str, ...]:
    used = {operand_dtype(graph, op) for op in graph.ops if not op.view}
    unknown = sorted(
        dtype for dtype in used if dtype.startswith(("float", "bfloat", "int8")) and not _knows(machine, dtype)
    )
    missing = (f"no peak rate known for {', '.join(unknown)}: bounded by the highest known rate",) if unknown else ()
    return (*machine.notes, *(missing if machine.peak_macs_per_s else ()))


def _knows(machine: Machine, dtype: str) -> bool:
    return machine.peak(dtype) is machine.peak_macs_per_s.get(dtype)
