"""Random networks of one integer operator each: shapes, strides, paddings, scales, zero points, extreme multipliers.

`random_case(number)` is a function of its number alone, so that a case that fails can be had again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Graph, Op, Ref, Storage, Tensor
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.conv import window_padding
from netwright.graph.integers.quantized import Quantization, QuantizedGraph

Rng = np.random.Generator
Made = tuple[GraphBuilder, list[int]]


@dataclass(frozen=True)
class Case:
    """A network of one operation, its name, and inputs for a run."""

    operator: str
    model: QuantizedGraph
    inputs: list[NDArray[Any]]


def random_case(number: int) -> Case:
    """Return the case of a number."""
    rng = np.random.default_rng([1701, number])
    operator = list(MAKERS)[number % len(MAKERS)]
    builder, outputs = MAKERS[operator](rng)
    model = builder.build(outputs)
    inputs = [
        _values(rng, model.graph.tensors[index].shape, model.graph.tensors[index].dtype) for index in builder.inputs
    ]
    return Case(operator, model, inputs)


def bundle(models: Sequence[QuantizedGraph]) -> QuantizedGraph:
    """Return several networks side by side as one, which is compiled once: inputs and outputs follow one another."""
    tensors: list[Tensor] = []
    storages: list[Storage] = []
    ops: list[Op] = []
    inputs: list[int] = []
    outputs: list[int] = []
    names: list[str] = []
    quantized: list[Quantization | None] = []
    values: dict[int, NDArray[Any]] = {}
    for number, model in enumerate(models):
        graph, start = model.graph, len(tensors)
        tensors += [replace(tensor, storage=tensor.storage + len(storages)) for tensor in graph.tensors]
        storages += graph.storages
        for op in graph.ops:
            operands = [None if ref is None else Ref(ref.tensor + start) for ref in op.arguments["inputs"]]
            read, made = (tuple(index + start for index in ends) for ends in (op.inputs, op.outputs))
            arguments = {**op.arguments, "inputs": operands}
            ops.append(replace(op, inputs=read, outputs=made, arguments=arguments, path=f"{op.path}_{number}"))
        inputs += [index + start for index in graph.inputs]
        outputs += [index + start for index in graph.outputs]
        names += [f"{name}_{number}" for name in model.names]
        quantized += model.quantization
        values |= {index + start: array for index, array in model.values.items()}
    graph = Graph(tuple(tensors), tuple(storages), tuple(ops), tuple(inputs), tuple(outputs), "bundle")
    return QuantizedGraph(graph, tuple(names), tuple(quantized), values)


def _values(rng: Rng, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Return stored values: anything, or only the ends, or one value."""
    if dtype == "float32":
        return rng.normal(0, 3, shape).astype(np.float32)
    kind = rng.integers(8)
    if kind == 0:
        return rng.choice(np.array([-128, 127], np.int8), shape)
    if kind == 1:
        return np.full(shape, rng.integers(-128, 128), np.int8)
    return rng.integers(-128, 128, shape).astype(np.int8)


def _scale(rng: Rng) -> np.float32:
    return np.float32(10.0 ** rng.uniform(-3, 0.3))


def _tensor(rng: Rng) -> Quantization:
    point = rng.choice([-128, 127, 0, int(rng.integers(-128, 128))])
    return quantization(_scale(rng), point)


def _shape(rng: Rng, most: int = 12, channels: int = 20) -> tuple[int, int, int, int]:
    return 1, int(rng.integers(1, most)), int(rng.integers(1, most)), int(rng.integers(1, channels))


