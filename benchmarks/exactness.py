"""Exactness: supernet against extracted network, outputs and gradients, on random archs of every space.

    python benchmarks/exactness.py            # 1,000 archs of every space, half an hour of processor time
    python benchmarks/exactness.py --quick    # 20 archs each

With the package `ofa` installed also conformance: 50 archs each of the once-for-all supernets at their own input sizes,
weights copied across. Writes results/exactness.json and results/exactness.md.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.models.arch import Arch  # noqa: E402 - the checkout first
from netwright.models.families import SPACES, family  # noqa: E402
from netwright.supernet.supernet import Supernet  # noqa: E402

OFA_SIZE = 32  # input pixels for the once-for-all spaces: the cuts are those of any size


def trained_like(supernet: Supernet, seed: int = 0) -> Supernet:
    """Move everything that starts as constant (normalisation, biases, transform matrices) to random values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in supernet.parameters():
            if tensor.ndim < 2 or (tensor.ndim == 2 and torch.equal(tensor, torch.eye(len(tensor)))):
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return supernet


def images(supernet: Supernet, arch: Arch, batch: int = 4, size: int | None = None) -> Tensor:
    """Return random images x_BCHW of an arch's input size; of OFA_SIZE in the once-for-all spaces."""
    size = size or (OFA_SIZE if supernet.family.space.name.startswith("ofa-") else arch.resolution)
    return torch.randn(batch, 3, size, size)


def differences(supernet: Supernet, arch: Arch, x_BCHW: Tensor) -> tuple[float, float]:
    """Return the largest differences of outputs and of gradients between the supernet and the extracted network.

    Outputs in eval mode, over their spread over images where that is below 1. Gradients in train mode, over the
    largest of their tensor: the active part must hold the extracted network's gradient, the rest zero; weights behind a
    kernel transform, and the matrices, are compared with the extracted network's gradient carried through it.
    """
    net = supernet.extract(arch, [x_BCHW])
    _share_statistics(supernet, arch, net)
    supernet.eval()
    with torch.no_grad():
        expected, got = net(x_BCHW), supernet(x_BCHW, arch)
    spread = float((expected - expected.mean(0)).std())
    if not spread > 1e-6:
        raise RuntimeError(f"The outputs of {arch} do not depend on the images: this would prove nothing.")
    output = float((expected - got).abs().max()) / min(1.0, spread)
    supernet.train()
    supernet.zero_grad()
    logits_BK = net.train()(x_BCHW)
    probe = torch.randn(logits_BK.shape)
    (logits_BK * probe).sum().backward()
    (supernet(x_BCHW, arch) * probe).sum().backward()
    return output, _gradient_difference(supernet, arch, net)


def _gradient_difference(supernet: Supernet, arch: Arch, net: nn.Module) -> float:
    parameters, cut = dict(supernet.named_parameters()), supernet.cut(arch)
    worst, behind_transform = 0.0, set()
    for name, static in net.named_parameters():
        full = parameters.pop(f"net.{name}")
        if full.shape[2:] == static.shape[2:]:
            worst = max(worst, _difference(static.grad, full.grad))
            continue
        matrices = [key for key in parameters if key.startswith(f"transforms.{name.replace('.', '/')}:")]
        inputs = [full, *(parameters[key] for key in matrices)]
        carried = torch.autograd.grad(cut[name], inputs, static.grad, allow_unused=True)
        for want, tensor in zip(carried, inputs, strict=True):
            worst = max(worst, _difference(want, tensor.grad))
        behind_transform |= set(matrices)
    if any(parameters[name].grad is not None for name in set(parameters) - behind_transform):
        raise RuntimeError(f"A tensor that {arch} has no part of has a gradient.")
    return worst


def _difference(want: Tensor | None, got: Tensor | None) -> float:
    """Compare the leading part, and that the rest is zero."""
    if want is None or got is None:
        return 0.0 if want is got else float("inf")
    active = tuple(slice(size) for size in want.shape)
    if want.shape != got.shape and got.count_nonzero() != got[active].count_nonzero():
        return float("inf")
    return float((want - got[active]).abs().max() / want.abs().max().clamp(min=1e-3))


