"""Training memory as counted against a real run: bytes that autograd saves, and the allocator's peak.

    python benchmarks/cost_training.py            # ten networks x five frozen sets x two batches, ten minutes
    python benchmarks/cost_training.py --quick    # two small networks

The count comes from a capture without data (`graph.capture`, `cost.training`). The real run packs real tensors: every
storage handed to `saved_tensors_hooks` counts once and whole, parameters and buffers do not count. The peak is the
highest sum of the allocator's events during one forward and backward pass (torch.profiler), and the input.
Writes results/cost_training.json and results/cost_training.md.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.real_memory import allocator_peak, autograd_saves  # noqa: E402
from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.cost.memory.training import training_memory  # noqa: E402
from netwright.graph.capture.trace import capture  # noqa: E402
from netwright.nn.trainable import trainable_names  # noqa: E402

NETWORKS = {  # pixels, and a pattern of names for the fifth frozen set: the last stage
    "mobilenetv2_100": (224, "blocks.6.*,conv_head.*,bn2.*,classifier.*"),
    "mobilenetv3_large_100": (224, "blocks.5.*,blocks.6.*,conv_head.*,classifier.*"),
    "tf_efficientnetv2_s": (128, "blocks.5.*,conv_head.*,bn2.*,classifier.*"),
    "efficientvit_b1": (224, "stages.3.*,head.*"),
    "dm_nfnet_f0": (128, "stages.3.*,final_conv.*,head.*"),
    "vit_tiny_patch16_224": (224, "blocks.10.*,blocks.11.*,norm.*,head.*"),
    "swin_tiny_patch4_window7_224": (224, "layers.3.*,norm.*,head.*"),
    "resnet50": (128, "layer4.*,fc.*"),
    "convnext_atto": (224, "stages.3.*,head.*"),
    "densenet121": (128, "features.denseblock4.*,features.norm5.*,classifier.*"),
}
SETS = ("full", "bias", "norm+last", "last", "pattern")
FIGURES = (  # network, pixels, batch, eval mode, mode, MB in the project's reference figures
    ("mobilenetv2_100", 224, 8, False, "full", 621.0, "without the input batch, which the first convolution saves"),
    ("mobilenetv2_100", 224, 8, True, "bias", 620.8, ""),
    ("mobilenetv2_100", 224, 8, False, "last", 0.0, ""),
    ("mobilenetv2_035", 128, 1, False, "full", 11.08, "with the input batch"),
    ("mobilenetv2_035", 128, 8, False, "full", 88.3, "with the input batch"),
    ("mobilenetv2_035", 128, 1, True, "bias", 10.83, ""),
    ("mobilenetv2_035", 128, 8, True, "bias", 86.6, ""),
    ("mobilenetv2_035", 128, 1, False, "last", 0.01, ""),
    ("mobilenetv2_035", 128, 8, False, "last", 0.04, ""),
)


def real_run(module: nn.Module, names: tuple[str, ...], x_BCHW: Tensor) -> tuple[int, int]:
    """Return the bytes that autograd saves in one pass, and the allocator's peak with the input."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in names)
    saved = autograd_saves(module, x_BCHW)[1]

    def step() -> None:
        out = module(x_BCHW)
        if out.requires_grad:
            out.backward(torch.ones_like(out))

    peak = allocator_peak(step) + x_BCHW.nbytes
    module.zero_grad(set_to_none=True)
    return saved, peak


