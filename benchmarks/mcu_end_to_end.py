"""From images to two microcontrollers: supernet, search, training, quantization, C, emulation.

    python benchmarks/mcu_end_to_end.py supernet TRAIN.zip,TEST.zip --work runs/mcu   # half an hour of one core
    python benchmarks/mcu_end_to_end.py search   --work runs/mcu                      # a network for each device
    python benchmarks/mcu_end_to_end.py train    --work runs/mcu                      # each one trained on, alone
    python benchmarks/mcu_end_to_end.py quantize --work runs/mcu                      # after training, and with training
    python benchmarks/mcu_end_to_end.py emulate  --work runs/mcu                      # C, 1,000 test images
    python benchmarks/mcu_end_to_end.py table    --work runs/mcu --out results

That is CIFAR-10 at its own 32 pixels. Photographs, few and larger: `supernet clothing.zip --size 96 --batch 32 --epochs 4`, `train --epochs 25`,
`table --name mcu_end_to_end_clothing`.

STM32F746 and STM32F412 with all their SRAM and flash, and `--frames` inferences a second at one instruction a clock. Networks
are chosen on a tenth of the training images that nothing learns from; accuracies reported are those on all test images,
and, emulated, on the first 1,000 of them in shuffled order. Where there are fewer, training images make up the 1,000 that C,
emulated C and interpreter must answer alike, and have no part in the accuracy. Every part can be killed and repeated.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.compression.quantization.post_training import quantize, to_integers  # noqa: E402
from netwright.compression.quantization.qat import quantization_aware, quantize_aware  # noqa: E402
from netwright.core.files import read_json, write_json  # noqa: E402
from netwright.core.run import Run, environment  # noqa: E402
from netwright.core.state import load_state, save_state  # noqa: E402
from netwright.data import Dataset, ImageSet, calibration_batches  # noqa: E402
from netwright.data.loader import normalized  # noqa: E402
from netwright.device.machines import machine  # noqa: E402
from netwright.graph.files.tflite import load_tflite  # noqa: E402
from netwright.graph.files.tflite_writer import write_tflite  # noqa: E402
from netwright.graph.integers.interpret import interpret  # noqa: E402
from netwright.graph.integers.quantized import QuantizedGraph  # noqa: E402
from netwright.mcu.compile import compile_network  # noqa: E402
from netwright.mcu.network import Conv, Dense, Depthwise, Network  # noqa: E402
from netwright.mcu.run.emulate import emulate  # noqa: E402
from netwright.mcu.run.host import build_host  # noqa: E402
from netwright.models.arch import Arch  # noqa: E402
from netwright.models.family import Family  # noqa: E402
from netwright.searching.limits.budget import Budget  # noqa: E402
from netwright.searching.limits.mcu_prices import (  # noqa: E402
    McuPrices,
    mcu_prices,
    with_memories,
)
from netwright.specialization.specialize import specialize  # noqa: E402
from netwright.specialization.tinynas import choose_space  # noqa: E402
from netwright.training.evaluate import accuracy  # noqa: E402
from netwright.training.loop import train_network  # noqa: E402
from netwright.training.recipe import fine_tuning  # noqa: E402
from netwright.workflow.open import open_run  # noqa: E402
from netwright.workflow.train import train as train_run  # noqa: E402

DEVICES = ("stm32f746", "stm32f412")
SETTINGS = {"space.depth": 2, "stages": (0.35, 0.15, 0.2, 0.3), "subnets_per_step": 3, "evaluate_every": 1.0}
EMULATED = 1000
CALIBRATION = 512
TOP = 4  # networks that a search evaluates after the first sample, and along the front


def supernet(args: argparse.Namespace) -> None:
    """Train the supernet, or go on where its training was stopped."""
    epochs = args.epochs if args.epochs is not None else 4.0
    settings = {**SETTINGS, "batch_size": args.batch}
    train_run(args.data, space="mcunet", out=args.work / "run", epochs=epochs, size=args.size, **settings)


def limits_of(device: str, frames: float) -> dict[str, float]:
    """Return the limit on instructions that gives so many inferences a second at one a clock."""
    clock = machine(device).clock_hz
    assert clock is not None
    return {"instructions": clock.value / frames}


def search(args: argparse.Namespace) -> None:
    """Search a network for each device; note what TinyNAS says of the space's resolutions and widths."""
    run = open_run(args.work / "run")
    learn, held_out, net = run.training, run.held_out, run.supernet
    for device in DEVICES:
        record = args.work / f"{device}.search.json"
        if record.exists():
            continue
        budget = Budget(**with_memories(device, limits_of(device, args.frames)))
        prices = mcu_prices(device, sram_bytes=budget.sram_bytes)
        found = specialize(
            net,
            learn,
            budget,
            run.path,
            latency=prices,
            images=held_out,
            calibration_images=CALIBRATION,
            samples=args.evaluations,
            top=TOP,
            rounds=1,
            workers=1,
        )
        result = found.to_json() | {"tinynas": tinynas(net.family, budget, prices)}
        for one in result["candidates"]:
            arch = Arch.from_json(one["arch"])
            one["microcontroller"] = prices.network(
                net.family.blocks(arch), (3, arch.resolution, arch.resolution)
            ).to_json()
        write_json(record, result)
        print(device, json.dumps(result["candidates"][0]), flush=True)


