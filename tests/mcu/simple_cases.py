"""Random small integer graphs of one kind of operator each, and their C run on this machine or emulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netwright.graph.interpret import interpret
from netwright.graph.quantized import Quantization, QuantizedGraph
from netwright.graph.quantized_builder import GraphBuilder, quantization
from netwright.mcu.border import as_bytes, as_tensors
from netwright.mcu.emit import emit
from netwright.mcu.lower import lower
from netwright.mcu.network import Network
from netwright.mcu.schedule import schedule

Rng = np.random.Generator


def any_quantization(rng: Rng) -> Quantization:
    return quantization(float(np.exp(rng.uniform(-6, 1))), int(rng.integers(-128, 128)))


def like(found: Quantization, factor: float, rng: Rng) -> Quantization:
    """A quantization whose scale is the given one's times a factor."""
    return quantization(found.scale * np.float32(factor), int(rng.integers(-128, 128)))


def shape_of(rng: Rng) -> tuple[int, ...]:
    return (1, *(int(side) for side in rng.integers(1, 8, 2)), int(rng.choice([1, 2, 3, 4, 7, 8, 16])))


def write_c(model: QuantizedGraph, folder: Path) -> Network:
    """Write the C of a graph, layer by layer, into a folder."""
    network = lower(model)
    emit(network, schedule(network, mode="layers")).write(folder)
    return network


def inputs_of(network: Network, rng: Rng, count: int = 6) -> NDArray[np.int8]:
    """Random inputs, one that holds only the least value and one with only the largest."""
    size = sum(network.values[value].bytes for value in network.inputs)
    inputs = rng.integers(-128, 128, (count, size)).astype(np.int8)
    inputs[0], inputs[1] = -128, 127
    return inputs


def wanted(model: QuantizedGraph, network: Network, inputs: NDArray[np.int8]) -> NDArray[np.int8]:
    """What the interpreter makes of each input. One by one: some shapes say a batch of 1."""
    rows = [as_bytes(model, network, interpret(model, as_tensors(model, network, one[None]))) for one in inputs]
    return np.concatenate(rows)


def sums(rng: Rng, count: int) -> QuantizedGraph:
    """ADD, SUB and MUL of two values, of one and a constant, and broadcast, with and without clamps."""
    build = GraphBuilder()
    made = []
    for number in range(count):
        operator = ("ADD", "ADD", "SUB", "MUL")[int(rng.integers(4))]
        shape, first = shape_of(rng), any_quantization(rng)
        second = like(first, float(rng.choice([1, 0.25, 3.7, 1e-3, np.exp(rng.uniform(-3, 3))])), rng)
        reach = (
            float(first.scale[0] * second.scale[0]) * 128
            if operator == "MUL"
            else float(max(first.scale, second.scale)[0])
        )
        output = quantization(reach * float(np.exp(rng.uniform(-3, 2))), int(rng.integers(-128, 128)))
        kind = ("same", "same", "same", "channel", "pixel", "one", "full constant", "channel constant")[
            int(rng.integers(8))
        ]
        other = {"channel": (1, 1, 1, shape[3]), "pixel": (*shape[:3], 1), "one": (1, 1, 1, 1)}.get(kind, shape)
        other = (shape[3],) if kind == "channel constant" else other
        a = build.input(f"a{number}", shape, first)
        if "constant" in kind:
            b = build.constant(f"b{number}", rng.integers(-128, 128, other).astype(np.int8), second)
        else:
            b = build.input(f"b{number}", other, second)
        turned = operator != "SUB" and rng.random() < 0.3
        activation = rng.choice(["NONE", "RELU", "RELU6"])
        made.append(
            build.op(operator, [b, a] if turned else [a, b], shape, output, fused_activation_function=str(activation))
        )
    return build.build(made)


def pools(rng: Rng, count: int) -> QuantizedGraph:
    """AVERAGE_POOL_2D and MAX_POOL_2D."""
    build = GraphBuilder()
    made = []
    for number in range(count):
        shape, found = shape_of(rng), any_quantization(rng)
        padding = str(rng.choice(["SAME", "VALID"]))
        kernel = [int(rng.integers(1, side + 1)) for side in shape[1:3]]
        stride = [int(side) for side in rng.integers(1, 4, 2)]
        sides = [
            -(-side // step) if padding == "SAME" else (side - reach) // step + 1
            for side, reach, step in zip(shape[1:3], kernel, stride, strict=True)
        ]
        made.append(
            build.op(
                str(rng.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D"])),
                [build.input(f"x{number}", shape, found)],
                (1, *sides, shape[3]),
                found,
                filter_height=kernel[0], filter_width=kernel[1], stride_h=stride[0], stride_w=stride[1],
                padding=padding, fused_activation_function=str(rng.choice(["NONE", "RELU", "RELU6"])),
            )
        )  # fmt: skip
    return build.build(made)


def means(rng: Rng, count: int) -> QuantizedGraph:
    """MEAN over every set of axes, also behind TRANSPOSE; SUM."""
    build = GraphBuilder()
    made = []
    for number in range(count):
        shape, found = shape_of(rng), any_quantization(rng)
        x = build.input(f"x{number}", shape, found)
        if rng.random() < 0.4:
            order = [0, *(1 + int(axis) for axis in rng.permutation(3))]
            shape = tuple(shape[axis] for axis in order)
            x = build.op("TRANSPOSE", [x, build.constant(f"o{number}", np.array(order, np.int32))], shape, found)
        for step in range(int(rng.integers(1, 3))):
            axes = sorted({1 + int(axis) for axis in rng.integers(0, len(shape) - 1, int(rng.integers(1, 4)))})
            keep = bool(rng.integers(2)) and step == 0
            left = [1 if i in axes else s for i, s in enumerate(shape) if keep or i not in axes]
            found = like(found, float(np.exp(rng.uniform(-1, 1))), rng)
            where = build.constant(f"axes{number}.{step}", np.array(axes, np.int32))
            x = build.op("MEAN", [x, where], left, found, keep_dims=keep)
            shape = tuple(left)
            if len(shape) < 2:
                break
        made.append(x)
    return build.build(made)


def functions(rng: Rng, count: int) -> QuantizedGraph:
    """SOFTMAX and what becomes a table."""
    build = GraphBuilder()
    made = []
    for number in range(count):
        shape, found = shape_of(rng), any_quantization(rng)
        x = build.input(f"x{number}", shape, found)
        operator = str(rng.choice(["SOFTMAX", "LOGISTIC", "TANH", "QUANTIZE", "RELU6"]))
        made_quantization = {
            "SOFTMAX": quantization(1 / 256, -128),
            "LOGISTIC": quantization(1 / 256, -128),
            "TANH": quantization(1 / 128, 0),
        }.get(operator, like(found, float(np.exp(rng.uniform(-2, 2))), rng))
        options = {"beta": float(rng.choice([1.0, 0.5]))} if operator == "SOFTMAX" else {}
        made.append(build.op(operator, [x], shape, made_quantization, **options))
    return build.build(made)
