"""Instructions of single layers as generated C on emulated Cortex-M: for each product, and for each output.

    python benchmarks/mcu_kernels.py            # Cortex-M7 and M4, gcc -O2
    python benchmarks/mcu_kernels.py --quick    # Cortex-M7 only

Each layer is a network of its own with random weights; its outputs must be those of the same C on this machine, where the
portable path runs. Instructions are exact, are not cycles, and include the copy of the output. Needs arm-none-eabi-gcc and
qemu-system-arm. Writes results/mcu_kernels.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.mcu.emit.emit import emit  # noqa: E402
from netwright.mcu.network import Conv, Dense, Depthwise, Network, NetworkValue, Requantize, Window  # noqa: E402
from netwright.mcu.run.emulate import emulate  # noqa: E402
from netwright.mcu.run.host import build_host  # noqa: E402
from netwright.mcu.run.toolchain import call  # noqa: E402
from netwright.mcu.schedule.schedule import schedule  # noqa: E402

Rng = np.random.Generator
# side of the square image, channels, outputs; where there is one: kernel; stride
POINTWISE = (
    (40, 8, 48),
    (40, 16, 8),
    (20, 16, 48),
    (20, 48, 16),
    (10, 24, 144),
    (10, 144, 24),
    (6, 128, 128),
    (3, 96, 480),
)
CONVOLUTIONS = ((80, 3, 16, 3, 2), (96, 1, 8, 3, 2), (32, 16, 16, 3, 1), (32, 16, 32, 3, 2), (8, 64, 64, 3, 1))
DEPTHWISE = (
    (40, 16, 3, 1),
    (40, 48, 3, 2),
    (20, 48, 3, 1),
    (10, 144, 3, 1),
    (5, 240, 3, 1),
    (10, 120, 5, 1),
    (5, 240, 7, 1),
)
DENSE = ((64, 10), (640, 128))


def main() -> None:
    """Measure all layers and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    processors = ("cortex-m7",) if asked.quick else ("cortex-m7", "cortex-m4")
    rows = [measure(name, network, processors) for name, network in layers()]
    compiler = call(["arm-none-eabi-gcc", "--version"]).decode().splitlines()[0]
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "compiler": compiler,
        "optimize": "-O2",
        "rows": rows,
    }
    save(asked.out, "mcu_kernels.quick" if asked.quick else "mcu_kernels", result, page(result, processors))


def layers() -> Iterator[tuple[str, Network]]:
    """Yield layers as networks of their own."""
    rng = np.random.default_rng(0)
    for side, channels, outputs in POINTWISE:
        weights = _weights(rng, (outputs, 1, 1, channels))
        window = Window((1, 1), (1, 1), (0, 0, 0, 0))
        layer = Conv((0,), 1, "pointwise", window, weights, -128, _requantize(weights))
        name = f"pointwise {channels} to {outputs} at {side} x {side}"
        yield name, _network(layer, (side, side, channels), (side, side, outputs), weights.size * side**2)
    for side, channels, outputs, kernel, stride in CONVOLUTIONS:
        weights = _weights(rng, (outputs, kernel, kernel, channels))
        layer = Conv((0,), 1, "conv", _same(kernel, stride), weights, -128, _requantize(weights))
        made = -(-side // stride)
        name = f"{kernel} x {kernel} / {stride}, {channels} to {outputs} at {side} x {side}"
        yield name, _network(layer, (side, side, channels), (made, made, outputs), weights.size * made**2)
    for side, channels, kernel, stride in DEPTHWISE:
        weights = _weights(rng, (kernel, kernel, channels))
        requantize = _requantize(weights.transpose(2, 0, 1))
        layer = Depthwise((0,), 1, "depthwise", _same(kernel, stride), weights, -128, requantize)
        made = -(-side // stride)
        name = f"depthwise {kernel} x {kernel} / {stride}, {channels} at {side} x {side}"
        yield name, _network(layer, (side, side, channels), (made, made, channels), weights.size * made**2)
    for depth, outputs in DENSE:
        weights = _weights(rng, (outputs, depth))
        layer = Dense((0,), 1, "dense", weights, -128, _requantize(weights))
        yield f"dense {depth} to {outputs}", _network(layer, (depth,), (outputs,), weights.size)


def measure(name: str, network: Network, processors: tuple[str, ...]) -> dict[str, Any]:
    """Compile one layer, check it on this machine, and count its instructions."""
    source = emit(network, schedule(network, mode="layers"))
    values = network.values
    images = np.random.default_rng(1).integers(-128, 128, (1, values[0].bytes)).astype(np.int8)
    row: dict[str, Any] = {"layer": name, "macs": network.macs, "outputs": values[1].bytes}
    with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
        source.write(Path(folder))
        wanted = build_host(Path(folder)).run(images)
        for cpu in processors:
            done = emulate(Path(folder), images, cpu=cpu)
            if not np.array_equal(done.outputs, wanted):
                raise SystemExit(f"{name}: {cpu} differs from this machine")
            row[cpu] = int(done.instructions[0])
            row["stack_bytes"] = done.stack_bytes
    return row


def page(result: dict[str, Any], processors: tuple[str, ...]) -> str:
    """Return the table as Markdown."""
    lines = [
        "# Instructions of single layers",
        "",
        f"{result['date']}, {result['compiler']}, {result['optimize']}. Exact counts under QEMU, not cycles.",
        "",
        "| layer | MMAC | " + " | ".join(f"{cpu}: M | a product | an output" for cpu in processors) + " | stack |",
        "|---|--|" + "--|--|--|" * len(processors) + "--|",
    ]
    for row in result["rows"]:
        cells = [f"{row[c] / 1e6:.3f} | {row[c] / row['macs']:.2f} | {row[c] / row['outputs']:.1f}" for c in processors]
        lines.append(f"| {row['layer']} | {row['macs'] / 1e6:.3f} | {' | '.join(cells)} | {row['stack_bytes']} |")
    return "\n".join(lines) + "\n"


def _same(kernel: int, stride: int) -> Window:
    return Window((kernel, kernel), (stride, stride), ((kernel - 1) // 2,) * 4)


def _weights(rng: Rng, shape: tuple[int, ...]) -> NDArray[np.int8]:
    return np.clip(rng.normal(0, 45, shape), -127, 127).astype(np.int8)


def _requantize(weights: NDArray[np.int8]) -> Requantize:
    """Parameters of a ReLU layer whose outputs fill int8 about, from weights (channels, ...) at an input zero point -128."""
    flat = weights.reshape(len(weights), -1).astype(np.int64)
    spread = np.sqrt((flat**2).sum(axis=1)) * 74
    mantissa, exponent = np.frexp(90 / spread)
    bias = 128 * flat.sum(axis=1)
    multiplier = np.minimum(np.rint(mantissa * (1 << 31)), (1 << 31) - 1)
    return Requantize(bias.astype(np.int32), multiplier.astype(np.int32), exponent.astype(np.int32), -128, -128, 127)


def _network(layer: Conv | Depthwise | Dense, shape: tuple[int, ...], made: tuple[int, ...], macs: int) -> Network:
    values = (
        NetworkValue("in", shape, scale=1.0, zero_point=-128),
        NetworkValue("out", made, scale=1.0, zero_point=-128),
    )
    return Network(values, (layer,), (0,), (1,), macs)


if __name__ == "__main__":
    main()