def tinynas(made: Family, budget: Budget, prices: McuPrices) -> list[dict[str, Any]]:
    """Return the resolutions and widths of the space by the mean MACs of the networks within a budget."""
    return [space.to_json() for space in choose_space(made, budget.limits(made, prices))]


def chosen(args: argparse.Namespace, device: str) -> Arch:
    """Return the network that was found for a device."""
    return Arch.from_json(read_json(args.work / f"{device}.search.json")["candidates"][0]["arch"])


def train(args: argparse.Namespace) -> None:
    """Train each network on from the weights it inherits, on all training images."""
    run = open_run(args.work / "run")
    full, learn = run.dataset, run.training
    for device in DEVICES:
        record, arch = args.work / f"{device}.trained.json", chosen(args, device)
        if record.exists():
            continue
        net = run.supernet.extract(arch, calibration_batches(learn, resolution=arch.resolution))
        before = float_accuracy(net, full, arch)
        print(device, "inherited", before, flush=True)
        started = time.process_time()
        tuned(net, arch, full, args, device)
        result = {
            "inherited": before,
            "cpu_s": round(time.process_time() - started),
            "float": float_accuracy(net, full, arch),
        }
        save_state(args.work / f"{device}.float.safetensors", net.state_dict())
        print(device, json.dumps(result), flush=True)
        write_json(record, result)


def tuned(net: nn.Module, arch: Arch, data: Dataset, args: argparse.Namespace, device: str) -> None:
    """Train one network in place; its run can be resumed."""
    epochs = args.epochs if args.epochs is not None else 3.0
    plan = fine_tuning(epochs=epochs, learning_rate=0.1, warmup_epochs=0.2, evaluate_every=0.0, distillation_weight=0.0)
    kept = Run.create(
        args.work / f"{device}.tuning", {"kind": "network", "arch": arch.to_json(), "recipe": plan.to_json()}
    )
    few = dataclasses.replace(data, val=data.val.take(EMULATED))
    train_network(net, few, plan, resolution=arch.resolution, run=kept)


def float_accuracy(net: nn.Module, data: Dataset, arch: Arch) -> float:
    """Return the top-1 accuracy in percent on the test images."""
    return accuracy(net, data.val, mean=data.mean, std=data.std, resolution=arch.resolution)


def restored(args: argparse.Namespace, device: str) -> tuple[nn.Module, Arch, Dataset]:
    """Return the trained network of a device, its arch and the data."""
    run, arch = open_run(args.work / "run"), chosen(args, device)
    net = run.family.build(arch)
    net.load_state_dict(load_state(args.work / f"{device}.float.safetensors"))
    return net.eval(), arch, run.dataset


def integers(model: QuantizedGraph, images: ImageSet, data: Dataset, side: int) -> np.ndarray:
    """Return images as the integer network takes them, [N, H, W, 3]."""
    x_BCHW = normalized(images.images_NCHW, data.mean, data.std, side)
    return to_integers(model, x_BCHW)


