"""TinyTL's training memory: its table recomputed, and what its accounting leaves out.

    python benchmarks/cost_tinytl.py            # half a minute; --quick leaves the real runs out

ProxylessNAS-Mobile with GroupNorm, batch 8, 102 classes, frozen weights of 8 bits (Cai et al. 2020, arXiv:2007.11622;
Table 4.2 of the thesis). Every variant of the table was counted on the network with lite residual modules in place, also
where they are frozen. Writes results/cost_tinytl.json and results/cost_tinytl.md.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.cost_training import real_run  # noqa: E402 - the checkout first
from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.cost.formulas.tinytl import CONVENTIONS, tinytl_memory  # noqa: E402
from netwright.cost.memory.training import training_memory  # noqa: E402
from netwright.graph.capture.trace import capture  # noqa: E402
from netwright.models.proxylessnas import proxylessnas_mobile  # noqa: E402

BATCH, CLASSES = 8, 102


def _last(name: str) -> bool:
    return name.startswith("head.classifier.")


def _lite(name: str) -> bool:
    return ".lite." in name


# What learns beside the classifier; biases that follow a lite residual's last normalization stay frozen with biases.
LEARNS: dict[str, Callable[[str], bool]] = {
    "last": _last,
    "bias": lambda name: _last(name) or name.endswith(".bias"),
    "lite": lambda name: _last(name) or _lite(name),
    "lite+bias": lambda name: (
        _last(name) or ((_lite(name) or name.endswith(".bias")) and not name.endswith(".lite.last.bias"))
    ),
    "norm+last": lambda name: _last(name) or ".norm." in name or ".lite.last." in name,
    "full": lambda name: True,
}
TABLE = (  # mode, pixels, MB printed in the table, what the authors' accounting computes
    ("last", 224, 31, 30.8),
    ("bias", 224, 32, 31.7),
    ("lite", 224, 37, 37.1),
    ("lite+bias", 224, 37, 37.1),
    ("lite+bias", 320, 65, 64.7),
    ("norm+last", 224, 192, 192.4),
    ("full", 224, 391, 390.8),
)
WITH_NORMS = (  # mode, with lite residual modules, MB when every GroupNorm keeps its input
    ("bias", False, 182.9),
    ("lite+bias", True, 206.8),
)
TOLERANCE = 0.1


def network(lite_residual: bool, mode: str) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the network and the parameters that learn."""
    module = proxylessnas_mobile(CLASSES, normalization="group", lite_residual=lite_residual)
    return module, tuple(name for name, _ in module.named_parameters() if LEARNS[mode](name))


def counted(mode: str, pixels: int, lite_residual: bool) -> dict[str, Any]:
    """Return the figures of one variant in MB, by each convention and as PyTorch saves it."""
    with torch.device("meta"):
        module, names = network(lite_residual, mode)
        x_BCHW = torch.empty(BATCH, 3, pixels, pixels)
    graph = capture(module, x_BCHW, trainable=names)
    memory = training_memory(graph, mode=mode, frozen_bits=8)
    found = {name: tinytl_memory(graph, convention=name).total_bytes / 1e6 for name in CONVENTIONS}
    return {
        "mode": mode,
        "pixels": pixels,
        "lite_residual": lite_residual,
        **found,
        "must_be_saved": memory.saved_bytes_frozen_aware / 1e6,
        "autograd_saves": memory.saved_bytes / 1e6,
    }


def main() -> None:
    """Count all variants, print and write the results; exit 1 where one is more than 0.1 MB off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="no real runs")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = [
        {**counted(mode, pixels, True), "printed": printed, "published": published}
        for mode, pixels, printed, published in TABLE
    ]
    norms = [{**counted(mode, 224, lite), "published": published} for mode, lite, published in WITH_NORMS]
    real = []
    for mode in () if options.quick else ("bias", "lite+bias", "full"):
        module, names = network("lite" in mode, mode)
        saved, peak = real_run(module.train(), names, torch.randn(BATCH, 3, 224, 224))
        real.append({"mode": mode, "lite_residual": "lite" in mode, "saved_mb": saved / 1e6, "peak_mb": peak / 1e6})
    passed = all(abs(row["tinytl"] - row["published"]) <= TOLERANCE for row in table)
    passed &= all(abs(row["tinytl+norms"] - row["published"]) <= TOLERANCE for row in norms)
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "quick": options.quick,
        "promise": "seven published values and two with normalization within 0.1 MB",
        "passed": passed,
        "table": table,
        "with_norms": norms,
        "real_runs": real,
    }
    stem = "cost_tinytl.quick" if options.quick else "cost_tinytl"
    save(options.out, stem, result, _markdown(result))
    raise SystemExit(0 if passed else 1)


def _markdown(result: dict[str, Any]) -> str:
    lines = [
        f"# TinyTL's training memory, {result['date']}",
        "",
        "ProxylessNAS-Mobile with GroupNorm, batch 8, 102 classes, frozen weights of 8 bits; MB are 10^6 bytes. The network has",
        "lite residual modules in every row of this table, frozen or not. every norm: each normalization keeps its input. needed:",
        "only those whose input wants a gradient. must be saved: activations alone, by this project's rules. autograd: what PyTorch saves.",
        "",
        "| trained | px | table | authors' accounting | here | every norm | needed | must be saved | autograd |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    columns = ("tinytl", "tinytl+norms", "tinytl+needed", "must_be_saved", "autograd_saves")
    for row in result["table"]:
        values = " | ".join(f"{row[name]:.2f}" for name in columns)
        lines.append(f"| {row['mode']} | {row['pixels']} | {row['printed']} | {row['published']} | {values} |")
    lines += ["", "With the inputs of all normalizations counted:", ""]
    lines += ["| trained | lite residual modules | reference MB | here | needed |", "|---|---|---|---|---|"]
    for row in result["with_norms"]:
        there = "yes" if row["lite_residual"] else "no"
        values = f"{row['tinytl+norms']:.2f} | {row['tinytl+needed']:.2f}"
        lines.append(f"| {row['mode']} | {there} | {row['published']} | {values} |")
    if result["real_runs"]:
        versions = result["environment"]["versions"]
        lines += ["", f"Real runs, torch {versions['torch']}, {result['environment']['processor']}:", ""]
        lines += ["| trained | lite residual modules | autograd saves MB | peak MB |", "|---|---|---|---|"]
        for row in result["real_runs"]:
            there = "yes" if row["lite_residual"] else "no"
            lines.append(f"| {row['mode']} | {there} | {row['saved_mb']:.1f} | {row['peak_mb']:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
