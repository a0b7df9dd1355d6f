"""Where the instructions of a generated network go, by step, by function and by address, exactly, under emulation.

    benchmarks/mcu_profile.py BUILD [--cpu cortex-m7] [--optimize=-O2] [--input input.bin] [--assembly 40]

BUILD: a directory that `netwright compile` made. Without --input the input is random; generated code takes the same
instructions for every input but where it clamps.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from netwright.mcu.run.emulate import BOARDS, emulate
from netwright.mcu.run.hotspots import Hotspots, hotspots
from netwright.mcu.run.toolchain import sizes


def main() -> None:
    """Print the profile of the directory named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--cpu", default="cortex-m7", choices=BOARDS)
    parser.add_argument("--optimize", default="-O2")
    parser.add_argument("--input", type=Path, help="int8 values of one input")
    parser.add_argument("--assembly", type=int, default=0, help="show this many of the hottest stretches of code")
    options = parser.parse_args()
    count = sizes(options.build)["input"]
    if options.input:
        inputs = np.fromfile(options.input, np.int8)[None, :count]
    else:
        inputs = np.random.default_rng(0).integers(-128, 128, (1, count)).astype(np.int8)
    plain = emulate(options.build, inputs, cpu=options.cpu, optimize=options.optimize)
    with tempfile.TemporaryDirectory() as folder:
        found = hotspots(options.build, inputs, cpu=options.cpu, optimize=options.optimize, keep=Path(folder))
        elf = Path(folder) / f"net-{options.cpu}.elf"
        command = ["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", elf]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    print(f"{found.instructions:,} instructions; by the clock {int(plain.instructions[0]):,}; ", end="")
    print(
        f"stack {plain.stack_bytes}, code {plain.code_bytes:,}, flash {plain.flash_bytes:,}, arena {plain.arena_bytes:,}"
    )
    for what in ("step", "function"):
        print(f"\nby {what}")
        for name, total in found.by(what):
            print(f"{total:12,} {100 * total / found.instructions:6.2f} %  {name[:150]}")
    if options.assembly:
        _assembly(found, listing, options.assembly)


def _assembly(found: Hotspots, listing: str, stretches: int) -> None:
    """Print the runs of instructions of a disassembly executed equally often, those that took most first."""
    runs: list[tuple[int, list[str]]] = []
    function = ""
    for line in listing.splitlines():
        head, _, rest = line.partition(":")
        if line.endswith(">:"):
            function = line
        elif (at := int(head, 16) if head.strip().isalnum() and rest else None) in found.addresses and at is not None:
            count = found.addresses[at]
            if runs and runs[-1][0] == count and runs[-1][1][0] == function:
                runs[-1][1].append(line)
            else:
                runs.append((count, [function, line]))
    for count, lines in sorted(runs, key=lambda run: -run[0] * (len(run[1]) - 1))[:stretches]:
        total = count * (len(lines) - 1)
        print(f"\n{total:,} = {count:,} x {len(lines) - 1} ({100 * total / found.instructions:.2f} %) in {lines[0]}")
        print("\n".join(lines[1:]))


if __name__ == "__main__":
    main()