def top1(logits_NK: np.ndarray, labels_N: Tensor) -> float:
    """Return the accuracy in percent."""
    return 100 * float((logits_NK.reshape(len(labels_N), -1).argmax(1) == labels_N.numpy()).mean())


def quantized(args: argparse.Namespace) -> None:
    """Bring each network to integers, without training and with some, and keep the latter as a .tflite file."""
    for device in DEVICES:
        record, file = args.work / f"{device}.quantized.json", args.work / f"{device}.tflite"
        if record.exists():
            continue
        net, arch, data = restored(args, device)
        calibration = calibration_batches(data, resolution=arch.resolution, images=CALIBRATION)
        plain = quantize(net, calibration)
        result: dict[str, Any] = {"post_training": top1(answers(plain, data, arch.resolution), data.val.labels_N)}
        print(device, json.dumps(result), flush=True)
        started = time.process_time()
        plan = quantization_aware(
            epochs=args.epochs if args.epochs is not None else 0.5, calibration_images=CALIBRATION
        )
        kept = {"kind": "network", "arch": arch.to_json(), "recipe": plan.to_json()}
        few = dataclasses.replace(data, val=data.val.take(EMULATED))
        model = quantize_aware(
            net, few, plan, resolution=arch.resolution, run=Run.create(args.work / f"{device}.qat", kept)
        )
        write_tflite(model, file)
        result |= {"cpu_s": round(time.process_time() - started)}
        result |= {"aware": top1(answers(model, data, arch.resolution), data.val.labels_N)}
        print(device, json.dumps(result), flush=True)
        write_json(record, result)


def emulated(args: argparse.Namespace) -> None:
    """Write C and run it emulated on 1,000 test images: it must answer as the interpreter does."""
    run = open_run(args.work / "run")
    data = run.dataset
    for device in DEVICES:
        core, arch = machine(device).core, chosen(args, device)
        assert core is not None
        model = load_tflite(args.work / f"{device}.tflite")
        sample = data.val.take(EMULATED)
        stored = integers(model, sample, data, arch.resolution)
        if len(sample) < EMULATED:
            more = integers(model, data.train.take(EMULATED - len(sample)), data, arch.resolution)
            stored = np.concatenate([stored, more])
        expected = interpret(model, [stored])[0].reshape(len(stored), -1)
        memory = read_json(args.work / f"{device}.search.json")["budget"]
        compiled = compile_network(
            model,
            args.work / f"{device}.c",
            name=device,
            cpu=core,
            sram_bytes=int(memory["sram_bytes"]),
            flash_bytes=int(memory["flash_bytes"]),
        )
        found = emulate(compiled.directory, stored, cpu=core)
        host = build_host(compiled.directory).run(stored.reshape(len(stored), -1))
        prices = mcu_prices(device, sram_bytes=memory["sram_bytes"])
        blocks = run.family.blocks(arch)
        result = {
            "arch": arch.to_json(),
            "predicted": prices.network(blocks, (3, arch.resolution, arch.resolution)).to_json(),
            "macs": compiled.network.macs,
            "rounded_exactly": rounded_exactly(compiled.network),
            "images": len(stored),
            "test_images": len(sample),
            "int8_1000": top1(expected[: len(sample)], sample.labels_N),
            "emulated_1000": top1(found.outputs[: len(sample)], sample.labels_N),
            "different_outputs": int(np.count_nonzero(found.outputs != expected)),
            "different_on_host": int(np.count_nonzero(host != expected)),
            "outputs": int(expected.size),
            "instructions": int(found.instructions.max()),
            "instructions_least": int(found.instructions.min()),
            "arena_bytes": found.arena_bytes,
            "stack_bytes": found.stack_bytes,
            "flash_bytes": found.flash_bytes,
            "code_bytes": found.code_bytes,
        }
        write_json(args.work / f"{device}.emulated.json", result)
        print(device, json.dumps(result), flush=True)


def rounded_exactly(network: Network) -> list[str]:
    """Return the layers with a channel whose multiplier is 1 or more: kernels round them the long way, which no model foresees."""
    layers = [layer for layer in network.layers if isinstance(layer, Conv | Depthwise | Dense)]
    return [layer.name for layer in layers if int(layer.requantize.shift.max()) > 0]


