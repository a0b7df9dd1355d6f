"""The roofline against measured time: is the bound ever above it, and where is time lost?

    python benchmarks/cost_roofline.py            # seven models, four minutes
    python benchmarks/cost_roofline.py --quick    # two models

Each model runs in PyTorch's eager mode, batch 1, fp32, one thread: the whole network, and each operation inside it; and in
ONNX Runtime; weights are random, so in eager mode denormal numbers count as zero. All take turns in rounds, with the machine's peak rates, and the best of all rounds stands for each. The sum of the operations'
bounds is held against the eager time, each operation's bound against its own time, and the bound for any runtime against
ONNX Runtime. Then what the bounds and the energies are on the devices known from data sheets, and the once-for-all table.
Writes results/cost_roofline.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.cost.count import count  # noqa: E402
from netwright.cost.formulas.carbon import once_for_all_table  # noqa: E402
from netwright.cost.speed.energy import energy, measure_energy  # noqa: E402
from netwright.cost.speed.measured import Gap, Timed, efficiency_gaps, time_module  # noqa: E402
from netwright.cost.speed.roofline import roofline  # noqa: E402
from netwright.cost.speed.traffic import moved_bytes  # noqa: E402
from netwright.device.machine import Machine  # noqa: E402
from netwright.device.machines import MACHINES  # noqa: E402
from netwright.device.peaks import Peaks, measure_peaks  # noqa: E402
from netwright.graph.capture.trace import capture  # noqa: E402
from netwright.runtime.runtimes import runtime  # noqa: E402

MODELS = (
    ("mobilenetv2_100", 224),
    ("mobilenetv3_large_100", 224),
    ("tf_efficientnetv2_s", 384),
    ("efficientvit_b1", 224),
    ("dm_nfnet_f0", 256),
    ("vit_tiny_patch16_224", 224),
    ("swin_tiny_patch4_window7_224", 224),
)
NOISE = 0.05  # a bound at most this far above a measured time counts as kept


def best_of(one: Peaks, other: Peaks) -> Peaks:
    """Return the higher rates of two measurements."""
    return replace(
        one,
        macs_per_s={name: max(rate, other.macs_per_s.get(name, 0.0)) for name, rate in one.macs_per_s.items()},
        bytes_per_s=tuple(
            (size, max(rate, again))
            for (size, rate), (_, again) in zip(one.bytes_per_s, other.bytes_per_s, strict=True)
        ),
    )


class Subject:
    """A model with its graph, its times, and later its bounds."""

    def __init__(self, name: str, size: int):
        self.name = name
        self.net: nn.Module = timm.create_model(name).eval()
        self.x_BCHW = torch.randn(1, 3, size, size)
        self.graph = capture(self.net, self.x_BCHW)
        self.counts = count(self.graph)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter tells much
            self.program = runtime("onnxruntime").compile(self.net, (3, size, size), threads=1)
        self.timed: Timed | None = None
        self.onnxruntime_ms = float("inf")

    def visit(self) -> None:
        """Run the network some times in both runtimes, and keep the least times."""
        found = time_module(self.graph, self.net, self.x_BCHW, seconds=0.2)
        if self.timed is not None:
            ops_s = tuple(min(pair) for pair in zip(found.ops_s, self.timed.ops_s, strict=True))
            found = replace(found, ops_s=ops_s, total_s=min(found.total_s, self.timed.total_s))
        self.timed = found
        for _ in range(5):
            started = time.perf_counter()
            self.program.run(self.x_BCHW.numpy())
            self.onnxruntime_ms = min(self.onnxruntime_ms, 1e3 * (time.perf_counter() - started))

    def row(self, machine: Machine) -> dict[str, Any]:
        """Return the bounds on this machine against the measured times."""
        assert self.timed is not None
        started = time.perf_counter()
        bounds = roofline(self.graph, self.counts, machine)
        spent = time.perf_counter() - started
        ratios = [
            bound.ms / (1e3 * seconds) for bound, seconds in zip(bounds.ops, self.timed.ops_s, strict=True) if bound.ms
        ]
        gaps = efficiency_gaps(self.graph, bounds, self.timed.ops_s, machine)
        eager_ms, ops_ms = 1e3 * self.timed.total_s, 1e3 * sum(self.timed.ops_s)
        compute_bound = sum(bound.ms for bound in bounds.ops if bound.bound == "compute")
        return {
            "model": self.name,
            "macs": self.counts.macs,
            "bytes_moved": sum(moved_bytes(self.graph)),
            "bound_ms": bounds.total.value,
            "eager_ms": eager_ms,
            "ops_ms": ops_ms,
            "utilisation": bounds.total.value / ops_ms,
            "bound_share_of_compute_bound_operations": compute_bound / bounds.total.value,
            "floor_ms": bounds.floor.value,
            "onnxruntime_ms": self.onnxruntime_ms,
            "floor_utilisation": bounds.floor.value / self.onnxruntime_ms,
            "operations": len(ratios),
            "operations_above_noise": sum(ratio > 1 + NOISE for ratio in ratios),
            "highest_operation_ratio": max(ratios),
            "kept": bounds.total.value <= (1 + NOISE) * min(eager_ms, ops_ms)
            and bounds.floor.value <= (1 + NOISE) * self.onnxruntime_ms,
            "roofline_seconds": spent,
            "energy_mj_predicted": energy(self.graph, self.counts, machine).value,
            "most_lost": [_short(gap) for gap in sorted(gaps, key=lambda gap: -gap.lost_ms)[:5]],
            "layers": [gap.to_json() for gap in gaps],
        }

    def on(self, machine: Machine) -> dict[str, float]:
        """Return bounds and energy on another machine."""
        bounds = roofline(self.graph, self.counts, machine)
        return {
            "bound_ms": bounds.total.value,
            "floor_ms": bounds.floor.value,
            "energy_mj": energy(self.graph, self.counts, machine).value,
        }


def rounded(value: Any) -> Any:
    """Return plain JSON values with six digits of every number that is not whole."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _short(gap: Gap) -> dict[str, Any]:
    return {
        "path": gap.path,
        "lost_ms": round(gap.lost_ms, 4),
        "utilisation": round(gap.utilisation, 3),
        "bound": gap.bound,
        "intensity": round(gap.intensity, 2),
    }


