"""CIFAR-10, small setting: progressive shrinking, the sandwich rule and random sampling, three seeds each.

    python benchmarks/cifar10_methods.py ../cifar10 --out results/

Every method gets about the same number of network passes (forward and backward of one network on one image);
the processor seconds really used stand beside the accuracies. Accuracy: sub-networks with inherited weights and
calibrated BatchNorm, on validation images, over the same 12 random archs, the smallest and the largest.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from netwright.core.run import environment
from netwright.data import Dataset, calibration_batches, load_dataset
from netwright.models.families import family
from netwright.supernet.supernet import Supernet
from netwright.training.evaluate import accuracy
from netwright.training.loop import train_supernet
from netwright.training.recipe import RECIPES

PASSES = 16.0  # network passes an image gets, over the whole training
PASSES_A_STEP = {"random": 4.0, "sandwich": 4.0, "progressive": 0.4 + 0.15 + 2 * 0.2 + 4 * 0.25}
ARCHS = 12


def accuracies(supernet: Supernet, dataset: Dataset) -> dict[str, float]:
    """Return the accuracy in percent of the smallest, the largest and the mean over random archs."""
    space = supernet.family.space
    random = [space.decode(row) for row in space.sample(np.random.default_rng(2026), ARCHS)]
    values = []
    for arch in (space.smallest(), space.largest(), *random):
        images = calibration_batches(dataset, resolution=arch.resolution, images=1024)
        net = supernet.extract(arch, images)
        values.append(accuracy(net, dataset.val, mean=dataset.mean, std=dataset.std, resolution=arch.resolution))
    return {"smallest": values[0], "largest": values[1], "random": statistics.mean(values[2:])}


def main() -> None:
    """Train nine supernets and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1,000 images, one seed, a quarter of the passes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    full = load_dataset(args.data, size=32)
    images, seeds, passes = (1_000, 1, PASSES / 4) if args.quick else (args.images, args.seeds, PASSES)
    dataset = dataclasses.replace(full, train=full.train.take(images), val=full.val.take(images // 2))
    rows = []
    for seed in range(seeds):
        for method, passes_a_step in PASSES_A_STEP.items():
            torch.manual_seed(seed)
            supernet = Supernet(family("tiny", classes=len(dataset.classes)))
            recipe = RECIPES[method](epochs=passes / passes_a_step, batch_size=32, seed=seed, evaluate_every=0.0)
            start = time.process_time()
            train_supernet(supernet, dataset, recipe)
            seconds = time.process_time() - start
            rows.append({"method": method, "seed": seed, "cpu_s": round(seconds), **accuracies(supernet, dataset)})
            print(json.dumps(rows[-1]), flush=True)
    write(args.out, rows, images, passes)


def write(out: Path, rows: list[dict], images: int, passes: float) -> None:
    """Write the rows and their means as JSON and Markdown."""
    setting = {"space": "tiny", "images": images, "passes": passes, "date": time.strftime("%Y-%m-%d")}
    out.mkdir(parents=True, exist_ok=True)
    result = {**setting, "environment": environment(), "rows": rows}
    (out / "cifar10_methods.json").write_text(json.dumps(result, indent=1) + "\n")
    lines = [
        f"# Methods of supernet training, CIFAR-10, small setting ({setting['date']})",
        "",
        f"`python benchmarks/cifar10_methods.py CIFAR10`: space `tiny`, {images} training images, {passes:g} network",
        f"passes an image, mean and range over {len({row['seed'] for row in rows})} seeds; accuracy in percent on "
        f"{images // 2} validation images. {environment()['processor']}, one thread.",
        "",
        "| method | smallest | random (mean of 12) | largest | CPU s |",
        "|---|---|---|---|---|",
    ]
    for method in PASSES_A_STEP:
        mine = [row for row in rows if row["method"] == method]
        cells = []
        for key in ("smallest", "random", "largest"):
            values = [row[key] for row in mine]
            cells.append(f"{statistics.mean(values):.1f} ({min(values):.1f}-{max(values):.1f})")
        lines.append(f"| {method} | {' | '.join(cells)} | {statistics.mean(row['cpu_s'] for row in mine):.0f} |")
    (out / "cifar10_methods.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
