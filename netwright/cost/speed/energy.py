"""Energy of a network: predicted from operations and memory accesses, or measured where the machine has a meter."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from netwright.cost.figures import Figure
from netwright.cost.speed.roofline import HasWorks, operand_dtype
from netwright.cost.speed.traffic import moved_bytes
from netwright.device.machine import Machine
from netwright.graph.graph import Graph

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class EnergyParts:
    """Millijoules of multiply-accumulates, of all other arithmetic, and of memory accesses.

    `memory`: which memory every access was taken to be of. `citation`: where the energies stand.
    """

    macs_mj: float
    others_mj: float
    memory_mj: float
    memory: str
    citation: str

    @property
    def total_mj(self) -> float:
        return self.macs_mj + self.others_mj + self.memory_mj


def energy(graph: Graph, counts: HasWorks, machine: Machine) -> Figure:
    """Return the millijoules of one run, predicted, with the citation of the energies; see `energy_parts`."""
    parts = energy_parts(graph, counts, machine)
    return Figure(parts.total_mj, "predicted", source=f"{parts.citation}; every operand from {parts.memory}")


def energy_parts(graph: Graph, counts: HasWorks, machine: Machine) -> EnergyParts:
    """Return what arithmetic and memory take: each operation's count times its energy (Horowitz 2014).

    Every operand is read from, and every result written to, the machine's largest memory once: DRAM, or on a
    microcontroller SRAM. Caches save some of that; instructions, control and leakage come on top. Good for comparing
    networks, not for predicting a battery.
    """
    table = machine.energy
    small = machine.dram_bytes is None and machine.sram_bytes is not None
    macs_pj = others_pj = 0.0
    for op, work in zip(graph.ops, counts.works, strict=True):
        if work is not None and work.flops:
            dtype = operand_dtype(graph, op)
            macs_pj += work.macs * table.mac(dtype)
            others_pj += max(0, work.flops - 2 * work.macs) * table.addition(dtype)
    memory_pj = sum(moved_bytes(graph)) / 4 * (table.sram_32bit if small else table.dram_32bit)
    return EnergyParts(macs_pj * 1e-9, others_pj * 1e-9, memory_pj * 1e-9, "SRAM" if small else "DRAM", table.citation)


@dataclass(frozen=True)
class Metered:
    """Measured millijoules of one run; None where no meter could be read, and `meter` then says why.

    A meter measures the whole package or GPU, with whatever else ran there.
    """

    figure: Figure | None
    meter: str


def measure_energy(run: Callable[[], object], *, seconds: float = 2.0, powercap: Path = POWERCAP) -> Metered:
    """Run something repeatedly for about so many seconds and return the energy of one run, by the meters of the machine.

    Meters: RAPL (packages and their memory, through Linux's powercap) and NVML (GPUs, where the package nvidia-ml-py is
    installed). A GPU's work must have ended when `run` returns.
    """
    rapl, why_no_rapl = _rapl_domains(powercap)
    gpus, why_no_gpu = _gpus()
    if not rapl and not gpus:
        return Metered(None, f"no energy meter: {why_no_rapl}; {why_no_gpu}")
    run()
    before_rapl, before_gpu = [_read(path / "energy_uj") for path in rapl], [gpu() for gpu in gpus]
    runs, end = 0, time.perf_counter() + seconds
    while runs == 0 or time.perf_counter() < end:
        run()
        runs += 1
    microjoules = sum(
        (_read(path / "energy_uj") - before) % (_read(path / "max_energy_range_uj") + 1)
        for path, before in zip(rapl, before_rapl, strict=True)
    )
    millijoules = microjoules / 1e3 + sum(gpu() - before for gpu, before in zip(gpus, before_gpu, strict=True))
    meter = " and ".join(name for name, found in (("RAPL", rapl), ("NVML", gpus)) if found)
    return Metered(Figure(millijoules / runs, "measured", source=f"{meter}, {runs} runs"), meter)


def _rapl_domains(powercap: Path) -> tuple[list[Path], str]:
    """Return the powercap folders of packages and of their memory, which packages do not hold; or why there are none."""
    domains = [
        path
        for path in sorted(powercap.glob("intel-rapl:*"))
        if path.name.count(":") == 1 or (path / "name").read_text().strip() == "dram"
    ]
    if not domains:
        return [], f"{powercap} has no RAPL domain (virtual machines hide it)"
    try:
        for path in domains:
            _read(path / "energy_uj")
    except OSError as error:
        return [], f"RAPL cannot be read: {error.strerror} (it needs root)"
    return domains, ""


def _read(path: Path) -> int:
    return int(path.read_text())


def _gpus() -> tuple[Sequence[Callable[[], int]], str]:
    """Return a reader of the millijoules that each GPU has used, or why there is none."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return [], "NVML needs the package nvidia-ml-py"
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
        readers = [lambda handle=handle: int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) for handle in handles]
        for reader in readers:
            reader()
    except nvml.NVMLError as error:
        return [], f"NVML: {error}"
    return readers, "" if readers else "NVML sees no GPU"