def main() -> None:
    """Run, print and write the results; exit 1 if a bound lies above what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two models")
    parser.add_argument("--rounds", type=int, default=20, help="in which all take turns")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    before = os.getloadavg()[0]
    subjects = [Subject(name, size) for name, size in MODELS[: 2 if options.quick else None]]
    peaks = measure_peaks(1)
    for number in range(3 if options.quick else options.rounds):
        print(f"round {number}", file=sys.stderr, flush=True)
        for subject in subjects:
            subject.visit()
        peaks = best_of(peaks, measure_peaks(1))
    machine = peaks.machine()
    rows = [subject.row(machine) for subject in subjects]
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "load_average": [before, os.getloadavg()[0]],
        "quick": options.quick,
        "promise": f"no bound above the measured time, within {NOISE:.0%}",
        "passed": all(row["kept"] for row in rows),
        "machine": machine.to_json(),
        "models": rows,
        "devices": {
            name: {subject.name: subject.on(device) for subject in subjects} for name, device in MACHINES.items()
        },
        "measured_energy": measure_energy(lambda: None, seconds=0.1).meter,
        "once_for_all_table": [
            {"method": row.name, "printed_thousands": row.printed, "as_printed": row.matches}
            | {"exact": asdict(row.exact), "from_printed_hours": asdict(row.rounded)}
            for row in once_for_all_table()
        ],
    }
    stem = "cost_roofline.quick" if options.quick else "cost_roofline"
    save(options.out, stem, rounded(result), _markdown(result))
    raise SystemExit(0 if result["passed"] else 1)


def _markdown(result: dict[str, Any]) -> str:
    place = result["environment"]
    figures = result["machine"]["figures"]
    lines = [
        f"# Roofline and measured time, {result['date']}",
        "",
        f"{place['processor']}, {place['cores']} cores shared with other work; torch {place['versions']['torch']}, onnxruntime "
        f"{place['versions']['onnxruntime']}; one thread, fp32, batch 1. Load average {result['load_average'][0]:.1f} before and "
        f"{result['load_average'][1]:.1f} after, of which 1 is this script: where it is higher, `whole network` and ONNX Runtime are slowed.",
        "",
        "Peaks measured: "
        + ", ".join(
            f"{name.rpartition('.')[2]} {figure['value'] / 1e9:.0f} GMAC/s"
            for name, figure in figures.items()
            if name.startswith("peak")
        )
        + "; bandwidth "
        + ", ".join(
            f"{figure['value'] / 1e9:.0f}"
            for name, figure in figures.items()
            if "bytes_per_s" in name and "peak" not in name
        )
        + " GB/s, from the second cache to main memory.",
        "",
        "| model | GMAC | moved MB | bound ms | operations ms | bound / operations | whole network ms | floor ms | ONNX Runtime ms "
        "| floor / ORT | operations faster than their bound |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['model']} | {row['macs'] / 1e9:.3f} | {row['bytes_moved'] / 1e6:.0f} | {row['bound_ms']:.2f} | {row['ops_ms']:.2f} "
        f"| {row['utilisation']:.2f} | {row['eager_ms']:.2f} | {row['floor_ms']:.2f} | {row['onnxruntime_ms']:.2f} | {row['floor_utilisation']:.2f} "
        f"| {row['operations_above_noise']} of {row['operations']} (highest {row['highest_operation_ratio']:.2f}) |"
        for row in result["models"]
    ]
    lines += [
        "",
        f"Bound: the operations one by one, as eager runs them; `operations`: their least times added up, which other work on the "
        f"machine disturbs less than `whole network`, one run at a time. Floor: any runtime. Promise ({result['promise']}): "
        f"{'kept' if result['passed'] else 'BROKEN'}. Energy measured here: {result['measured_energy']}.",
        "",
        "Where the most time is lost, and what share of the bound's speed was reached there:",
        "",
        "| model | layers |",
        "|---|---|",
    ]
    for row in result["models"]:
        layers = ", ".join(
            f"{one['path'] or 'root'} {one['lost_ms']:.2f} ms ({one['utilisation']:.2f})" for one in row["most_lost"]
        )
        lines.append(f"| {row['model']} | {layers} |")
    lines += [
        "",
        "Devices from data sheets: least ms for any runtime, and predicted mJ (operations and memory accesses of the "
        "table of each device, every operand from its largest memory).",
        "",
        "| device | " + " | ".join(row["model"] for row in result["models"]) + " |",
        "|---|" + "---|" * len(result["models"]),
    ]
    lines += [
        f"| {name} | "
        + " | ".join(f"{one['floor_ms']:.3g} ms, {one['energy_mj']:.3g} mJ" for one in models.values())
        + " |"
        for name, models in result["devices"].items()
    ]
    return "\n".join([*lines, "", *_carbon(result["once_for_all_table"])]) + "\n"


def _carbon(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "Once-for-all, Table 1, N = 40: GPU hours, lb CO2e and dollars in thousands, computed exactly and from the printed hours.",
        "",
        "| method | printed | computed | from printed hours | as printed |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        exact, rounded = row["exact"], row["from_printed_hours"]
        values = [
            f"{one['gpu_hours'] / 1e3:.4g} h, {one['co2e_kg'] / 0.45359237 / 1e3:.4g} lb, ${one['dollars'] / 1e3:.4g}"
            for one in (exact, rounded)
        ]
        kept = ", ".join(
            name for name, good in zip(("hours", "CO2e", "dollars"), row["as_printed"], strict=True) if not good
        )
        printed = row["printed_thousands"]
        lines.append(
            f"| {row['method']} | {printed[0]} h, {printed[1]} lb, ${printed[2]} | {values[0]} | {values[1]} "
            f"| {'all' if not kept else 'not ' + kept} |"
        )
    return lines


if __name__ == "__main__":
    main()
