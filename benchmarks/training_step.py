"""What weight sharing costs: training step, training memory, extraction, on the once-for-all space.

    python benchmarks/training_step.py            # 20 archs, batch 16 at 128 pixels; about ten minutes
    python benchmarks/training_step.py --quick    # 4 archs, fewer rounds

Step: forward, cross-entropy, backward, SGD with momentum, zero_grad, one thread, fp32, train mode. The static side is the
extracted network of the same arch with an optimizer over its own parameters; the supernet's optimizer holds all of the
largest network's parameters. Both sides run in turn, round after round, on the same images; a step's time is the lower
quartile of its rounds in processor time (so that other programs disturb less), and the ratio is taken arch by arch. The same is
done with the package `ofa`, if it is there: its elastic network against what its own extraction returns.
Memory: the greatest resident size of a fresh process that trains the largest network through the supernet, over that of
one that trains it alone; the size after importing torch is subtracted from both. Extraction: `copy_of`, all of
`extract` except for calibration, in processor time. Writes results/training_step.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
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
from netwright.models.families import family  # noqa: E402
from netwright.supernet.supernet import Supernet  # noqa: E402

SPACE, BATCH, SIZE = "ofa-mbv3-w1.0", 16, 128


class Step:
    """One training step of something callable on a batch, timed."""

    def __init__(
        self, call: Callable[[Tensor], Tensor], owner: nn.Module, optimizer: torch.optim.Optimizer | None = None
    ):
        self.call, self.owner = call, owner
        self.optimizer = optimizer or torch.optim.SGD(owner.parameters(), lr=1e-3, momentum=0.9)
        self.seconds: list[float] = []

    def run(self, x_BCHW: Tensor, y_B: Tensor) -> None:
        """Do one step and note its processor time."""
        started = time.process_time()
        nn.functional.cross_entropy(self.call(x_BCHW), y_B).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.seconds.append(time.process_time() - started)


def batch() -> tuple[Tensor, Tensor]:
    """Return random images and labels."""
    return torch.randn(BATCH, 3, SIZE, SIZE), torch.randint(0, 1000, (BATCH,))


def step_ratios(archs: list[Arch], rounds: int) -> list[dict[str, float]]:
    """Return for every arch the ratios supernet over static, ours and ofa's, and the static step in ms."""
    supernet = Supernet(family(SPACE)).train()
    optimizer = torch.optim.SGD(supernet.parameters(), lr=1e-3, momentum=0.9)
    theirs = _original()
    their_optimizer = theirs and torch.optim.SGD(theirs.parameters(), lr=1e-3, momentum=0.9)
    rows = []
    for arch in archs:
        net = supernet.copy_of(arch)
        steps = {
            "static": Step(net, net),
            "supernet": Step(functools.partial(supernet, arch=arch), supernet, optimizer),
        }
        if theirs:
            from tests.supernet.conformance import activate

            activate(theirs, arch)
            alone = theirs.get_active_subnet().train()
            steps |= {"ofa static": Step(alone, alone), "ofa supernet": Step(theirs, theirs, their_optimizer)}
        x_BCHW, y_B = batch()
        for turn in range(rounds + 1):
            order = list(steps.values())
            for step in order if turn % 2 else reversed(order):
                step.run(x_BCHW, y_B)
        times = {name: float(np.quantile(step.seconds[1:], 0.25)) for name, step in steps.items()}
        row = {"static_ms": 1e3 * times["static"], "ratio": times["supernet"] / times["static"]}
        if theirs:
            row["ofa_ratio"] = times["ofa supernet"] / times["ofa static"]
        rows.append(row)
        print({key: round(value, 4) for key, value in row.items()}, file=sys.stderr, flush=True)
    return rows


def extraction_ms(archs: list[Arch]) -> dict[str, float]:
    """Return the median processor time of `copy_of`: first arch of a fresh supernet, a new arch later, the same one again."""
    first = []
    for arch in archs[:5]:
        fresh = Supernet(family(SPACE))
        first.append(_cpu_ms(functools.partial(fresh.copy_of, arch)))
    supernet = Supernet(family(SPACE))
    for genes in supernet.family.space.sample(np.random.default_rng(7), 50):
        supernet.copy_of(supernet.family.space.decode(genes))  # as after a search
    again = [[_cpu_ms(functools.partial(supernet.copy_of, arch)) for _ in range(5)] for arch in archs]
    result = {
        "first_arch": statistics.median(first),
        "new_arch": statistics.median(times[0] for times in again),
        "known_arch": statistics.median(statistics.median(times[1:]) for times in again),
    }
    theirs = _original()
    if theirs:
        from tests.supernet.conformance import activate

        times = []
        for arch in archs:
            activate(theirs, arch)
            times.append(_cpu_ms(theirs.get_active_subnet))
        result["ofa"] = statistics.median(times)
    return result