def _activation(rng: Rng) -> str:
    return str(rng.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"], p=[0.4, 0.25, 0.25, 0.1]))


def _out_scale(rng: Rng, product: Any, terms: int) -> np.float32:
    """Return an output scale that sums of so many products fill, or at times a very small or very large one."""
    typical = float(np.max(product)) * 60 * np.sqrt(terms)
    if rng.random() < 0.15:
        return np.float32(typical * 10.0 ** rng.uniform(-7, 7))
    return np.float32(typical * 10.0 ** rng.uniform(-1, 1))


def _filters(rng: Rng, shape: tuple[int, ...], axis: int) -> tuple[NDArray[np.int8], Quantization]:
    weights = rng.integers(-127, 128, shape).astype(np.int8)
    if rng.random() < 0.15:
        weights = rng.choice(np.array([-127, 127], np.int8), shape)
    if rng.random() < 0.15:
        return weights, quantization(_scale(rng) / 10)
    scales = (_scale(rng) / 10 * 10.0 ** rng.uniform(-1, 0, shape[axis])).astype(np.float32)
    return weights, quantization(scales, 0, axis if shape[axis] > 1 else None)


def _bias(rng: Rng, builder: GraphBuilder, x: Quantization, w: Quantization, channels: int) -> list[int]:
    if rng.random() < 0.15:
        return []
    reach = 1 << int(rng.choice([8, 12, 16, 24], p=[0.4, 0.3, 0.2, 0.1]))
    values = rng.integers(-reach, reach, channels).astype(np.int32)
    scales = (x.scale.astype(np.float64) * w.scale).astype(np.float32)
    return [builder.constant("bias", values, quantization(scales, 0, 0 if len(scales) > 1 else None))]


def _conv(rng: Rng, *, depthwise: bool) -> Made:
    padding = str(rng.choice(["SAME", "VALID"]))
    kernel = int(rng.choice([1, 2, 3, 5, 7])), int(rng.choice([1, 2, 3, 5, 7]))
    if rng.random() < 0.3:
        kernel = (1, 1)
    stride = (
        (int(rng.integers(1, 4)),) * 2 if rng.random() < 0.8 else (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    )
    dilation = (1, 1) if rng.random() < 0.8 or stride != (1, 1) else (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    wide = rng.random() < 0.12  # more channels than kernels hold at a time
    _, height, width, channels = _shape(rng, 5, 200) if wide else _shape(rng)
    if padding == "VALID":
        height, width = height + reach[0] - 1, width + reach[1] - 1
    sides = [
        window_padding(side, k, s, d, padding)[2]
        for side, k, s, d in zip((height, width), kernel, stride, dilation, strict=True)
    ]
    builder, x = GraphBuilder(), _tensor(rng)
    at = builder.input("x", (1, height, width, channels), x)
    multiplier = int(rng.choice([1, 1, 1, 2, 3, 8])) if depthwise else 1
    outputs = channels * multiplier if depthwise else int(rng.integers(1, 150 if wide else 24))
    terms = kernel[0] * kernel[1] * (1 if depthwise else channels)
    shape = (1, *kernel, outputs) if depthwise else (outputs, *kernel, channels)
    filters, w = _filters(rng, shape, 3 if depthwise else 0)
    y = quantization(_out_scale(rng, x.scale * w.scale, terms), int(rng.integers(-128, 128)))
    options: dict[str, Any] = {"depth_multiplier": multiplier} if depthwise else {}
    weights = builder.constant("weights", filters, w)
    out = builder.op(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        [at, weights, *_bias(rng, builder, x, w, outputs)],
        (1, *sides, outputs),
        y,
        padding=padding,
        stride_h=stride[0],
        stride_w=stride[1],
        dilation_h_factor=dilation[0],
        dilation_w_factor=dilation[1],
        fused_activation_function=_activation(rng),
        **options,
    )
    return builder, [out]


def _transpose_conv(rng: Rng) -> Made:
    padding = str(rng.choice(["SAME", "VALID"]))
    kernel, stride = rng.integers(1, 5, 2), int(rng.integers(1, 4))
    _, height, width, channels = _shape(rng, 7, 12)
    outputs = int(rng.integers(1, 12))
    builder, x = GraphBuilder(), _tensor(rng)
    sides = [
        side * stride if padding == "SAME" else (side - 1) * stride + int(k)
        for side, k in zip((height, width), kernel, strict=True)
    ]
    filters, w = _filters(rng, (outputs, int(kernel[0]), int(kernel[1]), channels), 0)
    y = quantization(_out_scale(rng, x.scale * w.scale, channels * 4), int(rng.integers(-128, 128)))
    shape = (1, *sides, outputs)
    at = builder.input("x", (1, height, width, channels), x)
    wanted, weights = builder.constant("shape", np.array(shape, np.int32)), builder.constant("weights", filters, w)
    operands = [wanted, weights, at, *_bias(rng, builder, x, w, outputs)]
    out = builder.op("TRANSPOSE_CONV", operands, shape, y, padding=padding, stride_h=stride, stride_w=stride)
    return builder, [out]


def _dense(rng: Rng) -> Made:
    depth, outputs = (int(side) for side in rng.integers(1, (200, 40) if rng.random() < 0.9 else (1500, 200)))
    rows = int(rng.integers(1, 5))
    builder, x = GraphBuilder(), _tensor(rng)
    filters, w = _filters(rng, (outputs, depth), 0)
    y = quantization(_out_scale(rng, x.scale * w.scale, depth), int(rng.integers(-128, 128)))
    kept = rows > 1
    at = builder.input("x", (1, rows, depth) if kept else (1, depth), x)
    operands = [at, builder.constant("weights", filters, w), *_bias(rng, builder, x, w, outputs)]
    options: dict[str, Any] = {"keep_num_dims": kept, "fused_activation_function": _activation(rng)}
    shape = (1, rows, outputs) if kept else (1, outputs)
    return builder, [builder.op("FULLY_CONNECTED", operands, shape, y, **options)]


def _batch_matmul(rng: Rng) -> Made:
    rows, depth, columns, batch = (int(side) for side in rng.integers(1, 12, 4))
    flip_a, flip_b = bool(rng.integers(2)), bool(rng.integers(2))
    builder, x, w = GraphBuilder(), _tensor(rng), _tensor(rng)
    a = builder.input("a", (1, batch, depth, rows) if flip_a else (1, batch, rows, depth), x)
    b = builder.input("b", (1, batch, columns, depth) if flip_b else (1, batch, depth, columns), w)
    y = quantization(_out_scale(rng, x.scale * w.scale, depth), int(rng.integers(-128, 128)))
    return builder, [builder.op("BATCH_MATMUL", [a, b], (1, batch, rows, columns), y, adj_x=flip_a, adj_y=flip_b)]


def _elementwise(rng: Rng, operator: str) -> Made:
    shape = _shape(rng)
    second = shape if rng.random() < 0.6 else tuple(side if rng.random() < 0.5 else 1 for side in shape)
    builder, x, w = GraphBuilder(), _tensor(rng), _tensor(rng)
    if rng.random() < 0.5:
        w = quantization(x.scale * np.float32(rng.uniform(0.3, 3)), w.zero_point)
    if operator == "MUL":
        y = quantization(_out_scale(rng, x.scale * w.scale, 1), int(rng.integers(-128, 128)))
    else:
        y = quantization(
            max(x.scale[0], w.scale[0]) * np.float32(10.0 ** rng.uniform(-1, 1)), int(rng.integers(-128, 128))
        )
    if rng.random() < 0.1:
        y = quantization(y.scale * np.float32(10.0 ** rng.uniform(-3, 3)), y.zero_point)
    options: dict[str, Any] = {"fused_activation_function": _activation(rng)}
    a = builder.input("a", shape, x)
    b = builder.input("b", second, w) if rng.random() < 0.6 else builder.constant("b", _values(rng, second, "int8"), w)
    return builder, [builder.op(operator, [a, b], shape, y, **options)]


def _pool(rng: Rng, operator: str) -> Made:
    padding = str(rng.choice(["SAME", "VALID"]))
    kernel, stride = rng.integers(1, 6, 2), rng.integers(1, 4, 2)
    _, height, width, channels = _shape(rng)
    if padding == "VALID":
        height, width = height + int(kernel[0]) - 1, width + int(kernel[1]) - 1
    sides = [
        window_padding(side, int(k), int(s), 1, padding)[2]
        for side, k, s in zip((height, width), kernel, stride, strict=True)
    ]
    builder, x = GraphBuilder(), _tensor(rng)
    at = builder.input("x", (1, height, width, channels), x)
    options: dict[str, Any] = {"filter_height": int(kernel[0]), "filter_width": int(kernel[1])}
    options |= {"stride_h": int(stride[0]), "stride_w": int(stride[1])}
    activation = _activation(rng)
    shape = (1, *sides, channels)
    return builder, [
        builder.op(operator, [at], shape, x, padding=padding, fused_activation_function=activation, **options)
    ]


def _mean(rng: Rng) -> Made:
    shape = _shape(rng)
    kept = bool(rng.integers(2))
    axes = sorted(rng.choice([1, 2, 3], int(rng.integers(1, 4)), replace=False).tolist())
    if rng.random() < 0.5:
        axes = [1, 2]
    left = tuple(1 if place in axes else side for place, side in enumerate(shape))
    if not kept:
        left = tuple(side for place, side in enumerate(shape) if place not in axes)
    builder, x = GraphBuilder(), _tensor(rng)
    y = (
        x
        if rng.random() < 0.3
        else quantization(x.scale * np.float32(10.0 ** rng.uniform(-1, 1)), rng.integers(-128, 128))
    )
    at, which = builder.input("x", shape, x), builder.constant("axes", np.array(axes, np.int32))
    return builder, [builder.op("MEAN", [at, which], left, y, keep_dims=kept)]


def _unary(rng: Rng, operator: str) -> Made:
    shape = _shape(rng)
    builder, x = GraphBuilder(), _tensor(rng)
    if rng.random() < 0.1:
        x = quantization(x.scale * np.float32(10.0 ** rng.uniform(-5, 3)), x.zero_point)
    apart = 0.5 if rng.random() < 0.9 else 5
    y = quantization(x.scale * np.float32(10.0 ** rng.uniform(-apart, apart)), int(rng.integers(-128, 128)))
    options: dict[str, Any] = {}
    operands = [builder.input("x", shape, x)]
    if operator in ("LOGISTIC", "SOFTMAX"):
        y = quantization(1 / 256, -128)
    elif operator == "TANH":
        y = quantization(1 / 128, 0)
    if operator == "SOFTMAX":
        shape = (1, int(rng.integers(1, 60)))
        builder = GraphBuilder()
        operands = [builder.input("x", shape, x)]
        options["beta"] = float(rng.choice([1.0, 1.0, 0.5, 2.0]))
    if operator == "LEAKY_RELU":
        options["alpha"] = float(np.float32(rng.choice([0.01, 0.1, 0.3, 1.7])))
    if operator == "PRELU":
        slopes = rng.integers(-128, 128, (1, 1, shape[-1])).astype(np.int8)
        operands.append(builder.constant("alpha", slopes, quantization(_scale(rng) / 10, int(rng.integers(-20, 20)))))
    return builder, [builder.op(operator, operands, shape, y, **options)]


def _resize(rng: Rng, operator: str) -> Made:
    _, height, width, channels = _shape(rng)
    new = int(rng.integers(1, 25)), int(rng.integers(1, 25))
    mode = int(rng.integers(3))
    builder, x = GraphBuilder(), _tensor(rng)
    at, size = builder.input("x", (1, height, width, channels), x), builder.constant("size", np.array(new, np.int32))
    options: dict[str, Any] = {"align_corners": mode == 1, "half_pixel_centers": mode == 2}
    return builder, [builder.op(operator, [at, size], (1, *new, channels), x, **options)]


def _pad(rng: Rng) -> Made:
    shape = _shape(rng)
    widths = rng.integers(0, 4, (4, 2)).astype(np.int32)
    widths[0] = 0
    builder, x = GraphBuilder(), _tensor(rng)
    operands = [builder.input("x", shape, x), builder.constant("widths", widths)]
    operator = str(rng.choice(["PAD", "PADV2"]))
    if operator == "PADV2":
        operands.append(builder.constant("value", np.array([rng.integers(-128, 128)], np.int8), x))
    after = tuple(int(side + width.sum()) for side, width in zip(shape, widths, strict=True))
    return builder, [builder.op(operator, operands, after, x)]


def _transpose(rng: Rng) -> Made:
    shape = _shape(rng)
    order = rng.permutation(4).astype(np.int32)
    builder, x = GraphBuilder(), _tensor(rng)
    operands = [builder.input("x", shape, x), builder.constant("order", order)]
    return builder, [builder.op("TRANSPOSE", operands, tuple(shape[place] for place in order), x)]


def _concatenate(rng: Rng) -> Made:
    shape, axis = list(_shape(rng)), int(rng.integers(1, 4))
    builder, x = GraphBuilder(), _tensor(rng)
    sides = rng.integers(1, 8, int(rng.integers(1, 5))).tolist()
    parts = [builder.input(f"x{n}", (*shape[:axis], side, *shape[axis + 1 :]), x) for n, side in enumerate(sides)]
    return builder, [builder.op("CONCATENATION", parts, (*shape[:axis], sum(sides), *shape[axis + 1 :]), x, axis=axis)]


def _split(rng: Rng) -> Made:
    shape, axis = list(_shape(rng, 5, 5)), int(rng.integers(1, 4))
    builder, x = GraphBuilder(), _tensor(rng)
    if rng.random() < 0.5:
        parts = int(rng.integers(1, 5))
        whole = builder.input("x", (*shape[:axis], shape[axis] * parts, *shape[axis + 1 :]), x)
        operands = [builder.constant("axis", np.array(axis, np.int32)), whole]
        made = builder.op_many("SPLIT", operands, [(tuple(shape), x)] * parts, num_splits=parts)
        return builder, list(made)
    sides = rng.integers(1, 6, int(rng.integers(1, 5))).astype(np.int32)
    whole = builder.input("x", (*shape[:axis], int(sides.sum()), *shape[axis + 1 :]), x)
    operands = [whole, builder.constant("sizes", sides), builder.constant("axis", np.array(axis, np.int32))]
    pieces = [((*shape[:axis], int(side), *shape[axis + 1 :]), x) for side in sides]
    return builder, list(builder.op_many("SPLIT_V", operands, pieces, num_splits=len(sides)))


def _slice(rng: Rng) -> Made:
    shape = _shape(rng)
    builder, x = GraphBuilder(), _tensor(rng)
    begins = np.array([rng.integers(0, side) for side in shape], np.int32)
    at = builder.input("x", shape, x)
    if rng.random() < 0.5:
        sizes = np.array(
            [rng.integers(1, side - begin + 1) for side, begin in zip(shape, begins, strict=True)], np.int32
        )
        operands = [at, builder.constant("begin", begins), builder.constant("size", sizes)]
        return builder, [builder.op("SLICE", operands, tuple(sizes.tolist()), x)]
    ends = np.array([rng.integers(begin + 1, side + 1) for side, begin in zip(shape, begins, strict=True)], np.int32)
    steps = rng.integers(1, 4, 4).astype(np.int32)
    lengths = tuple(len(range(*part)) for part in zip(begins.tolist(), ends.tolist(), steps.tolist(), strict=True))
    operands = [at, *(builder.constant(name, part) for name, part in zip("bes", (begins, ends, steps), strict=True))]
    return builder, [builder.op("STRIDED_SLICE", operands, lengths, x)]


def _gather(rng: Rng) -> Made:
    shape, axis = _shape(rng, 6, 6), int(rng.integers(1, 4))
    builder, x = GraphBuilder(), _tensor(rng)
    picked = rng.integers(0, shape[axis], int(rng.integers(1, 6))).astype(np.int32)
    after = tuple(len(picked) if place == axis else side for place, side in enumerate(shape))
    operands = [builder.input("x", shape, x), builder.constant("picked", picked)]
    axis -= 4 * int(rng.integers(2))
    return builder, [builder.op("GATHER", operands, after, x, axis=axis)]


def _tile(rng: Rng) -> Made:
    shape = _shape(rng, 6, 6)
    builder, x = GraphBuilder(), _tensor(rng)
    times = np.array([1, *rng.integers(1, 4, 3)], np.int32)
    operands = [builder.input("x", shape, x), builder.constant("times", times)]
    return builder, [builder.op("TILE", operands, tuple((shape * times).tolist()), x)]


def _broadcast(rng: Rng) -> Made:
    after = _shape(rng, 6, 6)
    shape = tuple(side if rng.random() < 0.5 else 1 for side in after)
    builder, x = GraphBuilder(), _tensor(rng)
    operands = [builder.input("x", shape, x), builder.constant("shape", np.array(after, np.int32))]
    return builder, [builder.op("BROADCAST_TO", operands, after, x)]


def _reverse(rng: Rng) -> Made:
    shape = _shape(rng)
    builder, x = GraphBuilder(), _tensor(rng)
    axes = rng.choice([1, 2, 3], int(rng.integers(1, 4)), replace=False).astype(np.int32)
    operands = [builder.input("x", shape, x), builder.constant("axes", axes)]
    return builder, [builder.op("REVERSE_V2", operands, shape, x)]


def _blocks(rng: Rng) -> Made:
    """SPACE_TO_BATCH_ND, at times a depthwise convolution of the blocks, BATCH_TO_SPACE_ND."""
    _, height, width, channels = shape = _shape(rng, 9, 9)
    builder, x = GraphBuilder(), _tensor(rng)
    block = rng.integers(1, 4, 2)
    low = rng.integers(0, 4, 2)
    sides = [
        -(-(side + int(extra)) // int(step)) for side, extra, step in zip((height, width), low, block, strict=True)
    ]
    high = [
        int(n * step - side - extra) for n, step, side, extra in zip(sides, block, (height, width), low, strict=True)
    ]
    numbers = builder.constant("block", block.astype(np.int32))
    widths = builder.constant("widths", np.stack([low, high], axis=1).astype(np.int32))
    images, y = int(block.prod()), x
    at = builder.op("SPACE_TO_BATCH_ND", [builder.input("x", shape, x), numbers, widths], (images, *sides, channels), x)
    if rng.random() < 0.8:
        kernel = [int(rng.integers(1, min(side, 3) + 1)) for side in sides]
        filters, w = _filters(rng, (1, *kernel, channels), 3)
        y = quantization(_out_scale(rng, x.scale * w.scale, 9), int(rng.integers(-128, 128)))
        padding = str(rng.choice(["SAME", "VALID"]))
        if padding == "VALID":
            sides = [side - reach + 1 for side, reach in zip(sides, kernel, strict=True)]
        operands = [at, builder.constant("weights", filters, w), *_bias(rng, builder, x, w, channels)]
        options: dict[str, Any] = {"padding": padding, "stride_h": 1, "stride_w": 1, "depth_multiplier": 1}
        at = builder.op("DEPTHWISE_CONV_2D", operands, (images, *sides, channels), y, **options)
    whole = [side * int(step) for side, step in zip(sides, block, strict=True)]
    crops = np.array([[int(rng.integers(0, side)), 0] for side in whole], np.int32)
    after = (1, *(side - int(cut[0]) for side, cut in zip(whole, crops, strict=True)), channels)
    return builder, [builder.op("BATCH_TO_SPACE_ND", [at, numbers, builder.constant("crops", crops)], after, y)]


def _reshape(rng: Rng) -> Made:
    shape = _shape(rng)
    builder, x = GraphBuilder(), _tensor(rng)
    after = (1, shape[3], shape[1] * shape[2])
    operands = [builder.input("x", shape, x), builder.constant("shape", np.array(after, np.int32))]
    return builder, [builder.op("RESHAPE", operands, after, x, new_shape=after)]


def _quantize(rng: Rng) -> Made:
    shape = _shape(rng)
    builder, x = GraphBuilder(), _tensor(rng)
    if rng.random() < 0.4:
        return builder, [builder.op("QUANTIZE", [builder.input("x", shape, None, "float32")], shape, x)]
    if rng.random() < 0.3:
        return builder, [builder.op("DEQUANTIZE", [builder.input("x", shape, x)], shape, None, dtype="float32")]
    y = quantization(x.scale * np.float32(10.0 ** rng.uniform(-2, 2)), int(rng.integers(-128, 128)))
    return builder, [builder.op("QUANTIZE", [builder.input("x", shape, x)], shape, y)]


def _named(make: Callable[[Rng, str], Made], operator: str) -> Callable[[Rng], Made]:
    return lambda rng: make(rng, operator)


MAKERS: dict[str, Callable[[Rng], Made]] = {
    "CONV_2D": lambda rng: _conv(rng, depthwise=False),
    "DEPTHWISE_CONV_2D": lambda rng: _conv(rng, depthwise=True),
    "FULLY_CONNECTED": _dense,
    "TRANSPOSE_CONV": _transpose_conv,
    "BATCH_MATMUL": _batch_matmul,
    "MEAN": _mean,
    "PAD": _pad,
    "TRANSPOSE": _transpose,
    "CONCATENATION": _concatenate,
    "SPLIT": _split,
    "SLICE": _slice,
    "RESHAPE": _reshape,
    "GATHER": _gather,
    "TILE": _tile,
    "BROADCAST_TO": _broadcast,
    "REVERSE_V2": _reverse,
    "SPACE_TO_BATCH_ND": _blocks,
    "QUANTIZE": _quantize,
    **{name: _named(_elementwise, name) for name in ("ADD", "SUB", "MUL")},
    **{name: _named(_pool, name) for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D")},
    **{
        name: _named(_unary, name)
        for name in (
            ["SOFTMAX", "LOGISTIC", "TANH", "HARD_SWISH", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "PRELU"]
        )
    },
    **{name: _named(_resize, name) for name in ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR")},
}
