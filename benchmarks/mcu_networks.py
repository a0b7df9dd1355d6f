"""Whole networks as generated C on emulated Cortex-M: instructions, arena, flash, code, stack, against other engines.

    python benchmarks/mcu_networks.py DIRECTORY            # the four .tflite files of DIRECTORY (see FIGURES below)
    python benchmarks/mcu_networks.py DIRECTORY --quick    # one processor, one level of optimization

Every network is compiled under each schedule, built for each processor and level of optimization, and run on random
inputs; its outputs must be those of the interpreter and of the same C on this machine. Then the plain layer lists of the
directory, where they are. Instructions are exact and are not cycles. Needs arm-none-eabi-gcc and qemu-system-arm.
Writes results/mcu_networks.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.graph.files.layer_list import read_layer_list  # noqa: E402
from netwright.graph.files.tflite import load_tflite  # noqa: E402
from netwright.graph.integers.interpret import interpret  # noqa: E402
from netwright.graph.integers.quantized import QuantizedGraph  # noqa: E402
from netwright.mcu.compile import Compiled, compile_network  # noqa: E402
from netwright.mcu.lower.border import as_bytes, as_tensors  # noqa: E402
from netwright.mcu.run.emulate import emulate  # noqa: E402
from netwright.mcu.run.host import build_host  # noqa: E402
from netwright.mcu.run.toolchain import call  # noqa: E402

INPUTS = 4
SCHEDULES = ("layers", "auto", "stream")
# file: (its name, instructions asked for, aimed at, {engine: (instructions in millions, arena, flash, code)})
FIGURES: dict[str, tuple[str, float, float | None, dict[str, tuple[float, int, int, int]]]] = {
    "mcunet-vww-int8.tflite": (
        "mcunet-vww",
        24.0,
        20.0,
        {
            "TFLM + CMSIS-NN": (47.937, 219_684, 709_456, 94_656),
            "TinyEngine (integer)": (42.69, 93_992, 513_648, 33_244),
            "TinyEngine (float, inexact)": (34.53, 93_992, 513_648, 33_244),
        },
    ),
    "mlperf-resnet8-cifar10-int8.tflite": (
        "resnet8",
        19.0,
        None,
        {"TFLM + CMSIS-NN": (29.865, 54_996, 180_152, 80_448)},
    ),
    "mlperf-vww96-int8.tflite": ("vww96", 14.0, None, {"TFLM + CMSIS-NN": (24.102, 100_708, 419_952, 85_440)}),
    "tflm-person-detect-int8.tflite": (
        "person-detect",
        13.5,
        None,
        {"TFLM + CMSIS-NN": (22.928, 82_308, 373_592, 71_936)},
    ),
}
LISTS = ("mbv2-w0.35.json", "mcunet-5fps.json")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    asked = parser.parse_args()
    cpus = ("cortex-m7",) if asked.quick else ("cortex-m7", "cortex-m4", "cortex-m33")
    levels = ("-O2",) if asked.quick else ("-O2", "-O3")
    rows = []
    for file in (*FIGURES, *LISTS):
        path = asked.directory / file
        if not path.exists():
            print(f"{path} is not there: left out", file=sys.stderr)
            continue
        model = read_layer_list(path) if path.suffix == ".json" else load_tflite(path)
        for schedule in SCHEDULES:
            with tempfile.TemporaryDirectory() as folder:
                compiled = compile_network(model, Path(folder) / "net", mode=schedule)
                rows += measure(file, model, compiled, schedule, cpus, levels)
    tools = [call([tool, "--version"]).decode().splitlines()[0] for tool in ("arm-none-eabi-gcc", "qemu-system-arm")]
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "tools": tools,
        "rows": rows,
    }
    save(asked.out, "mcu_networks.quick" if asked.quick else "mcu_networks", result, page(result))


def measure(
    file: str,
    model: QuantizedGraph,
    compiled: Compiled,
    schedule: str,
    cpus: tuple[str, ...],
    levels: tuple[str, ...],
) -> list[dict[str, Any]]:
    """Return one row a processor and level of optimization."""
    directory, network = compiled.directory, compiled.network
    size = sum(network.values[value].bytes for value in network.inputs)
    inputs = np.random.default_rng(7).integers(-128, 128, (INPUTS, size), dtype=np.int8)
    expected = as_bytes(model, network, interpret(model, as_tensors(model, network, inputs)))
    on_host = bool((build_host(directory).run(inputs) == expected).all())
    rows = []
    for cpu in cpus:
        for level in levels:
            run = emulate(directory, inputs, cpu=cpu, optimize=level)
            rows.append(
                {
                    "file": file,
                    "schedule": schedule,
                    "cpu": cpu,
                    "optimize": level,
                    "macs": network.macs,
                    "instructions": int(run.instructions.max()),
                    "arena_bytes": run.arena_bytes,
                    "ram_bytes": run.ram_bytes,
                    "flash_bytes": run.flash_bytes,
                    "code_bytes": run.code_bytes,
                    "stack_bytes": run.stack_bytes,
                    "bound": compiled.plan.bound,
                    "exact": on_host and bool((run.outputs == expected).all()),
                }
            )
            print(rows[-1], file=sys.stderr)
    return rows


def page(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Networks on microcontrollers",
        "",
        f"{result['date']}, {', '.join(result['tools'])}. Millions of instructions of one inference (the most of {INPUTS} random inputs); "
        "bytes of arena (the input is in it), flash (code and constants), code (with the library functions called), stack. "
        "Exact: interpreter, C on this machine and emulated C give the same bits. "
        "Figures of other engines: measured with the same emulator, 2026-11.",
        "",
        "| network | MMAC | engine | processor | insn (M) | insn/MAC | arena | flash | code | stack | exact |",
        "|---|--:|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for file in dict.fromkeys(row["file"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["file"] == file]
        name, _, _, engines = FIGURES.get(file, (file.removesuffix(".json"), 0.0, None, {}))
        macs = rows[0]["macs"] / 1e6
        for engine, (instructions, arena, flash, code) in engines.items():
            lines.append(
                f"| {name} | {macs:.2f} | {engine} | M4/M7 | {instructions:.2f} | {instructions / macs:.2f} "
                f"| {arena:,} | {flash:,} | {code:,} | | |"
            )
        for row in rows:
            millions = row["instructions"] / 1e6
            lines.append(
                f"| {name} | {macs:.2f} | netwright {row['schedule']} | {row['cpu']} {row['optimize']} | {millions:.2f} "
                f"| {millions / macs:.2f} | {row['arena_bytes']:,} | {row['flash_bytes']:,} | {row['code_bytes']:,} "
                f"| {row['stack_bytes']:,} | {'yes' if row['exact'] else 'NO'} |"
            )
    return "\n".join([*lines, "", "Command: `python benchmarks/mcu_networks.py DIRECTORY`", ""])


if __name__ == "__main__":
    main()
