"""CIFAR-10 from data to networks at three latency budgets, against networks trained alone.

    python benchmarks/cifar10.py baselines ../cifar10 --work runs/cifar10    # MobileNetV3-Small at three widths; their latencies are the budgets
    python benchmarks/cifar10.py supernet  ../cifar10 --work runs/cifar10    # one supernet
    python benchmarks/cifar10.py specialize ../cifar10 --work runs/cifar10   # search at each budget, extraction
    python benchmarks/cifar10.py alone     ../cifar10 --work runs/cifar10    # the found networks, trained from scratch
    python benchmarks/cifar10.py table     ../cifar10 --work runs/cifar10 --out results

Every training passes over the training images the same number of times (`--epochs`); each part can be killed and
repeated. The search chooses on a tenth of the training images that no network learns from; the accuracies
reported are those on the 10,000 test images, looked at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch

from netwright.core.files import read_json, write_json
from netwright.core.run import Run, environment
from netwright.data import Dataset, calibration_batches, load_dataset, split
from netwright.device.measure import measure_network
from netwright.device.store import find_model
from netwright.models.arch import Arch
from netwright.models.families import family
from netwright.models.family import Family
from netwright.searching.limits.budget import Budget
from netwright.specialization.specialize import specialize
from netwright.supernet.supernet import Supernet
from netwright.training.evaluate import accuracy
from netwright.training.load import load_supernet
from netwright.training.loop import train_network, train_supernet
from netwright.training.recipe import RECIPES, Recipe, fine_tuning, static_training

SPACE = "mobilenet-v3-small"
WIDTHS = (0.35, 0.6, 1.0)
FINE_TUNING = 0.25  # epochs


def mobilenet_v3_small(width: float) -> Arch:
    """MobileNetV3-Small, arXiv:1905.02244, Table 2, scaled in width, with the space's strides for 32 pixels."""
    return Arch(
        resolution=32,
        depths=(2, 3, 2, 3),
        kernels=(3, 3, 3, 5, 5, 5, 5, 5, 3, 5, 5, 5),
        expansions=(4.5, 3.67, 2, 4, 6, 6, 3, 3, 2, 6, 6, 6),
        widths=(width,),
    )


def load(source: str, work: Path) -> tuple[Dataset, Dataset]:
    """Return (learn: nine tenths to learn from and a tenth to choose on; test: the same with the test images)."""
    full = load_dataset(source, size=32, cache=work / "cache")
    rest, held_out = split(full.train, 0.1, seed=0)
    return dataclasses.replace(full, train=rest, val=held_out), dataclasses.replace(full, train=rest)


def train_alone(fam: Family, arch: Arch, name: str, data: tuple[Dataset, Dataset], args: argparse.Namespace) -> dict:
    """Train one network from scratch and return its record; a finished one is read back."""
    record = args.work / f"{name}.json"
    if record.exists():
        return read_json(record)
    learn, test = data
    recipe = static_training(epochs=args.epochs, evaluate_every=0.0)
    run = Run.create(args.work / name, {"kind": "network", "arch": arch.to_json(), "recipe": recipe.to_json()})
    torch.manual_seed(0)
    net = fam.build(arch)
    start = time.process_time()
    train_network(net, learn, recipe, resolution=arch.resolution, run=run)
    seconds = round(time.process_time() - start)
    result = {"arch": arch.to_json(), "macs": fam.macs(arch), "cpu_s": seconds, "test": test_accuracy(net, test, arch)}
    write_json(record, result)
    return result


def test_accuracy(net: torch.nn.Module, test: Dataset, arch: Arch) -> float:
    """Return the top-1 accuracy in percent on the test images."""
    return accuracy(net, test.val, mean=test.mean, std=test.std, resolution=arch.resolution)


def baselines(data: tuple[Dataset, Dataset], args: argparse.Namespace) -> None:
    """Train MobileNetV3-Small at three widths."""
    for width in WIDTHS:
        fam = family(SPACE, classes=10, size=32)
        print(json.dumps(train_alone(fam, mobilenet_v3_small(width), f"baseline-{width}", data, args)), flush=True)


def supernet(data: tuple[Dataset, Dataset], args: argparse.Namespace) -> None:
    """Train the supernet."""
    learn, _ = data
    recipe: Recipe = RECIPES[args.recipe](epochs=args.epochs, evaluate_every=2.0)
    settings = {"classes": 10, "size": 32, "normalization": "batch"}
    described = {"source": args.data, "size": 32, "seed": 0, "val_fraction": 0.1, "classes": list(learn.classes)}
    described |= {"mean": list(learn.mean), "std": list(learn.std)}
    config = {"kind": "supernet", "space": SPACE, "settings": settings, "data": described, "recipe": recipe.to_json()}
    run = Run.create(args.work / "supernet", config)
    torch.manual_seed(0)
    start = time.process_time()
    train_supernet(Supernet(family(SPACE, **settings)), learn, recipe, run)
    seconds = round(time.process_time() - start)
    write_json(args.work / "supernet.json", {"cpu_s": seconds, "recipe": args.recipe})


