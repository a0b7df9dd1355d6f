"""The arena of int8 networks layer by layer, row by row and in patches, what it costs in instructions, and what is proven.

    python benchmarks/mcu_memory.py DIRECTORY            # the .tflite files and plain layer lists of DIRECTORY
    python benchmarks/mcu_memory.py DIRECTORY --quick    # two of them, fewer limits

Every plan becomes C, whose outputs must be the interpreter's on this machine; instructions are counted on an emulated
Cortex-M7 where the tools are there. Then one network under falling limits of SRAM, and chains of blocks drawn at random,
whose memory is held against that of their schedules. Writes results/mcu_memory.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import time
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
from netwright.mcu.emit.emit import emit  # noqa: E402
from netwright.mcu.emit.layer import layer_scratch  # noqa: E402
from netwright.mcu.lower.border import as_bytes, as_tensors  # noqa: E402
from netwright.mcu.lower.lower import lower  # noqa: E402
from netwright.mcu.network import Network  # noqa: E402
from netwright.mcu.price.chain import chain_memory  # noqa: E402
from netwright.mcu.price.from_blocks import network_of_blocks  # noqa: E402
from netwright.mcu.run.emulate import TOOLS, emulate  # noqa: E402
from netwright.mcu.run.host import build_host  # noqa: E402
from netwright.mcu.run.toolchain import missing  # noqa: E402
from netwright.mcu.schedule.schedule import Schedule, Whole, schedule  # noqa: E402
from netwright.mcu.schedule.steps import how, peak_words  # noqa: E402
from netwright.models.mcunet import mcunet  # noqa: E402

CPU = "cortex-m7"
FILES = (
    "mcunet-vww-int8.tflite",
    "mlperf-resnet8-cifar10-int8.tflite",
    "mlperf-vww96-int8.tflite",
    "tflm-person-detect-int8.tflite",
    "mbv2-w0.35.json",
    "mcunet-5fps.json",
)
OTHERS = {  # arenas of other engines
    FILES[0]: "TFLM 219,684; TinyEngine 93,992, with 2x2 patches 81,552 and 5 % more instructions",
    FILES[1]: "TFLM 54,996",
    FILES[2]: "TFLM 100,708",
    FILES[3]: "TFLM 82,308",
}
LIMITS = (90_000, 80_000, 70_000, 60_000, 50_000, 40_000, 32_000, 26_000, 22_000)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    asked = parser.parse_args()
    rows = []
    for file in FILES[:2] if asked.quick else FILES:
        path = asked.directory / file
        if not path.exists():
            print(f"{path} is not there: left out", file=sys.stderr)
            continue
        model = read_layer_list(path) if path.suffix == ".json" else load_tflite(path)
        rows += [measure(file, model, mode, None) for mode in ("layers", "stream", "patch")]
        if file == FILES[0]:
            limits = LIMITS[::4] if asked.quick else LIMITS
            rows += [measure(file, model, "auto", limit) for limit in limits]
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "cpu": CPU,
        "without_emulation": missing(*TOOLS),
        "rows": rows,
        "chains": chains(5 if asked.quick else 40),
    }
    save(asked.out, "mcu_memory.quick" if asked.quick else "mcu_memory", result, page(result))


def measure(file: str, model: QuantizedGraph, mode: str, limit: int | None) -> dict[str, Any]:
    """Return what one plan of a network needs, measured."""
    network = lower(model)
    started = time.perf_counter()
    plan = schedule(network, mode=mode, sram_bytes=limit, scratch=layer_scratch)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        emit(network, plan).write(directory)
        size = sum(network.values[value].bytes for value in network.inputs)
        inputs = np.random.default_rng(7).integers(-128, 128, (2, size), dtype=np.int8)
        expected = as_bytes(model, network, interpret(model, as_tensors(model, network, inputs)))
        exact = bool((build_host(directory).run(inputs) == expected).all())
        run = None if missing(*TOOLS) else emulate(directory, inputs[:1], cpu=CPU)
        exact = exact and (run is None or bool((run.outputs == expected[:1]).all()))
    row = {
        "file": file,
        "mode": mode,
        "limit": limit,
        "input_bytes": size,
        "arena_bytes": plan.arena_bytes,
        "lower_bound_bytes": plan.lower_bound_bytes,
        "order_bound_bytes": plan.order_bound_bytes,
        "bound": plan.bound,
        "peak": peak_words(network, plan),
        "steps": _steps(plan),
        "scratch_bytes": max((step.scratch_bytes for step in plan.steps if isinstance(step, Whole)), default=0),
        "repeated_rows_pct": round(100 * _repeated(network, plan), 1),
        "estimated_instructions": round(plan.instructions),
        "instructions": None if run is None else int(run.instructions.max()),
        "code_bytes": None if run is None else run.code_bytes,
        "stack_bytes": None if run is None else run.stack_bytes,
        "exact": exact,
        "plan_seconds": round(seconds, 2),
    }
    print(row, file=sys.stderr)
    return row


def chains(count: int) -> dict[str, Any]:
    """Hold the memory of chains of blocks against that of the schedules of their networks."""
    family = mcunet(size=96)
    archs = [family.space.decode(genes) for genes in family.space.sample(np.random.default_rng(7), count)]
    equal, worst = 0, 1.0
    for arch in archs:
        shape = (3, arch.resolution, arch.resolution)
        needed = chain_memory(family.blocks(arch), shape)
        arena = schedule(network_of_blocks(family.blocks(arch), shape, seed=None), mode="stream").arena_bytes
        equal += needed == arena
        worst = max(worst, arena / needed)
    started = time.process_time()
    for arch in archs:
        chain_memory(family.blocks(arch), (3, arch.resolution, arch.resolution))
    again = (time.process_time() - started) / count
    return {"networks": count, "equal": equal, "worst": round(worst, 4), "milliseconds_again": round(again * 1e3, 3)}


def page(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Memory of networks on microcontrollers",
        "",
        f"{result['date']}. Bytes of arena; the input image is in it. Instructions: millions, emulated {result['cpu']}, gcc -O2. "
        "Twice: rows made again by another patch, of all. Exact: the C of this plan gives the interpreter's bits on this machine "
        f"and emulated. {result['without_emulation'] or ''}",
        "",
        "| network | plan | arena | bound | insn (M) | more | whole | in place | segments | patches | twice | code | exact |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    base: dict[str, int] = {}
    for row in result["rows"]:
        if row["mode"] == "layers" and row["instructions"]:
            base[row["file"]] = row["instructions"]
        insn, more = "", ""
        if row["instructions"]:
            insn = f"{row['instructions'] / 1e6:.2f}"
            more = f"{100 * (row['instructions'] / base[row['file']] - 1):+.1f} %"
        plan = row["mode"] if row["limit"] is None else f"at most {row['limit']:,}"
        steps = " | ".join(str(row["steps"][kind]) for kind in ("whole", "in place", "row by row", "patches"))
        lines.append(
            f"| {Path(row['file']).stem} | {plan} | {row['arena_bytes']:,} | {row['lower_bound_bytes']:,} | {insn} | {more} "
            f"| {steps} | {row['repeated_rows_pct']} % | {row['code_bytes'] or 0:,} | {'yes' if row['exact'] else 'NO'} |"
        )
    chain = result["chains"]
    lines += [
        "",
        "bound: what the steps of this plan must keep alive at once; layer by layer it is also that of every order of layers.",
        "",
        *(f"- {Path(file).stem}, other engines: {text}" for file, text in OTHERS.items()),
        "",
        f"Memory of a chain of blocks (`mcu.chain`) against the arena of its network's schedule, {chain['networks']} networks of the "
        f"space `mcunet`: equal for {chain['equal']}, the arena at most {chain['worst']:.3f} times it; "
        f"{chain['milliseconds_again']} ms a network whose blocks were met before.",
        "",
        "Command: `python benchmarks/mcu_memory.py DIRECTORY`",
        "",
    ]
    return "\n".join(lines)


def _steps(plan: Schedule) -> dict[str, int]:
    kinds = ["patches" if how(step).startswith("patches") else how(step) for step in plan.steps]
    return {kind: kinds.count(kind) for kind in ("whole", "in place", "row by row", "patches")}


def _repeated(network: Network, plan: Schedule) -> float:
    """Return the share of rows of layers in segments that are made again."""
    made = once = 0.0
    for step in plan.steps:
        if not isinstance(step, Whole):
            made += sum(step.rows_made(network, place) for place in range(len(step.stages)))
            once += sum(stage.height for stage in step.stages)
    return made / once - 1 if once else 0.0


if __name__ == "__main__":
    main()
