"""From an int8 network to a directory of C: lowered, scheduled, written, built where a compiler is, and proven right.

What `netwright compile` does. All files are made in a temporary folder and take their places at the end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.core.files import publish_folder, read_json, told, write_json
from netwright.graph.integers.comparison import Comparison
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.emit.emit import Weights, emit
from netwright.mcu.emit.preprocess import with_preprocessing
from netwright.mcu.layer import Network
from netwright.mcu.lower.lower import lower
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.table import Given, own_operators
from netwright.mcu.price.sizes import Sizes, measured_sizes, predicted_sizes
from netwright.mcu.run.emulate import TOOLS, build_elf
from netwright.mcu.run.toolchain import missing
from netwright.mcu.schedule.schedule import Schedule, schedule
from netwright.mcu.schedule.steps import peak_words, step_table

MANIFEST = "net.json"
MADE_BY = "netwright compile"
PROVEN_ON = 4  # random inputs on which the host's C is held against the interpreter


@dataclass(frozen=True)
class Compiled:
    """What was written, what it needs, and whether it fits the limits that were given (None: no limit).

    `comparison`: how far the integers are from the network in float; None where there was none. `checks`: what else was
    found on the finished C, by name.
    """

    directory: Path
    cpu: str
    network: Network
    plan: Schedule
    sizes: Sizes
    sram_limit: int | None
    flash_limit: int | None
    weights: Weights
    proven: str
    advice: tuple[str, ...]
    comparison: Comparison | None = None
    checks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sram_bytes(self) -> int:
        """Static memory: the arena, and the weights where they are copied to SRAM."""
        return self.plan.arena_bytes + (self.sizes.constant_bytes if self.weights == "sram" else 0)

    @property
    def fits(self) -> dict[str, bool]:
        """For each memory, whether its limit is kept."""
        return {
            "sram": self.sram_limit is None or self.sram_bytes <= self.sram_limit,
            "flash": self.flash_limit is None or self.sizes.flash_bytes <= self.flash_limit,
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values: what `netwright compile --json` prints and the directory's net.json holds."""
        plan = self.plan
        return {
            "cpu": self.cpu,
            "macs": self.network.macs,
            "arena_bytes": plan.arena_bytes,
            "lower_bound_bytes": plan.lower_bound_bytes,
            "bound": plan.bound,
            "sram_bytes": self.sram_bytes,
            "flash_bytes": self.sizes.flash_bytes,
            "code_bytes": self.sizes.code_bytes,
            "sizes": self.sizes.origin,
            "fits": self.fits,
            "schedule": {"mode": plan.mode, "steps": len(plan.steps)},
            "ops": step_table(self.network, plan),
            "proven": self.proven,
            "float": None if self.comparison is None else self.comparison.to_json(),
            **self.checks,
            "notes": [*self.network.notes, *self.advice],
        }


def compile_network(
    model: QuantizedGraph,
    out: Path,
    *,
    name: str = "net",
    cpu: str = "cortex-m7",
    sram_bytes: int | None = None,
    flash_bytes: int | None = None,
    mode: str = "auto",
    weights: Weights = "flash",
    emulated: bool = False,
    operators: Given | Iterable[Given] | Mapping[str, Operator] | None = None,
    checks: Mapping[str, Callable[[Path], Any]] | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Compiled:
    """Write the C of a network to the directory `out`, which must be new, empty or an earlier result.

    The directory is written also where the network does not fit: `fits` says so, and `advice` what would make it fit.

    Args:
        model: the network, quantized.
        out: the directory; an earlier result's files are replaced, those of others are kept.
        name: of the network, for comments.
        cpu: for which the program is built.
        sram_bytes: limit of static memory.
        flash_bytes: limit of flash.
        mode: schedule: auto, layers, stream or patch.
        weights: flash, or sram.
        emulated: with emulated/net-CPU.elf, the program that the emulator runs.
        operators: of one's own: an `Operator`, several, or FILE.py:NAME.
        checks: what else is found out from the finished folder, as JSON values by name.
        note: called with lines that tell the progress.

    Raises:
        NetwrightError: an operator that is not supported, a place that cannot be written, or C that differs from the
            interpreter (a fault of netwright).
    """
    out = Path(os.path.realpath(out))
    earlier = check_place(out)
    own = own_operators(operators)
    network = lower(model, own)
    note(f"{len(network.layers)} layers, {network.macs:,} MACs")
    plan = schedule(network, sram_bytes=sram_bytes, mode=mode)
    source = emit(network, plan, name=name, weights=weights)
    if weights == "sram" and sram_bytes is not None:
        left = max(1, sram_bytes - predicted_sizes(source, 0).constant_bytes)
        plan = schedule(network, sram_bytes=left, mode=mode)
        source = emit(network, plan, name=name, weights=weights)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="netwright-") as made,
            tempfile.TemporaryDirectory(prefix="netwright-") as objects,
        ):
            written = with_preprocessing(source, network, model.images)
            scratch, files = Path(made), [*written.files, MANIFEST]
            written.write(scratch)
            sizes = predicted_sizes(source, len(network.layers))
            if emulated or not missing(*TOOLS):
                elf = build_elf(scratch, cpu=cpu, folder=Path(objects))
                sizes = measured_sizes(elf, cpu)
                if emulated:
                    (scratch / "emulated").mkdir()
                    shutil.copyfile(elf, scratch / "emulated" / elf.name)
                    files.append(f"emulated/{elf.name}")
            proven = prove(model, network, scratch, own)
            note(proven)
            advice = _advice(network, plan, sizes, sram_bytes, flash_bytes, weights)
            result = Compiled(
                *(out, cpu, network, plan, sizes, sram_bytes, flash_bytes, weights, proven, advice),
                comparison=model.comparison,
                checks={word: check(scratch) for word, check in (checks or {}).items()},
            )
            write_json(scratch / MANIFEST, {"made_by": MADE_BY, **result.to_json(), "files": files})
            publish_folder(scratch, out, files, earlier=earlier)
    except OSError as error:
        raise NetwrightError(f"Cannot write {out}: {error.strerror or error}. {told(out.exists())}") from error
    return result