@torch.no_grad()
def _share_statistics(supernet: Supernet, arch: Arch, net: nn.Module) -> None:
    cut = supernet.cut(arch)
    for name, buffer in net.named_buffers():
        cut[name].copy_(buffer)


def check_space(name: str, count: int, seed: int = 0, **settings: Any) -> dict[str, Any]:
    """Return the largest differences over `count` random archs of a space."""
    torch.manual_seed(seed)
    supernet = trained_like(Supernet(family(name, **settings)), seed)
    space = supernet.family.space
    started = time.process_time()
    outputs, gradients = [], []
    for genes in space.sample(np.random.default_rng(seed), count):
        arch = space.decode(genes)
        x_BCHW = images(supernet, arch)
        output, gradient = differences(supernet, arch, x_BCHW)
        outputs.append(output)
        gradients.append(gradient)
    return {
        "space": name,
        **settings,
        "archs": count,
        "input_pixels": OFA_SIZE if name.startswith("ofa-") else "each arch's own",
        "batch": 4,
        "output_difference": max(outputs),
        "gradient_difference": max(gradients),
        "cpu_s": round(time.process_time() - started, 1),
    }


def conformance(count: int, size: int) -> list[dict[str, Any]]:
    """Return the largest output difference from the original once-for-all networks; empty without `ofa`."""
    if importlib.util.find_spec("ofa") is None:
        print("conformance left out: the package `ofa` is not installed", file=sys.stderr)
        return []
    from tests.supernet import conformance as against

    rows = []
    for name in against.NETWORKS:
        worst = max(against.differences(name, count, size, seed=1))
        rows.append(
            {"space": name, "archs": count, "input_pixels": size or "each arch's own", "output_difference": worst}
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Run all spaces, print and write the results; exit 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 archs of each space, 3 for conformance")
    parser.add_argument("--archs", type=int, default=1000, help="of each space")
    parser.add_argument("--jobs", type=int, default=2, help="spaces checked at a time")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    count = 20 if options.quick else options.archs
    with ProcessPoolExecutor(
        options.jobs, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        for row in pool.map(check_space, SPACES, [count] * len(SPACES)):
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    original = conformance(*((3, 64) if options.quick else (50, 0)))
    passed = all(row["output_difference"] <= 1e-5 and row["gradient_difference"] <= 1e-5 for row in rows)
    passed &= all(row["output_difference"] <= 1e-4 for row in original)
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "quick": options.quick,
        "promises": "outputs and gradients within 1e-5; outputs of the original within 1e-4",
        "passed": passed,
        "spaces": rows,
        "original": original,
    }
    stem = "exactness.quick" if options.quick else "exactness"
    save(options.out, stem, result, _markdown(result))
    raise SystemExit(0 if passed else 1)


def _markdown(result: dict[str, Any]) -> str:
    machine = result["environment"]
    lines = [
        f"# Exactness, {result['date']}",
        "",
        f"{machine['processor']}, torch {machine['versions']['torch']}, one thread. Supernet against extracted network, fp32: eval",
        "outputs (over their spread over images where that is below 1), gradients in train mode (over the tensor's largest).",
        "",
        "| space | archs | input | output | gradient | CPU s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['space']} | {row['archs']} | {row['input_pixels']} | {row['output_difference']:.1e} "
        f"| {row['gradient_difference']:.1e} | {row['cpu_s']} |"
        for row in result["spaces"]
    ]
    if result["original"]:
        lines += ["", "Against the original package `ofa`, weights copied across:", ""]
        lines += ["| space | archs | input | output |", "|---|---|---|---|"]
        lines += [
            f"| {row['space']} | {row['archs']} | {row['input_pixels']} | {row['output_difference']:.1e} |"
            for row in result["original"]
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
