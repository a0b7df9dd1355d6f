"""Latency prediction: the model of this machine against networks it has not seen, extracted and exported as for use.

    python benchmarks/latency_prediction.py           # 250 networks to fit on, 100 to test on, about 15 minutes
    python benchmarks/latency_prediction.py --quick   # 60 and 40, about two minutes
    python benchmarks/latency_prediction.py --runtime eager

The test networks are uniform draws of the space, extracted from a supernet, exported by torch's current exporter, and
timed interleaved. They have no part in fitting or choosing the model. Their noise floor compares two halves of their
timings. Promises: at least 90 % within 10 % (aim 99), Kendall tau at least 0.9 (aim 0.95). A busy machine widens the
noise floor and everything with it: the share of calm visits says how it was. Writes results/latency_prediction.*.
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
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.progress import say, track  # noqa: E402
from netwright.core.run import environment  # noqa: E402
from netwright.device.fit import quality  # noqa: E402
from netwright.device.latency import LatencyModel  # noqa: E402
from netwright.device.measure import measure, measure_programs  # noqa: E402
from netwright.models.arch import Arch  # noqa: E402 - the checkout first
from netwright.models.families import family  # noqa: E402
from netwright.models.family import Family  # noqa: E402
from netwright.runtime import onnxruntime  # noqa: E402
from netwright.runtime.export import export_onnx  # noqa: E402
from netwright.runtime.runtime import Program  # noqa: E402
from netwright.runtime.runtimes import RUNTIMES, runtime  # noqa: E402
from netwright.searching.layout import Layout  # noqa: E402
from netwright.specialization.specialize import spread_sample  # noqa: E402
from netwright.supernet.supernet import Supernet  # noqa: E402


def fit_model(made: Family, options: argparse.Namespace) -> tuple[LatencyModel, set[bytes]]:
    """Measure networks of all sizes and every block of the space; return the model and the genes it was made from."""
    genes = spread_sample(made.space, options.networks, seed=0)
    cover = [key for key in Layout(made).keys if key is not None]
    model = measure(
        [made.priced_blocks(made.space.decode(row)) for row in genes],
        space=made.space.name,
        runtime=options.runtime,
        cover=cover if len(cover) <= options.most_blocks else [],
        held_out=8,
        seconds=options.seconds,
    )
    return model, set(map(bytes, genes))


def unseen(made: Family, known: set[bytes], count: int) -> list[Arch]:
    """Return uniform draws of the space that are not among the known ones."""
    draws = made.space.sample(np.random.default_rng(1), 2 * count + 100)
    fresh = {bytes(row): row for row in draws if bytes(row) not in known}
    return [made.space.decode(row) for row in list(fresh.values())[:count]]


def deployed(supernet: Supernet, arch: Arch, options: argparse.Namespace) -> Program:
    """Extract a network and make it a program the way `netwright deploy` does.

    The eager runtime takes it as it is; quick runs use the quick export, which a test proves to hold the same operations.
    """
    side = arch.resolution
    net = supernet.extract(arch, [torch.randn(8, 3, side, side)])
    if options.quick or options.runtime != "onnxruntime":
        return runtime(options.runtime).compile(net, (3, side, side))
    with tempfile.TemporaryDirectory() as folder:
        return onnxruntime.load(export_onnx(net, (3, side, side), Path(folder) / "model.onnx"))


def main() -> None:
    """Fit, test, print and write the results; exit 1 if a promise is broken (quick runs only report)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mobilenet-v3-small")
    parser.add_argument("--runtime", default="onnxruntime", choices=list(RUNTIMES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--networks", type=int, help="networks to fit on")
    parser.add_argument("--held-out", type=int, help="networks to test on")
    parser.add_argument("--seconds", type=float, help="most time for timing, of either part")
    parser.add_argument(
        "--most-blocks", type=int, default=1000, help="in larger spaces blocks are not timed in advance"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    defaults = (68, 40, 30.0) if options.quick else (258, 100, 240.0)
    for name, value in zip(("networks", "held_out", "seconds"), defaults, strict=True):
        setattr(options, name, getattr(options, name) or value)
    torch.set_num_threads(1)
    start = time.monotonic()
    result = {"date": datetime.date.today().isoformat(), "environment": environment(), "quick": options.quick}
    result |= run(options)
    result["seconds"] = round(time.monotonic() - start)
    passed = result["held_out"]["within_10pct"] >= 90 and result["held_out"]["kendall_tau"] >= 0.9
    stem = "latency_prediction" + (".eager" if options.runtime == "eager" else "") + (".quick" if options.quick else "")
    save(options.out, stem, result | {"passed": passed}, _markdown(result))
    raise SystemExit(0 if passed or options.quick else 1)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures."""
    made = family(options.space)
    say(f"measuring {options.networks} networks and the blocks of {options.space} with {options.runtime}")
    model, known = fit_model(made, options)
    archs = unseen(made, known, options.held_out)
    supernet = Supernet(made).eval()
    programs = [
        (deployed(supernet, arch, options), (3, arch.resolution, arch.resolution))
        for arch in track(archs, "extract and export", len(archs))
    ]
    say("timing them")
    timing = measure_programs(programs, options.runtime, seconds=options.seconds)
    predicted = np.array([model.predict(made.priced_blocks(arch)) for arch in archs])
    alone = model.measured["sum_of_blocks_alone"]
    return {
        "space": options.space,
        "runtime": model.runtime_version,
        "range_ms": [round(float(timing.ms_N.min()), 4), round(float(timing.ms_N.max()), 4)],
        "held_out": quality(predicted, timing.ms_N),
        "noise_floor": quality(*timing.halves_2N),
        "bias_percent": round(100 * float(np.median(predicted / timing.ms_N) - 1), 2),
        "sum_of_blocks_alone": alone,
        "calm": {"fitting": model.measured["calm"], "testing": round(timing.calm, 3)},
        "model": {name: model.measured[name] for name in ("networks", "fitted_on", "blocks", "prior", "rounds")},
        "networks_ms": np.round(np.column_stack([predicted, timing.ms_N]), 5).tolist(),
    }


def _markdown(result: dict[str, Any]) -> str:
    versions, held, noise = result["environment"]["versions"], result["held_out"], result["noise_floor"]
    lines = [
        f"# Latency prediction, {result['date']}",
        "",
        f"{result['environment']['processor']}, {result['runtime']}, torch {versions['torch']}, one thread, batch 1. "
        f"Space {result['space']}: {held['networks']} networks drawn uniformly, extracted and exported, "
        f"{result['range_ms'][0]:.2f} to {result['range_ms'][1]:.2f} ms; none had a part in fitting or choosing the model.",
        "",
        "| | within 10 % | Kendall tau | mean error |",
        "|---|---|---|---|",
    ]
    alone = result["sum_of_blocks_alone"]
    rows = (
        ("latency model", held),
        ("noise floor (two halves of the timings)", noise),
        (f"sum of the blocks timed alone ({alone['networks']} networks)", alone),
    )
    lines += [f"| {name} | {q['within_10pct']:g} % | {q['kendall_tau']:.3f} | {q['mape']:.1f} % |" for name, q in rows]
    model = result["model"]
    lines += [
        "",
        f"Fitted on {model['fitted_on']} networks and {model['blocks']} blocks timed alone. Median bias "
        f"{result['bias_percent']:+.1f} %. Calm visits: {100 * result['calm']['fitting']:.0f} % while fitting, "
        f"{100 * result['calm']['testing']:.0f} % while testing (a quiet machine has most).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
