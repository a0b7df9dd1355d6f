"""Prediction of instructions, arena and flash on microcontrollers: fitted to blocks, held against whole networks.

    python benchmarks/mcu_instructions.py --work runs/mcu --fit      # measures, fits, writes netwright/mcu/instructions.json
    python benchmarks/mcu_instructions.py --work runs/mcu            # measures held-out networks, writes the results
    python benchmarks/mcu_instructions.py --work runs/mcu --quick    # a few of each, one processor

Fitted to single blocks of the `mcunet` space at several sizes and to some networks, on Cortex-M7; held out are 50 sub-networks
on each processor, each under a schedule of its own. Every program is emulated; its outputs must be those of the same C on this machine. What was measured is
kept in WORK by the text of its C, so that a killed run goes on and changed kernels are measured again.
Writes results/mcu_instructions.json and .md. Needs arm-none-eabi-gcc and qemu-system-arm.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import itertools
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.errors import NetwrightError  # noqa: E402
from netwright.core.files import write_json  # noqa: E402
from netwright.core.json_lines import append_line, read_lines  # noqa: E402
from netwright.core.run import environment  # noqa: E402
from netwright.mcu.emit.emit import emit  # noqa: E402
from netwright.mcu.network import Network  # noqa: E402
from netwright.mcu.price.from_blocks import network_of_blocks  # noqa: E402
from netwright.mcu.price.instructions import COEFFICIENTS, Work, fit, flash_of, works_of  # noqa: E402
from netwright.mcu.run.emulate import emulate  # noqa: E402
from netwright.mcu.run.host import build_host  # noqa: E402
from netwright.mcu.schedule.schedule import Schedule, schedule  # noqa: E402
from netwright.models.families import family  # noqa: E402
from netwright.models.family import Family  # noqa: E402
from netwright.nn.block import Block, Shape  # noqa: E402
from netwright.searching.layout import Layout  # noqa: E402
from netwright.searching.limits.mcu_prices import mcu_prices  # noqa: E402
from netwright.specialization.specialize import spread_sample  # noqa: E402

DEVICES = {"cortex-m7": "stm32f746", "cortex-m4": "stm32f412"}
FITTED_ON = "cortex-m7"
MODES = ("layers", "stream", "auto")
BLOCKS, NETWORKS, HELD_OUT = 100, 60, 50


@dataclass(frozen=True)
class Program:
    """A network to be emulated: blocks for an input, under a schedule."""

    blocks: tuple[Block, ...]
    in_shape: Shape
    mode: str

    def network(self, seed: int | None = 0) -> Network:
        """Return its integer network."""
        return network_of_blocks(self.blocks, self.in_shape, seed=seed)

    def plan(self, network: Network) -> Schedule:
        """Return the plan under which it is compiled."""
        return schedule(network, mode=self.mode)


def spaces() -> tuple[Family, ...]:
    """Return the space at the sizes that are measured."""
    return (
        family("mcunet", size=32, depth=2),
        family("mcunet", size=96, least=64, widths=(0.25, 0.35, 0.5)),
        family("mcunet", size=160, least=112, widths=(0.3, 0.5, 0.7), depth=2),
    )


def single_blocks(count: int, seed: int = 1) -> Iterator[Program]:
    """Yield blocks drawn from all kinds of every space, each kernel size and stride as often as the others."""
    rng = np.random.default_rng(seed)
    groups: dict[tuple[Any, ...], list[tuple[Block, Shape]]] = {}
    for made in spaces():
        for key in Layout(made).keys:
            if key is not None:
                block, _ = key
                kind = (type(block).__name__, getattr(block, "kernel", 0), getattr(block, "stride", 1))
                groups.setdefault(kind, []).append(key)
    for number, kind in zip(range(count), itertools.cycle(sorted(groups)), strict=False):
        block, shape = groups[kind][rng.integers(len(groups[kind]))]
        yield Program((block,), shape, MODES[number // len(groups) % 2])


def networks(count: int, seed: int) -> Iterator[Program]:
    """Yield sub-networks of every space in turn, small and large ones, under every kind of schedule."""
    drawn = [(made, spread_sample(made.space, count, seed)[2:]) for made in spaces()]
    for number in range(count):
        made, genes = drawn[number % len(drawn)]
        arch = made.space.decode(genes[number // len(drawn)])
        blocks = tuple(made.blocks(arch).values())
        yield Program(blocks, (3, arch.resolution, arch.resolution), MODES[number // len(drawn) % len(MODES)])


def measure(program: Program, cpu: str, work: Path) -> dict[str, Any]:
    """Return instructions, arena and flash of a program; read back where the same C was measured before.

    Raises:
        NetwrightError: it fails under emulation, or gives other outputs than on this machine.
    """
    network = program.network()
    source = emit(network, program.plan(network))
    key = hashlib.sha256("\0".join((cpu, *itertools.chain(*sorted(source.files.items())))).encode()).hexdigest()[:24]
    path = work / "measured.jsonl"
    known = {record["key"]: record for record in read_lines(path)} if path.exists() else {}
    if key in known:
        return known[key]
    inputs = np.random.default_rng(0).integers(-128, 128, (1, network.values[0].bytes)).astype(np.int8)
    with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
        source.write(Path(folder))
        found = emulate(Path(folder), inputs, cpu=cpu)
        if not np.array_equal(build_host(Path(folder)).run(inputs), found.outputs):
            raise NetwrightError(f"{program}: the emulated C gives other outputs than the same C on this machine.")
    record = {"key": key, "instructions": int(found.instructions[0]), "arena_bytes": found.arena_bytes}
    record |= {"flash_bytes": found.flash_bytes, "code_bytes": found.code_bytes}
    append_line(path, record)
    return record


def fit_models(work: Path, quick: bool) -> None:
    """Measure on one processor, fit, and write the models that come with netwright: all run the same code, nearly."""
    programs = [*single_blocks(24 if quick else BLOCKS), *networks(4 if quick else NETWORKS, seed=2)]
    spent: list[tuple[list[Work], float]] = []
    stored: list[tuple[list[Work], float]] = []
    for number, program in enumerate(programs):
        network = program.network(seed=None)
        found = measure(program, FITTED_ON, work)
        spent.append((works_of(network, program.plan(network)), found["instructions"]))
        stored.append((flash_of(network.layers), found["flash_bytes"]))
        print(f"{number + 1} of {len(programs)}", file=sys.stderr, flush=True)
    models: dict[str, Any] = {}
    for what, samples in (("instructions", spent), ("flash", stored)):
        model = fit(FITTED_ON, samples)
        print(f"{what}: mean error {100 * model.error:.2f} % of the {len(samples)} programs it was fitted to")
        models[what] = dict.fromkeys(DEVICES, model.to_json())
    write_json(ROOT / "netwright" / "mcu" / COEFFICIENTS, models)


def predict(program: Program, cpu: str) -> dict[str, Any]:
    """Return what the models say of a program, without its weights and without any C."""
    prices = mcu_prices(DEVICES[cpu])
    network = program.network(seed=None)
    plan = program.plan(network)
    instructions = prices.instructions.network(works_of(network, plan))
    return {
        "instructions": round(instructions),
        "arena_bytes": plan.arena_bytes,
        "flash_bytes": round(prices.flash.network(flash_of(network.layers))),
    }


def held_out(cpus: list[str], work: Path, count: int) -> list[dict[str, Any]]:
    """Return for every network that no model was fitted to: what was predicted, and what was found."""
    rows = []
    for cpu in cpus:
        for program in networks(count, seed=3):
            found, said = measure(program, cpu, work), predict(program, cpu)
            rows.append(
                {"cpu": cpu, "size": program.in_shape[1], "mode": program.mode, "predicted": said, "found": found}
            )
            print(f"{cpu}: {len(rows)}", file=sys.stderr, flush=True)
    return rows


def summary(rows: list[dict[str, Any]], cpu: str) -> dict[str, float]:
    """Return the errors of the networks of one processor, in percent, and the shares within the aims."""
    mine = [row for row in rows if row["cpu"] == cpu]
    errors = {
        what: np.array([100 * (row["predicted"][what] / row["found"][what] - 1) for row in mine])
        for what in ("instructions", "flash_bytes")
    }
    return {
        "networks": len(mine),
        "arena_exact": sum(row["predicted"]["arena_bytes"] == row["found"]["arena_bytes"] for row in mine),
        "flash_mean_pct": float(np.abs(errors["flash_bytes"]).mean()),
        "flash_worst_pct": float(np.abs(errors["flash_bytes"]).max()),
        "flash_within_3_pct": int((np.abs(errors["flash_bytes"]) <= 3).sum()),
        "instructions_mean_pct": float(np.abs(errors["instructions"]).mean()),
        "instructions_worst_pct": float(np.abs(errors["instructions"]).max()),
        "instructions_within_10_pct": int((np.abs(errors["instructions"]) <= 10).sum()),
    }


def page(result: dict[str, Any]) -> str:
    """Return the results as a page."""
    lines = [
        f"# Predicted and emulated: instructions, arena, flash ({result['date']})",
        "",
        f"`benchmarks/mcu_instructions.py`: models fitted to {result['fitted_to']} programs emulated on {FITTED_ON}, held against sub-networks",
        "of the space `mcunet` (32 to 160 pixels, 1 to 3 blocks a stage, kernels 3 to 7) under three kinds of schedule that no",
        f"model saw. arm-none-eabi-gcc -O2, QEMU; {result['environment']['processor']}. Errors in percent of what was found.",
        "",
        "| processor | networks | arena exact | flash: mean, worst, within 3 % | instructions: mean, worst, within 10 % |",
        "|---|---|---|---|---|",
    ]
    for cpu, one in result["summary"].items():
        lines.append(
            f"| {cpu} | {one['networks']} | {one['arena_exact']} | {one['flash_mean_pct']:.2f}, {one['flash_worst_pct']:.2f}, "
            f"{one['flash_within_3_pct']} | {one['instructions_mean_pct']:.2f}, {one['instructions_worst_pct']:.2f}, "
            f"{one['instructions_within_10_pct']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fit, or hold the models against networks they have not seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/mcu"))
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    cpus = [FITTED_ON] if asked.quick else list(DEVICES)
    if asked.fit:
        fit_models(asked.work, asked.quick)
        return
    rows = held_out(cpus, asked.work, 6 if asked.quick else HELD_OUT)
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "fitted_to": BLOCKS + NETWORKS,
        "summary": {cpu: summary(rows, cpu) for cpu in cpus},
        "rows": rows,
    }
    save(asked.out, "mcu_instructions", result, page(result))


if __name__ == "__main__":
    main()