def check_place(out: Path) -> list[str]:
    """Return the files of an earlier result in a folder; refuse one that holds something else.

    Raises:
        NetwrightError: it is a file, or a folder with files in it but no net.json that `compile` wrote.
    """
    if out.exists() and not out.is_dir():
        raise NetwrightError(f"{out} is a file. Choose another --out: it names a folder.")
    try:
        if not out.exists() or not any(out.iterdir()):
            return []
        manifest = read_json(out / MANIFEST) if (out / MANIFEST).is_file() else None
    except OSError as error:
        raise NetwrightError(f"Cannot read {out}: {error.strerror or error}.") from error
    if not isinstance(manifest, dict) or manifest.get("made_by") != MADE_BY:
        raise NetwrightError(f"{out} holds other files and no compiled network. Choose another --out.")
    return [name for name in manifest.get("files", []) if isinstance(name, str) and ".." not in Path(name).parts]


def prove(model: QuantizedGraph, network: Network, directory: Path, operators: Iterable[Operator] = ()) -> str:
    """Run the C on this machine and the interpreter on the same random inputs; return in words what was found.

    Raises:
        NetwrightError: they differ.
    """
    from netwright.graph.integers.interpret import interpret
    from netwright.mcu.lower.border import as_bytes, as_tensors
    from netwright.mcu.run.host import build_host

    if reason := missing("gcc"):
        return f"not proven: {reason}"
    kernels = {name: one.compute for one in operators if one.compute for name in one.names}
    rng = np.random.default_rng(0)
    sizes = sum(network.values[value].bytes for value in network.inputs)
    inputs = rng.integers(-128, 128, (PROVEN_ON, sizes), dtype=np.int8)
    expected = as_bytes(model, network, interpret(model, as_tensors(model, network, inputs), kernels=kernels))
    with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
        wrong = int(np.count_nonzero(build_host(directory, folder=Path(folder)).run(inputs) != expected))
    if wrong:
        raise NetwrightError(
            f"The generated C differs from the interpreter in {wrong} of {expected.size} output values. "
            + (
                f"Compare the arithmetic of {', '.join(sorted(kernels))} with its C; otherwise"
                if kernels
                else "This is a fault of netwright:"
            )
            + " please report it with the model; --schedule layers may avoid it."
        )
    return f"equal to the interpreter, bit for bit, on {PROVEN_ON} random inputs ({expected.size} output values)"


def _advice(
    network: Network, plan: Schedule, sizes: Sizes, sram: int | None, flash: int | None, weights: Weights
) -> tuple[str, ...]:
    """Say by how much a limit is missed, where, and what would keep it."""
    advice = []
    needed = plan.arena_bytes + (sizes.constant_bytes if weights == "sram" else 0)
    if sram is not None and needed > sram:
        text = f"SRAM: {needed:,} bytes needed, {needed - sram:,} more than --sram {sram:,}; the peak is at {peak_words(network, plan)}."
        if weights == "sram" and plan.arena_bytes <= sram:
            text += " With --weights flash it fits."
        else:
            text += _smaller(network, plan, sram - (needed - plan.arena_bytes))
        advice.append(text)
    if flash is not None and sizes.flash_bytes > flash:
        share = sizes.constant_bytes / max(1, sizes.flash_bytes)
        advice.append(
            f"Flash: {sizes.flash_bytes:,} bytes needed, {sizes.flash_bytes - flash:,} more than --flash {flash:,}; "
            f"{share:.0%} of them are weights: only a smaller network fits."
        )
    return tuple(advice)


def _smaller(network: Network, plan: Schedule, left: int) -> str:
    """Say what the planner finds where it may choose among all schedules; `left`: bytes that the arena may have."""
    least = plan.arena_bytes
    if plan.mode != "auto":
        least = schedule(network, sram_bytes=max(1, left), mode="auto").arena_bytes
    if least >= plan.arena_bytes:
        return " No smaller schedule was found: lower the resolution or the width, or search a network for this device."
    return f" --schedule auto takes {least:,} bytes of arena{', which fits' if least <= left else ', still too many'}."