def peak_memory(steps: int) -> dict[str, float]:
    """Return the peak resident MiB of both sides, beyond an idle process, and their ratio."""
    sizes: dict[str, float] = {}
    for side in ("idle", "static", "supernet"):
        command = [sys.executable, __file__, "--memory-of", side, "--steps", str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        sizes[side] = json.loads(done.stdout)
    beyond = {side: sizes[side] - sizes["idle"] for side in ("static", "supernet")}
    return {**beyond, "ratio": beyond["supernet"] / beyond["static"]}


def memory_of(side: str, steps: int) -> float:
    """Train the largest network for a few steps and return the peak resident size of this process in MiB."""
    made = family(SPACE)
    largest = made.space.largest()
    if side != "idle":
        owner = Supernet(made).train() if side == "supernet" else made.build(largest).train()
        step = Step(functools.partial(owner, arch=largest) if side == "supernet" else owner, owner)
        for _ in range(steps):
            step.run(*batch())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _original() -> Any:
    if importlib.util.find_spec("ofa") is None:
        return None
    from tests.supernet.conformance import NETWORKS

    return NETWORKS[SPACE]().train()


def _cpu_ms(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return 1e3 * (time.process_time() - started)


def main() -> None:
    """Measure, print and write the results; exit 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--memory-of", choices=("idle", "static", "supernet"), help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.memory_of:
        print(memory_of(options.memory_of, options.steps))
        return
    space = family(SPACE).space
    archs = [space.decode(genes) for genes in space.sample(np.random.default_rng(0), 4 if options.quick else 20)]
    memory = peak_memory(2 if options.quick else 4)
    extraction = extraction_ms(archs)
    rows = step_ratios(archs, 3 if options.quick else 7)
    ratio = statistics.median(row["ratio"] for row in rows)
    ofa_ratio = statistics.median(row["ofa_ratio"] for row in rows) if "ofa_ratio" in rows[0] else None
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "quick": options.quick,
        "what": " ".join((__doc__ or "").split("Step: ")[1].split()),
        "promises": {"step_ratio": 1.03, "memory_ratio": 1.05, "extraction_ms": 10.0},
        "step_ratio": ratio,
        "ofa_step_ratio": ofa_ratio,
        "memory_mib": memory,
        "extraction_ms": extraction,
        "archs": rows,
    }
    result["passed"] = ratio <= 1.03 and memory["ratio"] <= 1.05 and extraction["new_arch"] <= 10
    stem = "training_step.quick" if options.quick else "training_step"
    save(options.out, stem, result, _markdown(result))
    raise SystemExit(0 if result["passed"] else 1)


def _markdown(result: dict[str, Any]) -> str:
    machine, extraction, memory = result["environment"], result["extraction_ms"], result["memory_mib"]
    ofa = "not installed" if result["ofa_step_ratio"] is None else f"{result['ofa_step_ratio']:.3f}"
    ofa_extraction = f"{extraction['ofa']:.1f} ms" if "ofa" in extraction else "not installed"
    ratios = sorted(row["ratio"] for row in result["archs"])
    return f"""# Cost of weight sharing, {result["date"]}

{machine["processor"]}, torch {machine["versions"]["torch"]}, one thread; {SPACE}, batch {BATCH} at {SIZE} pixels.

| what | netwright | promise | ofa |
|---|---|---|---|
| training step, supernet over static (median of {len(ratios)} archs) | {result["step_ratio"]:.3f} | 1.03 | {ofa} |
| the same, least and most of one arch | {ratios[0]:.3f} to {ratios[-1]:.3f} | | |
| peak training memory of the largest network | {memory["ratio"]:.3f} ({memory["supernet"]:.0f} over {memory["static"]:.0f} MiB) | 1.05 | |
| extraction beyond calibration, a new arch | {extraction["new_arch"]:.1f} ms | 10 ms | {ofa_extraction} |
| extraction, an arch seen before | {extraction["known_arch"]:.1f} ms | | |
| extraction, first arch of a fresh supernet | {extraction["first_arch"]:.1f} ms | | |

{result["what"]}
"""


if __name__ == "__main__":
    main()
