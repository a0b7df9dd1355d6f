"""Checkpointing plans measured: peak memory, step time and gradients of MobileNetV2-0.35 at 128 pixels, batch 8.

    python benchmarks/cost_checkpointing.py            # two minutes
    python benchmarks/cost_checkpointing.py --quick    # fewer budgets and repetitions

Peak: the highest sum of the allocator's events during one forward and backward pass (torch.profiler), and the input;
parameters and buffers are there before. With standing gradients (`zero_grad(set_to_none=False)`) those of parameters are
too; "fresh" counts them as part of the step. Step: forward, loss, backward; processor time, one thread, medians of
interleaved runs, over the network as it is. Writes results/cost_checkpointing.json and results/cost_checkpointing.md.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.real_memory import allocator_peak  # noqa: E402
from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.adaptation.checkpointing.plan import Planned, plan_training  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.cost.memory.training import timeline  # noqa: E402
from netwright.graph.capture.trace import capture  # noqa: E402

NETWORK, PIXELS, BATCH = "mobilenetv2_035", 128, 8
BUDGET, SLOWDOWN, ERROR = 30_000_000, 1.4, 0.05
BUDGETS = (27_000_000, 28_000_000, BUDGET, 35_000_000, 40_000_000, 50_000_000, 60_000_000)


class TorchPerBlock(nn.Module):
    """The same network with `torch.utils.checkpoint` around stem, each block, and everything up to the pooling."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x_BCHW: Tensor) -> Tensor:
        module: Any = self.module
        x_BCHW = checkpoint(lambda x: module.bn1(module.conv_stem(x)), x_BCHW, use_reentrant=False)
        for stage in module.blocks:
            for block in stage:
                x_BCHW = checkpoint(block, x_BCHW, use_reentrant=False)
        pooled = checkpoint(lambda x: module.global_pool(module.bn2(module.conv_head(x))), x_BCHW, use_reentrant=False)
        return module.classifier(pooled)


def one_step(network: nn.Module, x_BCHW: Tensor, labels_B: Tensor) -> None:
    """Run forward, loss and backward."""
    nn.functional.cross_entropy(network(x_BCHW), labels_B).backward()


def gradients(network: nn.Module, state: dict[str, Tensor], x_BCHW: Tensor, labels_B: Tensor) -> list[Tensor]:
    """Return all gradients, starting from given parameters and buffers."""
    inner: Any = getattr(network, "module", network)
    inner.load_state_dict(state)
    network.zero_grad()
    one_step(network, x_BCHW, labels_B)
    return [parameter.grad.clone() for parameter in inner.parameters()]


def predicted_fresh(network: nn.Module, x_BCHW: Tensor) -> int:
    """Return the predicted peak with parameters' gradients counted."""
    names = [name for name, _ in network.named_parameters()]
    return max(timeline(capture(network, x_BCHW, trainable=names)))


def measured(network: nn.Module, x_BCHW: Tensor, labels_B: Tensor) -> dict[str, int]:
    """Return the allocator's peaks, with standing and with fresh gradients."""
    one_step(network, x_BCHW, labels_B)
    standing = allocator_peak(lambda: one_step(network, x_BCHW, labels_B)) + x_BCHW.nbytes
    network.zero_grad(set_to_none=True)
    fresh = allocator_peak(lambda: one_step(network, x_BCHW, labels_B)) + x_BCHW.nbytes
    return {"peak_bytes": standing, "peak_bytes_fresh": fresh}


def step_times(networks: dict[str, nn.Module], run: Callable[[nn.Module], None], repeats: int) -> dict[str, float]:
    """Return the median over rounds of each network's processor time over the first one's of the same round."""
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(repeats + 1):
        for name, network in networks.items():
            started = time.process_time()
            run(network)
            seconds[name].append(time.process_time() - started)
    first = next(iter(networks))
    return {
        name: median(own / base for own, base in zip(values[1:], seconds[first][1:], strict=True))
        for name, values in seconds.items()
    }


