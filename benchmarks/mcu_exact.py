"""Bit-exactness: the integer interpreter, LiteRT's reference kernels, the generated C here and emulated, one against another.

    python benchmarks/mcu_exact.py DATA            # DATA: a folder with models/ and, for images, zips of ImageFolder trees
    python benchmarks/mcu_exact.py DATA --quick    # a tenth of the cases, few images

Models: the .tflite files and layer lists of DATA/models on photographs; resnet8 on 1,000 images of DATA/cifar10-test.zip,
with its top-1. Cases: 10,000 random operators with extreme scales (benchmarks/mcu_cases.py). LiteRT is compared where the
package ai-edge-litert is installed, emulation where arm-none-eabi-gcc and qemu-system-arm are; what is left out is said.
Writes results/mcu_exact.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import io
import itertools
import re
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.mcu_bundle import bundle  # noqa: E402 - the checkout first
from benchmarks.mcu_cases import Case, random_case  # noqa: E402
from benchmarks.results import save  # noqa: E402
from netwright.core.errors import NetwrightError  # noqa: E402
from netwright.core.files import read_json  # noqa: E402
from netwright.core.run import environment  # noqa: E402
from netwright.graph.files.layer_list import read_layer_list  # noqa: E402
from netwright.graph.files.tflite import load_tflite  # noqa: E402
from netwright.graph.files.tflite_writer import tflite_bytes  # noqa: E402
from netwright.graph.integers.interpret import interpret  # noqa: E402
from netwright.graph.integers.quantized import QuantizedGraph  # noqa: E402
from netwright.mcu.compile import compile_network  # noqa: E402
from netwright.mcu.emit.emit import emit  # noqa: E402
from netwright.mcu.lower.border import as_bytes, as_tensors  # noqa: E402
from netwright.mcu.lower.lower import lower  # noqa: E402
from netwright.mcu.network import Network  # noqa: E402
from netwright.mcu.run.emulate import TOOLS, emulate  # noqa: E402
from netwright.mcu.run.host import build_host  # noqa: E402
from netwright.mcu.run.toolchain import missing  # noqa: E402
from netwright.mcu.schedule.schedule import Schedule, Whole  # noqa: E402

MODELS = (
    "mlperf-resnet8-cifar10-int8.tflite",
    "mlperf-vww96-int8.tflite",
    "tflm-person-detect-int8.tflite",
    "mcunet-vww-int8.tflite",
    "mbv2-w0.35.json",
    "mcunet-5fps.json",
)
TOGETHER = 120  # cases that are compiled as one network
INPUTS = 4  # of each case: its own and random ones
CPUS = ("cortex-m7", "cortex-m4")  # on which cases are emulated, in turn
AT_ONCE = 50  # images in one run of the emulator


def litert_runner(model: QuantizedGraph) -> Callable[[list[NDArray[Any]]], list[NDArray[Any]]] | None:
    """Return what runs a network in LiteRT's reference kernels, None if LiteRT refuses it."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType  # pyright: ignore[reportMissingImports]

    try:
        runner = Interpreter(
            model_content=tflite_bytes(model),
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            num_threads=1,
        )
        runner.allocate_tensors()
    except RuntimeError:
        return None

    def run(inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
        for detail, values in zip(runner.get_input_details(), inputs, strict=True):
            runner.set_tensor(detail["index"], values)
        runner.invoke()
        return [runner.get_tensor(detail["index"]) for detail in runner.get_output_details()]

    return run


def photographs(path: Path, side: int, per_class: int, most: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (N, side, side, 3) and labels from a zip of class folders: the first of each class, by name."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png")))
        folders = sorted({name.split("/")[-2] for name in names})
        by_folder: dict[str, list[str]] = {folder: [] for folder in folders}
        for name in names:
            by_folder[name.split("/")[-2]].append(name)
        taken = [(name, label) for label, folder in enumerate(folders) for name in by_folder[folder][:per_class]]
        taken = taken[:: max(1, len(taken) // most)][:most]
        images = [square(Image.open(io.BytesIO(archive.read(name))), side) for name, _ in taken]
    return np.stack(images), np.array([label for _, label in taken])


def square(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """Return the middle square of an image at a side."""
    image = image.convert("RGB")
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    if short == side:
        return np.asarray(image.crop((left, top, left + side, top + side)))
    box = (left, top, left + short, top + short)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))


def stored(model: QuantizedGraph, network: Network, images: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return images as the bytes that the C code takes: pixels less 128, grey where the network wants one channel."""
    channels = model.graph.tensors[model.graph.inputs[0]].shape[-1]
    if channels == 1:
        images = images.mean(axis=-1, keepdims=True).astype(np.uint8)
    return (images.astype(np.int16) - 128).astype(np.int8).reshape(len(images), -1)


def check_model(path: Path, data: Path, counts: dict[str, int], skipped: dict[str, str]) -> dict[str, Any]:
    """Return how many outputs of one model are equal between interpreter, LiteRT, C here and emulated C."""
    model = read_layer_list(path) if path.suffix == ".json" else load_tflite(path)
    network = lower(model)
    side = model.graph.tensors[model.graph.inputs[0]].shape[1]
    cifar = "cifar10" in path.name
    source = data / ("cifar10-test.zip" if cifar else "imagenet-sample.zip")
    count = counts["cifar"] if cifar else counts["photographs"]
    images, labels = photographs(source, side, 100 if cifar else 1, count)
    inputs = stored(model, network, images)
    tensors = as_tensors(model, network, inputs)
    start = time.perf_counter()
    results = interpret(model, tensors)
    seconds = time.perf_counter() - start
    expected = as_bytes(model, network, results)
    row: dict[str, Any] = {"model": path.stem, "images": len(images), "values": int(expected.size)}
    row["interpreter_seconds"] = round(seconds, 2)
    if cifar:
        row["top1"] = float((expected.argmax(axis=1) == labels).mean())
    if "litert" not in skipped:
        run = litert_runner(model)
        most = len(images) if cifar else min(len(images), counts["litert"])
        row["litert_images"] = most
        differ = 0
        for place in range(most if run else 0):
            theirs = run([values[place : place + 1] for values in tensors])  # pyright: ignore[reportOptionalCall]
            differ += sum(
                int(np.count_nonzero(a != b[place : place + 1])) for a, b in zip(theirs, results, strict=True)
            )
        row["litert_differ"] = "refused" if run is None else differ
    with tempfile.TemporaryDirectory() as folder:
        for mode in ("layers", "auto"):
            directory = Path(folder) / mode
            compile_network(model, directory, mode=mode)
            row[f"host_{mode}_differ"] = int(np.count_nonzero(build_host(directory).run(inputs) != expected))
        if "emulation" not in skipped:
            most = min(len(images), counts["emulated_cifar"] if cifar else counts["emulated"])
            row |= {"emulated_images": most, "emulated_differ": 0}
            for first in range(0, most, AT_ONCE):
                part = slice(first, min(most, first + AT_ONCE))
                found = emulate(Path(folder) / "auto", inputs[part], cpu="cortex-m7").outputs
                row["emulated_differ"] += int(np.count_nonzero(found != expected[part]))
    return row


@dataclass
class Tally:
    """What became of the random cases, by operator; `faults`: the numbers of cases that differ."""

    made: Counter[str] = field(default_factory=Counter)
    litert: Counter[str] = field(default_factory=Counter)
    litert_refused: Counter[str] = field(default_factory=Counter)
    host: Counter[str] = field(default_factory=Counter)
    host_refused: Counter[str] = field(default_factory=Counter)
    emulated: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    impossible: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def check_cases(count: int, skipped: dict[str, str], every: int, minutes: float) -> Tally:
    """Run cases until `count` of them have been compared with C, or time is up; emulate one in `every` networks of them."""
    tally = Tally()
    end = time.monotonic() + 60 * minutes
    bundles = 0
    waiting: list[tuple[int, Case, Network]] = []
    for number in itertools.count():
        if (
            sum(tally.made.values()) - sum(tally.impossible.values()) - sum(tally.host_refused.values()) >= count
            or time.monotonic() > end
        ):
            break
        case = random_case(number)
        tally.made[case.operator] += 1
        try:
            mine = interpret(case.model, case.inputs)
        except NetwrightError:
            tally.impossible[case.operator] += 1
            continue
        if "litert" not in skipped:
            _with_litert(number, case, mine, tally)
        try:
            waiting.append((number, case, lower(case.model)))
        except NetwrightError as error:
            tally.host_refused[case.operator] += 1
            tally.reasons[f"{case.operator}, {_reason(error)}"] += 1
        if len(waiting) == TOGETHER:
            _with_c(waiting, tally, bundles % every == 0 and "emulation" not in skipped, CPUS[bundles // every % 2])
            bundles += 1
            waiting = []
            print(f"{number + 1:,} cases, {len(tally.faults)} differ", file=sys.stderr, flush=True)
    if waiting:
        _with_c(waiting, tally, "emulation" not in skipped, CPUS[0])
    return tally


def _reason(error: NetwrightError) -> str:
    """Return why a case is not compiled, without its numbers."""
    words = re.sub(r"-?[0-9][0-9.,e+]*", "N", str(error).rsplit(": ", 1)[-1])
    return words.split(". ")[0]


def _with_litert(number: int, case: Case, mine: list[NDArray[Any]], tally: Tally) -> None:
    run = litert_runner(case.model)
    if run is None:
        tally.litert_refused[case.operator] += 1
        return
    theirs = run(case.inputs)
    if all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(theirs, mine, strict=True)):
        tally.litert[case.operator] += 1
    else:
        tally.faults.append(f"case {number}, {case.operator}: LiteRT")


def side_by_side(network: Network) -> Schedule:
    """Return the plan of a bundle: layer after layer, nothing shares memory, which no planner need search for."""
    offsets: dict[int, int] = {}
    end = 0

    def take(size: int) -> int:
        nonlocal end
        start, end = end, end + -(-size // 16) * 16
        return start

    for index, value in enumerate(network.values):
        if value.alias < 0:
            offsets[index] = take(value.bytes)
    steps = []
    for index, layer in enumerate(network.layers):
        scratch = layer.scratch_bytes(network)
        steps.append(Whole(index, -1, take(scratch) if scratch else -1, scratch))
    return Schedule("layers", tuple(steps), offsets, end, end, end, "not searched", (end,) * len(steps))


def _with_c(waiting: list[tuple[int, Case, Network]], tally: Tally, emulated: bool, cpu: str) -> None:
    """Compile many cases as one network, run it on the cases' inputs and random ones, and compare each."""
    rng = np.random.default_rng(waiting[0][0])
    blocks, expected = [], []
    for _, case, network in waiting:
        size = sum(network.values[value].bytes for value in network.inputs)
        block = rng.integers(-128, 128, (INPUTS, size)).astype(np.int8)
        own = np.concatenate([values.reshape(-1).view(np.int8) for values in case.inputs])
        block[0] = own if len(own) == size else block[0]
        blocks.append(block)
        expected.append(as_bytes(case.model, network, _each(case, network, block)))
    model = bundle([case.model for _, case, _ in waiting])
    network = lower(model)
    inputs = np.concatenate(blocks, axis=1)
    with tempfile.TemporaryDirectory() as folder:
        emit(network, side_by_side(network)).write(Path(folder))
        found: dict[str, NDArray[np.int8]] = {}
        try:
            found["C"] = build_host(Path(folder), optimize="-O1").run(inputs)
            if emulated:
                found["emulated C"] = emulate(Path(folder), inputs, cpu=cpu).outputs
        except NetwrightError as error:  # the compiler objects
            tally.faults.append(f"cases {waiting[0][0]} to {waiting[-1][0]}: {error}")
    start = 0
    for (number, case, _), wanted in zip(waiting, expected, strict=True):
        part = slice(start, start + wanted.shape[1])
        start = part.stop
        for kind, outputs in found.items():
            wrong = int(np.count_nonzero(outputs[:, part] != wanted))
            if wrong:
                tally.faults.append(f"case {number}, {case.operator}: {kind} in {wrong} of {wanted.size} values")
            else:
                (tally.host if kind == "C" else tally.emulated)[case.operator] += 1


def _each(case: Case, network: Network, block: NDArray[np.int8]) -> list[NDArray[Any]]:
    """Return a case's outputs for each row of a block, as one batch."""
    rows = [interpret(case.model, as_tensors(case.model, network, row[None])) for row in block]
    return [np.stack([row[place].reshape(-1) for row in rows]) for place in range(len(rows[0]))]


def markdown(record: dict[str, Any]) -> str:
    """Write the record as a page."""
    lines = ["# Integer networks, bit for bit", ""]
    lines += ["Values that differ from the interpreter's; 0 is equality.", ""]
    lines += [
        "| model | images | values | LiteRT BUILTIN_REF (images) | C here, layers | C here, auto | emulated M7 (images) | top-1 |",
        "|--|--|--|--|--|--|--|--|",
    ]
    for row in record["models"]:
        theirs = f"{row['litert_differ']} ({row['litert_images']:,})" if "litert_differ" in row else "left out"
        emulated = f"{row['emulated_differ']} ({row['emulated_images']:,})" if "emulated_differ" in row else "left out"
        top = f"{100 * row['top1']:.1f} %" if "top1" in row else ""
        lines.append(
            f"| {row['model']} | {row['images']:,} | {row['values']:,} | {theirs} | {row['host_layers_differ']} | "
            f"{row['host_auto_differ']} | {emulated} | {top} |"
        )
    cases = record["cases"]
    lines += ["", f"## {sum(cases['made'].values()):,} random operators", ""]
    lines += [
        f"Each compared with LiteRT on one input and with the generated C on {INPUTS}, some of them emulated on Cortex-M7 and M4 in turn; what LiteRT refuses is mostly a "
        "convolution without bias, what is not compiled says why below.",
        "",
        "| operator | cases | no such arithmetic | equal to LiteRT | LiteRT refuses | C equal | emulated C equal | not compiled |",
        "|--|--|--|--|--|--|--|--|",
    ]
    kinds = ("made", "impossible", "litert", "litert_refused", "host", "emulated", "host_refused")
    for operator in cases["made"]:
        lines.append(f"| {operator} | " + " | ".join(str(cases[kind].get(operator, 0)) for kind in kinds) + " |")
    lines.append("| all | " + " | ".join(f"{sum(cases[kind].values()):,}" for kind in kinds) + " |")
    lines += ["", "Not compiled:", *(f"- {why}: {many}" for why, many in sorted(cases["reasons"].items()))]
    lines += ["", f"Cases that differ: {len(cases['faults'])}.", *(f"- {fault}" for fault in cases["faults"][:40])]
    if record["left_out"]:
        lines += ["", "Left out: " + "; ".join(f"{what} ({why})" for what, why in record["left_out"].items()) + "."]
    machine = record["environment"]
    lines += [
        "",
        f"{record['date']}, {machine['processor']}, Python {machine['python']}, numpy {machine['versions']['numpy']}, "
        f"ai-edge-litert {record['litert']}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and write results/mcu_exact.json and .md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with models/, cifar10-test.zip and imagenet-sample.zip")
    parser.add_argument("--quick", action="store_true", help="a tenth of the cases, few images")
    parser.add_argument("--cases", type=int, default=10_000, help="how many are compared with C")
    parser.add_argument("--every", type=int, default=1, help="emulate one in so many networks of cases")
    parser.add_argument("--minutes", type=float, default=600, help="take no more cases after so many")
    parser.add_argument("--here", action="store_true", help="no emulation")
    parser.add_argument("--models", nargs="*", default=list(MODELS), help="files of DATA/models; none: only the cases")
    parser.add_argument("--keep", type=Path, help="an earlier result of this script: its models, where none are run")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    skipped: dict[str, str] = {}
    if importlib.util.find_spec("ai_edge_litert") is None:
        skipped["litert"] = "the package ai-edge-litert is not installed"
    if reason := missing(*TOOLS):
        skipped["emulation"] = reason
    if options.here:
        skipped["emulation"] = "not asked for"
    counts = {"cifar": 1000, "photographs": 100, "litert": 20, "emulated_cifar": 1000, "emulated": 10}
    if options.quick:
        counts = {"cifar": 100, "photographs": 10, "litert": 5, "emulated_cifar": 5, "emulated": 2}
    models = [] if options.models or not options.keep else read_json(options.keep)["models"]
    for name in options.models:
        models.append(check_model(options.data / "models" / name, options.data, counts, skipped))
        print(models[-1], file=sys.stderr, flush=True)
    tally = check_cases(
        options.cases // 10 if options.quick else options.cases, skipped, options.every, options.minutes
    )
    record = {
        "quick": options.quick,
        "models": models,
        "cases": {name: getattr(tally, name) for name in Tally.__dataclass_fields__},
        "left_out": skipped,
        "litert": "not installed" if "litert" in skipped else metadata.version("ai-edge-litert"),
        "environment": environment(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    save(options.out, "mcu_exact.quick" if options.quick else "mcu_exact", record, markdown(record))


if __name__ == "__main__":
    main()
