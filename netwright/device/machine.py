"""What a machine is to the cost model: peak rates, memories and energies, each figure with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from netwright.device.energies import EnergyTable

THIS = "this"  # the machine that netwright runs on
SourceKind = Literal["measured", "datasheet", "paper", "derived"]
_ALIASES = {"uint8": "int8", "qint8": "int8", "quint8": "int8"}


@dataclass(frozen=True, slots=True)
class Sourced:
    """A figure and its source: measured on the machine, a data sheet, a paper, or derived from one."""

    value: float
    kind: SourceKind
    source: str


@dataclass(frozen=True, slots=True)
class Level:
    """Working sets of at most `bytes` move at most at `bytes_per_s`: a cache."""

    bytes: int
    bytes_per_s: Sourced


@dataclass(frozen=True)
class Machine:
    """A machine, or the part of one that runs a network: `scope` says which.

    `peak_macs_per_s`: by torch's names of types. `bandwidth_bytes_per_s`: of the largest memory. `caches`: smallest first.
    `sram_bytes`: memory on the chip that programs address; a cache is not counted there. `power_w`: the vendor's design
    power, not what a network draws. `core`: of a microcontroller, as its compiler calls it.
    """

    name: str
    scope: str
    peak_macs_per_s: Mapping[str, Sourced]
    bandwidth_bytes_per_s: Sourced | None
    energy: EnergyTable
    caches: tuple[Level, ...] = ()
    sram_bytes: Sourced | None = None
    flash_bytes: Sourced | None = None
    dram_bytes: Sourced | None = None
    power_w: Sourced | None = None
    clock_hz: Sourced | None = None
    core: str | None = None
    notes: tuple[str, ...] = field(default=())

    def peak(self, dtype: str) -> Sourced | None:
        """Return the peak rate for a type; for one that no source names, the highest known, which still bounds it."""
        known = self.peak_macs_per_s.get(_ALIASES.get(dtype, dtype))
        return known or max(self.peak_macs_per_s.values(), key=lambda rate: rate.value, default=None)

    def bandwidth(self, working_set: int) -> Sourced | None:
        """Return the highest rate (bytes/s) at which an operation on so many bytes can move them."""
        for level in self.caches:
            if working_set <= level.bytes:
                return level.bytes_per_s
        return self.bandwidth_bytes_per_s

    def balance(self, dtype: str, working_set: int | None = None) -> float | None:
        """Return the multiply-accumulates a byte above which the machine is bound by compute (the waterline)."""
        rate = self.peak(dtype)
        moved = self.bandwidth_bytes_per_s if working_set is None else self.bandwidth(working_set)
        return rate.value / moved.value if rate and moved else None

    def figures(self) -> dict[str, Sourced]:
        """Return every known figure by name, with its unit in the name."""
        found = {f"peak_macs_per_s.{dtype}": rate for dtype, rate in self.peak_macs_per_s.items()}
        found |= {f"bytes_per_s.up_to_{level.bytes}_bytes": level.bytes_per_s for level in self.caches}
        single = ("bandwidth_bytes_per_s", "sram_bytes", "flash_bytes", "dram_bytes", "power_w", "clock_hz")
        return found | {name: value for name in single if (value := getattr(self, name)) is not None}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, every figure with its kind and source."""
        return {
            "device": self.name,
            "scope": self.scope,
            "figures": {name: asdict(figure) for name, figure in self.figures().items()},
            "energy": {"citation": self.energy.citation, "add_pj": dict(self.energy.add)}
            | {"multiply_pj": dict(self.energy.multiply), "sram_32bit_pj": self.energy.sram_32bit}
            | {"dram_32bit_pj": self.energy.dram_32bit},
            "notes": list(self.notes),
        }