def latency_ms(fam: Family, arch: Arch) -> float:
    """Return the measured latency of a network with ONNX Runtime on one thread."""
    return measure_network(fam.build(arch).eval(), arch.resolution, "onnxruntime")


def specialize_all(data: tuple[Dataset, Dataset], args: argparse.Namespace) -> None:
    """Search at the latency of every baseline, extract, fine-tune, and test."""
    learn, test = data
    net = load_supernet(Run.open(args.work / "supernet"))
    model = find_model(args.device, SPACE, "onnxruntime")
    for width in WIDTHS:
        record = args.work / f"specialized-{width}.json"
        if record.exists():
            continue
        bound = latency_ms(net.family, mobilenet_v3_small(width))
        found = specialize(
            net,
            learn,
            Budget(latency_ms=bound),
            args.work / "supernet",
            latency=model,
            images=learn.val.take(1000),
            samples=100,
            rounds=1,
        )
        best = found.candidates[0]
        arch = best.arch
        inherited = net.extract(arch, calibration_batches(learn, resolution=arch.resolution))
        result: dict[str, Any] = {"arch": arch.to_json(), "macs": best.cost.macs, "budget_ms": bound}
        result |= {"predicted_ms": best.cost.latency_ms.value if best.cost.latency_ms else None}
        result |= {"measured_ms": latency_ms(net.family, arch), "held_out": best.cost.score.value}
        result["inherited"] = test_accuracy(inherited, test, arch)
        tune = fine_tuning(epochs=FINE_TUNING, warmup_epochs=0.02, evaluate_every=0.0)
        start = time.process_time()
        train_network(inherited, learn, tune, resolution=arch.resolution)
        result["fine_tune_cpu_s"] = round(time.process_time() - start)
        result["fine_tuned"] = test_accuracy(inherited, test, arch)
        write_json(record, result)
        print(json.dumps(result), flush=True)


def alone(data: tuple[Dataset, Dataset], args: argparse.Namespace) -> None:
    """Train the networks that the search found from scratch."""
    for width in WIDTHS:
        arch = Arch.from_json(read_json(args.work / f"specialized-{width}.json")["arch"])
        fam = family(SPACE, classes=10, size=32)
        print(json.dumps(train_alone(fam, arch, f"alone-{width}", data, args)), flush=True)


def table(data: None, args: argparse.Namespace) -> None:
    """Write results/cifar10.json and .md."""
    work = args.work
    rows = [
        {
            "width": width,
            "baseline": read_json(work / f"baseline-{width}.json"),
            "specialized": read_json(work / f"specialized-{width}.json"),
            "alone": read_json(work / f"alone-{width}.json") if (work / f"alone-{width}.json").exists() else None,
        }
        for width in WIDTHS
    ]
    trained = read_json(work / "supernet.json")
    date = time.strftime("%Y-%m-%d")
    machine = environment()
    args.out.mkdir(parents=True, exist_ok=True)
    setting = {"date": date, "epochs": args.epochs, "space": SPACE, "supernet": trained, "environment": machine}
    write_json(args.out / "cifar10.json", {**setting, "rows": rows})
    lines = [
        f"# CIFAR-10 at three latency budgets ({date})",
        "",
        f"`benchmarks/cifar10.py`: space `{SPACE}`, {args.epochs:g} epochs over 45,000 images for every training, one",
        f"supernet ({trained['recipe']}, {trained['cpu_s']} CPU s), {machine['processor']}, torch",
        f"{machine['versions']['torch']}, ONNX Runtime {machine['versions']['onnxruntime']}, one thread. Top-1 in percent on the",
        "10,000 test images. The budget is the measured latency of MobileNetV3-Small at that width.",
        "",
        f"| budget | MobileNetV3-Small alone | specialized, inherited weights | + {FINE_TUNING:g} epochs fine-tuning | "
        "same network trained alone | its latency (predicted) | its MACs (baseline's) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        base, best, own = row["baseline"], row["specialized"], row["alone"]
        alone_text = f"{own['test']:.1f} ({own['cpu_s']} CPU s)" if own else "not run"
        lines.append(
            f"| {best['budget_ms']:.2f} ms (w{row['width']}) | {base['test']:.1f} ({base['cpu_s']} CPU s) | "
            f"{best['inherited']:.1f} | {best['fine_tuned']:.1f} ({best['fine_tune_cpu_s']} CPU s) | "
            f"{alone_text} | {best['measured_ms']:.2f} ms ({best['predicted_ms']:.2f}) | "
            f"{best['macs'] / 1e6:.1f} M ({base['macs'] / 1e6:.1f} M) |"
        )
    (args.out / "cifar10.md").write_text("\n".join(lines) + "\n")


PARTS = {"baselines": baselines, "supernet": supernet, "specialize": specialize_all, "alone": alone, "table": table}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("data", help="directory or zip of class folders; TRAIN.zip,TEST.zip")
    parser.add_argument("--work", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--recipe", default="progressive", choices=("progressive", "sandwich", "random"))
    parser.add_argument("--device", default="this")
    args = parser.parse_args()
    torch.set_num_threads(1)
    PARTS[args.part](None if args.part == "table" else load(args.data, args.work), args)


if __name__ == "__main__":
    main()