def answers(model: QuantizedGraph, data: Dataset, side: int) -> np.ndarray:
    """Return what the interpreter answers to all test images, in parts."""
    parts = torch.arange(len(data.val)).split(1000)
    return np.concatenate([interpret(model, [integers(model, data.val.select(part), data, side)])[0] for part in parts])


def table(args: argparse.Namespace) -> None:
    """Write results/mcu_end_to_end.json and .md."""
    rows = {}
    for device in DEVICES:
        parts = {
            name: read_json(args.work / f"{device}.{name}.json")
            for name in ("search", "trained", "quantized", "emulated")
        }
        rows[device] = parts
    trained = [record for record in Run.open(args.work / "run").metrics() if record.get("kind") == "eval"][-3:]
    config = Run.open(args.work / "run").config
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "devices": rows,
        "supernet": trained,
        "data": Path(config["data"]["source"].split(",")[0]).stem,
        "size": config["data"]["size"],
        "epochs": config["recipe"]["epochs"],
        "steps": trained[-1]["step"],
    }
    save(args.out, args.name, result, page(result))


def page(result: dict[str, Any]) -> str:
    """Return the results as a page."""
    lines = [
        f"# {result['data']} to two microcontrollers ({result['date']})",
        "",
        f"`benchmarks/mcu_end_to_end.py`: one supernet of space `mcunet` ({result['size']} pixels, {result['epochs']:g} epochs of {result['steps']:,} steps in all, progressive), searched for each device",
        "within its SRAM, its flash and a limit on instructions; each network found is then trained on, quantized (with training), written as C,",
        f"and emulated. {result['environment']['processor']}. Top-1 in percent on the test images; emulated on the first 1,000 of them, or all.",
        "Outputs are compared on 1,000 images (training images where there are fewer for testing).",
        "",
        "| device | limit (M instructions) | found: MACs | predicted / emulated (M instructions) | arena predicted / real | "
        "flash predicted / real | inherited | trained | int8, post-training | int8, trained | the same on the emulated | emulated | test images emulated | outputs that differ |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for device, parts in result["devices"].items():
        said, got = parts["emulated"]["predicted"], parts["emulated"]
        lines.append(
            f"| {device} | {parts['search']['budget']['instructions'] / 1e6:.2f} | {got['macs'] / 1e6:.2f} M | "
            f"{said['instructions'] / 1e6:.2f} / {got['instructions'] / 1e6:.2f} | {said['arena_bytes']:,} / {got['arena_bytes']:,} | "
            f"{said['flash_bytes']:,} / {got['flash_bytes']:,} | {parts['trained']['inherited']:.2f} | "
            f"{parts['trained']['float']:.2f} | {parts['quantized']['post_training']:.2f} | "
            f"{parts['quantized']['aware']:.2f} | {got['int8_1000']:.1f} | {got['emulated_1000']:.1f} | {got['test_images']} | "
            f"{got['different_outputs']} of {got['outputs']:,} |"
        )
    for device, parts in result["devices"].items():
        if names := parts["emulated"]["rounded_exactly"]:
            lines += [
                "",
                f"{device}: {', '.join(names)} has a channel whose multiplier is 1 or more, after training; kernels round such",
            ]
            lines += [
                "a layer the long way, which the instruction model, fitted before there are weights, does not foresee."
            ]
    return "\n".join(lines) + "\n"


PARTS = {
    "supernet": supernet,
    "search": search,
    "train": train,
    "quantize": quantized,
    "emulate": emulated,
    "table": table,
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("data", nargs="?", help="directory or zip of class folders; TRAIN.zip,TEST.zip")
    parser.add_argument("--work", type=Path, default=Path("runs/mcu"))
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--name", default="mcu_end_to_end", help="of the results")
    parser.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=128, help="of the supernet's training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=float, help="of this part's training")
    parser.add_argument("--frames", type=float, default=20.0, help="inferences a second")
    parser.add_argument("--evaluations", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    PARTS[args.part](args)


if __name__ == "__main__":
    main()