def rows_of(quick: bool) -> list[dict[str, Any]]:
    """Return a row for the network as it is, torch's own checkpointing, and each policy and budget."""
    torch.manual_seed(0)
    module = timm.create_model(NETWORK).train()
    x_BCHW, labels_B = torch.randn(BATCH, 3, PIXELS, PIXELS), torch.arange(BATCH)
    state = copy.deepcopy(module.state_dict())
    reference = gradients(module, state, x_BCHW, labels_B)
    plans: dict[str, Planned] = {}
    seconds = {}
    for policy in ("none", "blocks", "sqrt"):
        plans[policy] = plan_training(module, x_BCHW, policy=policy)
    for budget in (BUDGET, 40_000_000) if quick else BUDGETS:
        started = time.process_time()
        plans[f"optimal, {budget / 1e6:.0f} MB"] = plan_training(module, x_BCHW, budget=budget)
        seconds[f"optimal, {budget / 1e6:.0f} MB"] = time.process_time() - started
    networks: dict[str, nn.Module] = {"as it is": module, "torch, every block": TorchPerBlock(module)}
    networks |= {name: planned.network for name, planned in plans.items()}
    rows = []
    for name, network in networks.items():
        row: dict[str, Any] = {"policy": name, **measured(network, x_BCHW, labels_B)}
        got = gradients(network, state, x_BCHW, labels_B)
        pairs = zip(reference, got, strict=True)
        row["gradient_difference"] = max(float((want - one).abs().max()) for want, one in pairs)
        if name in plans:
            planned = plans[name]
            row["predicted_bytes"] = planned.peak_bytes
            row["error"] = abs(planned.peak_bytes - row["peak_bytes"]) / row["peak_bytes"]
            row["predicted_bytes_fresh"] = predicted_fresh(network, x_BCHW)
            row["recomputed_share"] = planned.recomputed_macs / planned.forward_macs
            row["plan_cpu_s"] = round(seconds.get(name, 0.0), 2)
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    times = step_times(networks, lambda network: one_step(network, x_BCHW, labels_B), 7 if quick else 31)
    for row in rows:
        row["step_time_ratio"] = times[row["policy"]]
    return rows


def main() -> None:
    """Measure all, print and write the results; exit 1 if the promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two budgets, seven repetitions")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = rows_of(options.quick)
    target = next(row for row in rows if row["policy"] == f"optimal, {BUDGET / 1e6:.0f} MB")
    passed = target["peak_bytes"] <= BUDGET and target["step_time_ratio"] <= SLOWDOWN
    passed &= all(row["error"] <= ERROR for row in rows if "error" in row)
    passed &= all(row["gradient_difference"] == 0 for row in rows if "error" in row)
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "quick": options.quick,
        "promise": "peak at most 30 MB at no more than 1.4 x step time; predicted within 5 %; gradients equal",
        "passed": passed,
        "network": NETWORK,
        "pixels": PIXELS,
        "batch": BATCH,
        "rows": rows,
    }
    stem = "cost_checkpointing.quick" if options.quick else "cost_checkpointing"
    save(options.out, stem, result, _markdown(result))
    raise SystemExit(0 if passed else 1)


def _markdown(result: dict[str, Any]) -> str:
    machine = result["environment"]
    lines = [
        f"# Checkpointing plans, {result['date']}",
        "",
        f"{machine['processor']}, torch {machine['versions']['torch']}, one thread. timm {result['network']} at {result['pixels']} px, batch {result['batch']},",
        "training mode, all parameters trained. MB are 10^6 bytes: inputs, activations, their gradients and what kernels take, by the",
        "allocator; parameters, buffers and standing gradients are not in it. Fresh: with the parameters' gradients. Step time: over",
        "the network as it is.",
        "",
        "| policy | peak MB, predicted | measured | off | fresh, predicted | measured | recomputed MACs / forward | step time | gradients differ by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        peaks = f"{row['peak_bytes'] / 1e6:.2f}"
        fresh = f"{row['peak_bytes_fresh'] / 1e6:.2f}"
        if "error" in row:
            before = f"{row['predicted_bytes'] / 1e6:.2f} | {peaks} | {100 * row['error']:.2f} %"
            after = f"{row['predicted_bytes_fresh'] / 1e6:.2f} | {fresh} | {row['recomputed_share']:.2f}"
        else:
            before, after = f" | {peaks} | ", f" | {fresh} | "
        lines.append(
            f"| {row['policy']} | {before} | {after} | {row['step_time_ratio']:.2f} x | {row['gradient_difference']:.1g} |"
        )
    lines += [
        "",
        "none: nothing is recomputed, but ReLU6 saves its result instead of a clone of its input, which PyTorch keeps beside it.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
