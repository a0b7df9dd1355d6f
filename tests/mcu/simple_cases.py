"""Random small integer graphs of one kind of operator each, and their C run on this machine or emulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.interpret import interpret
from netwright.graph.integers.quantized import Quantization, QuantizedGraph
from netwright.mcu.emit.emit import emit
from netwright.mcu.lower.border import as_bytes, as_tensors
from netwright.mcu.lower.lower import lower
from netwright.mcu.network import Network
from netwright.mcu.schedule.schedule import schedule

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
        operator = str(rng.choice(["SOFTMAX", "LOGISTIC", "TANH", "QUANTIZE", "RELU6", "HARD_SWISH", "LEAKY_RELU"]))
        made_quantization = {
            "SOFTMAX": quantization(1 / 256, -128),
            "LOGISTIC": quantization(1 / 256, -128),
            "TANH": quantization(1 / 128, 0),
        }.get(operator, like(found, float(np.exp(rng.uniform(0, 2))), rng))
        options: dict[str, Any] = {"SOFTMAX": {"beta": float(rng.choice([1, 0.5]))}, "LEAKY_RELU": {"alpha": 0.3}}.get(
            operator, {}
        )
        made.append(build.op(operator, [x], shape, made_quantization, **options))
    return build.build(made)


def moves(rng: Rng, count: int) -> QuantizedGraph:
    """Everything that only moves elements, one after another or alone."""
    build = GraphBuilder()
    made = []
    for number in range(count):
        found, shape = any_quantization(rng), shape_of(rng)
        x = build.input(f"x{number}", shape, found)
        for step in range(int(rng.integers(1, 3))):
            x = _moved(rng, build, x, f"{number}.{step}", found)
        made.append(x)
    return build.build(made)


def _moved(rng: Rng, build: GraphBuilder, x: int, name: str, found: Quantization) -> int:
    shape = build.shape(x)
    ints = lambda what, values: build.constant(f"{what}{name}", np.array(values, np.int32))  # noqa: E731
    match str(
        rng.choice(
            ["concat", "split", "slice", "strided", "mirror", "gather", "pack", "nearest", "depth", "pad", "turn"]
        )
    ):
        case "concat":
            axis = int(rng.integers(1, 4))
            other = build.input(
                f"other{name}", [int(rng.integers(1, 5)) if i == axis else s for i, s in enumerate(shape)], found
            )
            whole = [s + build.shape(other)[i] if i == axis else s for i, s in enumerate(shape)]
            return build.op("CONCATENATION", [x, other], whole, found, axis=axis)
        case "split":
            axis = int(rng.integers(1, 4))
            parts = 2 if shape[axis] % 2 == 0 else shape[axis]
            piece = tuple(s // parts if i == axis else s for i, s in enumerate(shape))
            return build.op_many("SPLIT", [ints("axis", axis), x], [(piece, found)] * parts, num_splits=parts)[-1]
        case "slice":
            begin = [0, *(int(rng.integers(0, s)) for s in shape[1:])]
            size = [1, *(int(rng.integers(1, s - b + 1)) for s, b in zip(shape[1:], begin[1:], strict=True))]
            return build.op("SLICE", [x, ints("begin", begin), ints("size", size)], size, found)
        case "strided":
            steps = [1, *(int(rng.choice([1, 2, -1, -2])) for _ in shape[1:])]
            begin, end = [0 if s > 0 else side for s, side in zip(steps, shape, strict=True)], list(shape)
            end = [side if s > 0 else 0 for s, side in zip(steps, shape, strict=True)]
            size = [len(range(side)[::s]) for s, side in zip(steps, shape, strict=True)]
            operands = [x, ints("begin", begin), ints("end", end), ints("strides", steps)]
            return build.op("STRIDED_SLICE", operands, size, found, begin_mask=15, end_mask=15)
        case "mirror":
            low = [0, *(int(rng.integers(0, s)) for s in shape[1:])]
            whole = [s + 2 * n for s, n in zip(shape, low, strict=True)]
            return build.op("MIRROR_PAD", [x, ints("width", [[n, n] for n in low])], whole, found, mode="SYMMETRIC")
        case "gather":
            axis = int(rng.integers(1, 4))
            picked = rng.integers(0, shape[axis], 3)
            size = [3 if i == axis else s for i, s in enumerate(shape)]
            return build.op("GATHER", [x, ints("picked", picked)], size, found, axis=axis)
        case "pack":
            x = build.op("PACK", [x, x], (shape[0], shape[1], 2, *shape[2:]), found, axis=2, values_count=2)
            parts = build.op_many("UNPACK", [x], [((shape[0], 2, *shape[2:]), found)] * shape[1], axis=1, num=shape[1])
            return parts[-1]
        case "nearest":
            scale = [int(n) for n in rng.integers(1, 4, 2)]
            size = [shape[1] * scale[0], shape[2] * scale[1]]
            return build.op("RESIZE_NEAREST_NEIGHBOR", [x, ints("size", size)], (1, *size, shape[3]), found)
        case "depth" if shape[3] % 4 == 0:
            size = (1, shape[1] * 2, shape[2] * 2, shape[3] // 4)
            return build.op("DEPTH_TO_SPACE", [x], size, found, block_size=2)
        case "depth" if shape[1] % 2 == 0 and shape[2] % 2 == 0:
            size = (1, shape[1] // 2, shape[2] // 2, shape[3] * 4)
            return build.op("SPACE_TO_DEPTH", [x], size, found, block_size=2)
        case "pad":
            widths = [[0, 0], *rng.integers(0, 3, (3, 2)).tolist()]
            whole = [s + a + b for s, (a, b) in zip(shape, widths, strict=True)]
            return build.op("PAD", [x, ints("widths", widths)], whole, found)
    order = [0, *(1 + int(axis) for axis in rng.permutation(3))]
    return build.op("TRANSPOSE", [x, ints("order", order)], [shape[axis] for axis in order], found)


def resizes(rng: Rng, count: int) -> QuantizedGraph:
    """RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR between any sizes."""
    build = GraphBuilder()
    made = []
    for number in range(count):
        shape, found = shape_of(rng), any_quantization(rng)
        size = [int(side) for side in rng.integers(1, 12, 2)]
        operands = [build.input(f"x{number}", shape, found), build.constant(f"size{number}", np.array(size, np.int32))]
        operator = str(rng.choice(["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"]))
        align, half = [(False, False), (True, False), (False, True)][int(rng.integers(3))]
        options: dict[str, Any] = {"align_corners": align, "half_pixel_centers": half}
        made.append(build.op(operator, operands, (1, *size, shape[3]), found, **options))
    return build.build(made)


def matrices(rng: Rng, count: int) -> QuantizedGraph:
    """BATCH_MATMUL of two values and by a constant, TRANSPOSE_CONV, PRELU."""
    build = GraphBuilder()
    return build.build([_matrix(rng, build, number) for number in range(count)])


def _matrix(rng: Rng, build: GraphBuilder, number: int) -> int:
    shape, found = shape_of(rng), any_quantization(rng)
    weights = quantization(float(np.exp(rng.uniform(-6, -3))))
    x = build.input(f"x{number}", shape, found)
    if number % 3 == 0:
        adj_x, adj_y, depth, columns = (*(bool(n) for n in rng.integers(0, 2, 2)), shape[3], int(rng.integers(1, 6)))
        constant = bool(rng.integers(2))
        adj_x &= not constant
        depth, rows = (shape[2], shape[3]) if adj_x else (shape[3], shape[2])
        sides = (columns, depth) if adj_y else (depth, columns)
        if constant:
            y = build.constant(f"y{number}", rng.integers(-128, 128, sides).astype(np.int8), weights)
        else:
            y = build.input(f"y{number}", (1, int(rng.choice([1, shape[1]])), *sides), any_quantization(rng))
        other = weights if constant else build.quantization(y)
        assert other is not None
        output = like(found, float(other.scale[0]) * np.sqrt(depth) * 60, rng)
        return build.op("BATCH_MATMUL", [x, y], (*shape[:2], rows, columns), output, adj_x=adj_x, adj_y=adj_y)
    if number % 3 == 1:
        slopes = build.constant(
            f"slopes{number}", rng.integers(-128, 128, (1, 1, shape[3])).astype(np.int8), any_quantization(rng)
        )
        return build.op("PRELU", [x, slopes], shape, like(found, float(np.exp(rng.uniform(-1, 1))), rng))
    kernel, stride = [int(n) for n in rng.integers(1, 5, 2)], [int(n) for n in rng.integers(1, 4, 2)]
    channels = int(rng.integers(1, 6))
    filters = rng.integers(-127, 128, (channels, *kernel, shape[3])).astype(np.int8)
    per_channel = quantization(np.exp(rng.uniform(-6, -3, channels)), 0, 0)
    padding = str(rng.choice(["SAME", "VALID"]))
    size = [
        side * step if padding == "SAME" else side * step + max(reach - step, 0)
        for side, step, reach in zip(shape[1:3], stride, kernel, strict=True)
    ]
    operands = [
        build.constant(f"size{number}", np.array([1, *size, channels], np.int32)),
        build.constant(f"w{number}", filters, per_channel),
        x,
        build.constant(f"b{number}", rng.integers(-5000, 5000, channels).astype(np.int32)),
    ]
    output = like(found, float(np.sqrt(shape[3] * kernel[0] * kernel[1] / stride[0] / stride[1])), rng)
    return build.op(
        "TRANSPOSE_CONV",
        operands,
        (1, *size, channels),
        output,
        padding=padding,
        stride_h=stride[0],
        stride_w=stride[1],
    )