def compare(network: str, pixels: int, pattern: str, batches: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return a row for each frozen set and batch of a network."""
    module = timm.create_model(network).train()
    rows = []
    for batch in batches:
        x_BCHW = torch.randn(batch, 3, pixels, pixels)
        for kind in SETS:
            names = trainable_names(module, pattern if kind == "pattern" else kind)
            started = time.process_time()
            memory = training_memory(capture(module, x_BCHW, trainable=names), mode=kind, optimizer="adam")
            seconds = time.process_time() - started
            saved, peak = real_run(module, names, x_BCHW)
            rows.append(
                {
                    "network": network,
                    "pixels": pixels,
                    "frozen_set": kind,
                    **memory.to_json(),
                    "real_saved_bytes": saved,
                    "saved_error": abs(memory.saved_bytes - saved) / max(saved, 1),
                    "real_peak_bytes": peak,
                    "peak_error": abs(memory.peak_bytes - peak) / peak,
                    "count_cpu_s": round(seconds, 2),
                }
            )
            print(network, kind, batch, saved, memory.saved_bytes, peak, memory.peak_bytes, file=sys.stderr, flush=True)
    return rows


def figures() -> list[dict[str, Any]]:
    """Return the reference figures beside the counted ones."""
    rows = []
    for network, pixels, batch, evaluating, mode, megabytes, remark in FIGURES:
        with torch.device("meta"):
            module = timm.create_model(network).train(not evaluating)
        x_BCHW = torch.empty(batch, 3, pixels, pixels, device="meta")
        memory = training_memory(capture(module, x_BCHW, trainable=trainable_names(module, mode)), mode=mode)
        row = {"network": network, "pixels": pixels, "batch": batch, "eval_mode": evaluating, "mode": mode}
        counted = memory.saved_bytes - (4 * x_BCHW.numel() if remark.startswith("without") else 0)
        rows.append({**row, "reference_mb": megabytes, "counted_mb": counted / 1e6, "remark": remark})
        rows[-1]["frozen_aware_mb"] = memory.saved_bytes_frozen_aware / 1e6
    return rows


def main() -> None:
    """Compare all, print and write the results; exit 1 where a saved figure is more than 2 % off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two networks, batches of 1 and 2")
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time, up to 7 GB of memory for each")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {name: NETWORKS[name] for name in list(NETWORKS)[: 2 if options.quick else None]}
    rows = []
    batches = (1, 2) if options.quick else (1, 8)
    settings = [(network, pixels, pattern, batches) for network, (pixels, pattern) in chosen.items()]
    # a process for each network: what one leaves unreturned to the system does not add up
    with ProcessPoolExecutor(
        options.jobs, get_context("spawn"), torch.set_num_threads, (1,), max_tasks_per_child=1
    ) as pool:
        for found in pool.map(compare, *zip(*settings, strict=True)):
            rows += found
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "quick": options.quick,
        "promise": "saved bytes within 2 % of the real run's",
        "passed": max(row["saved_error"] for row in rows) <= 0.02,
        "worst_saved_error": max(row["saved_error"] for row in rows),
        "worst_peak_error": max(row["peak_error"] for row in rows),
        "runs": rows,
        "figures": figures(),
    }
    stem = "cost_training.quick" if options.quick else "cost_training"
    save(options.out, stem, result, _markdown(result))
    raise SystemExit(0 if result["passed"] else 1)


def _markdown(result: dict[str, Any]) -> str:
    machine = result["environment"]
    lines = [
        f"# Training memory, {result['date']}",
        "",
        f"{machine['processor']}, torch {machine['versions']['torch']}, timm {machine['versions']['timm']}, training mode.",
        "Counted without data, against a real run; MB are 10^6 bytes. Saved: by autograd, each storage once. Peak: allocator, with the",
        f"input. {len(result['runs'])} runs; saved bytes at most {100 * result['worst_saved_error']:.3f} % off, "
        f"peak at most {100 * result['worst_peak_error']:.2f} %.",
        "",
        "| network | px | batch | trained | saved MB, counted | real | must be saved MB | peak MB, counted | real | off |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["runs"]:
        columns = (row["saved_bytes"], row["real_saved_bytes"], row["saved_bytes_frozen_aware"])
        saved = " | ".join(f"{value / 1e6:.3f}" for value in columns)
        lines.append(
            f"| {row['network']} | {row['pixels']} | {row['batch']} | {row['frozen_set']} | {saved} "
            f"| {row['peak_bytes'] / 1e6:.2f} | {row['real_peak_bytes'] / 1e6:.2f} | {100 * row['peak_error']:.2f} % |"
        )
    lines += ["", "The project's reference figures (saved by autograd):", ""]
    lines += [
        "| network | px | batch | mode | reference MB | counted | must be saved | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["figures"]:
        mode = row["mode"] + (", eval mode" if row["eval_mode"] else "")
        lines.append(
            f"| {row['network']} | {row['pixels']} | {row['batch']} | {mode} | {row['reference_mb']} "
            f"| {row['counted_mb']:.3f} | {row['frozen_aware_mb']:.3f} | {row['remark']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
