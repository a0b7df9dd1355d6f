"""Where the instructions of a generated network go: by step of net.c and by function, exactly, under emulation.

A plugin of the emulator counts them by address; debug information tells the function of an address, inlined ones too.
Instructions of shared functions are counted to the statement of net.c that called them.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.mcu.run.emulate import build_elf, run_elf, sections
from netwright.mcu.run.host import check_inputs
from netwright.mcu.run.toolchain import call, harness, sizes


@dataclass(frozen=True)
class Hotspot:
    """Instructions executed in `function` on behalf of the statement of net.c at `line`, whose text is `step`."""

    step: str
    line: int
    function: str
    instructions: int


@dataclass(frozen=True)
class Hotspots:
    """Where one run's instructions went, largest first; `addresses`: executions of each instruction address."""

    spots: tuple[Hotspot, ...]
    addresses: dict[int, int]

    @property
    def instructions(self) -> int:
        """Instructions of the run."""
        return sum(spot.instructions for spot in self.spots)

    def by(self, what: str) -> list[tuple[str, int]]:
        """Return instructions by "function", or by "step" in the order of net.c."""
        totals: dict[tuple[int, str], int] = defaultdict(int)
        for spot in self.spots:
            totals[(spot.line, spot.step) if what == "step" else (0, spot.function)] += spot.instructions
        ordered = sorted(totals.items(), key=lambda item: item[0] if what == "step" else -item[1])
        return [(name, total) for (_, name), total in ordered]


@dataclass(frozen=True)
class _Place:
    """What is at an address: its innermost function, the line of net.c it belongs to, 0 for shared functions."""

    function: str
    line: int


def hotspots(
    directory: Path,
    inputs: NDArray[np.int8],
    *,
    cpu: str = "cortex-m7",
    optimize: str = "-O2",
    seconds: float = 600,
    keep: Path | None = None,
) -> Hotspots:
    """Count the instructions of the run with the first of `inputs`, [N, input bytes].

    Nothing is written into the directory. `keep`: a folder in which the program, net-CPU.elf, is left.

    Raises:
        NetwrightError: as of `emulate`; besides it needs gcc, for the plugin.
    """
    stated = sizes(directory)
    one = check_inputs(inputs, stated["input"])[:1]
    with tempfile.TemporaryDirectory(prefix="netwright-") as made:
        folder = Path(made)
        elf = build_elf(directory, cpu=cpu, optimize=optimize, flags=("-g",), folder=keep or folder)
        low, size = sections(elf)[".text"]
        places = _places(elf, range(low, low + size, 2))
        lines = sorted({place.line for place in places.values() if place.line})
        plugin = folder / "count.so"
        call(["gcc", "-shared", "-fPIC", "-O2", f"-DPLUGIN_API={_plugin_api()}", harness("count.c"), "-o", plugin])
        steps = [f"{address:x} {lines.index(place.line)}\n" for address, place in places.items() if place.line]
        (folder / "steps").write_text("".join(steps))
        begin, end = (_symbol(elf, name) for name in ("net_invoke", "measure_end"))
        numbers = f"begin={begin:x},end={end:x},low={low:x},high={low + size:x}"
        run_elf(
            elf,
            one,
            folder,
            cpu=cpu,
            seconds=seconds,
            options=("-plugin", f"{plugin},{numbers},steps=steps,out=counts"),
        )
        counts = [line.split() for line in (folder / "counts").read_text().splitlines()]
    return _gathered((directory / "net.c").read_text().splitlines(), lines, places, counts)


def _plugin_api() -> int:
    """Return the version of the plugin interface to ask for: QEMU 9 refuses 1, those before it know no other."""
    told = call(["qemu-system-arm", "--version"]).decode()
    found = re.search(r"version (\d+)\.", told)
    return 1 if found is None or int(found[1]) < 9 else 2


def _gathered(source: list[str], lines: list[int], places: dict[int, _Place], counts: list[list[str]]) -> Hotspots:
    totals: dict[tuple[int, str], int] = defaultdict(int)
    addresses: dict[int, int] = defaultdict(int)
    for step, address, count in counts:
        at = int(address, 16)
        totals[lines[int(step)], places[at].function] += int(count)
        addresses[at] += int(count)
    spots = [Hotspot(_step(source, line), line, function, total) for (line, function), total in totals.items()]
    return Hotspots(tuple(sorted(spots, key=lambda spot: -spot.instructions)), dict(addresses))


def _step(source: list[str], line: int) -> str:
    """Return a line of net.c, 1 the first; with the comment above it, which names the layer."""
    above = source[line - 2].strip() if line > 1 else ""
    return (
        f"{above} {source[line - 1].strip()}"
        if above.startswith("/*") and above.endswith("*/")
        else source[line - 1].strip()
    )


def _places(elf: Path, addresses: range) -> dict[int, _Place]:
    asked = "\n".join(f"{address:#x}" for address in addresses).encode()
    found: dict[int, _Place] = {}
    lines = call(["arm-none-eabi-addr2line", "-a", "-f", "-i", "-e", elf], stdin=asked).decode().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("0x")]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        frames = list(zip(lines[start + 1 : stop : 2], lines[start + 2 : stop : 2], strict=True))
        own = [where.split(" ")[0].rsplit(":", 1)[1] for _, where in frames if "/net.c:" in where]
        line = int(own[0]) if own and own[0].isdigit() else 0
        found[int(lines[start], 16)] = _Place(frames[0][0], line)
    return found


def _symbol(elf: Path, name: str) -> int:
    for line in call(["arm-none-eabi-nm", elf]).decode().splitlines():
        words = line.split()
        if words[-1] == name:
            return int(words[0], 16) & ~1
    raise NetwrightError(f"{elf} has no function {name}.")
