"""Transposed convolutions and products of two activations as layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netwright.graph.graph import Op
from netwright.graph.integers.conv import product_multiplier, window_padding
from netwright.mcu.lower.conv import requantization, weights_of
from netwright.mcu.lower.lowering import Lowering
from netwright.mcu.network import BatchMatmul, Conv, Requantize, TransposeConv, Window


def transpose_conv(work: Lowering, op: Op) -> None:
    """TRANSPOSE_CONV, whose operands are output shape, weights, input and bias."""
    tensors = [*work.operands(op), None, None][:4]
    weights = weights_of(work, op, tensors[1], 4)
    source = work.value(op, tensors[2])
    given, made = work.values[source].shape, work.shape(op.outputs[0])
    size = tuple(work.integers(op, tensors[0], "output shape"))
    if len(given) != 3 or size != work.model.graph.tensors[op.outputs[0]].shape or len(size) != 4 or size[0] != 1:
        raise work.refuse(op, f"it makes {size} of {given}", "One image as (1, height, width, channels) is compiled.")
    if weights.shape[3] != given[2] or weights.shape[0] != made[2]:
        raise work.refuse(
            op, f"weights of shape {weights.shape} do not make {made} of {given}", "Convert the model again."
        )
    stride = op.arguments["stride_h"], op.arguments["stride_w"]
    if not 1 <= min(stride) <= max(stride) <= 1 << 15 or 0 in (*given, *made):
        raise work.refuse(op, f"its stride is {stride} on {given}", "Strides are at least 1.")
    kernel = weights.shape[1], weights.shape[2]
    before = [
        window_padding(side, reach, step, 1, op.arguments["padding"])[0]
        for side, reach, step in zip(made, kernel, stride, strict=False)
    ]
    _, zero_point = work.quantization(op, tensors[2])  # pyright: ignore[reportArgumentType]
    rows = weights.reshape(len(weights), -1)
    folded = requantization(work, op, rows, tensors[3], read=2)
    plain = folded.bias.astype(np.int64) + zero_point * rows.astype(np.int64).sum(axis=1)
    requantize = replace(folded, bias=plain.astype(np.int32))
    output = work.make(op, op.outputs[0])
    window = Window(kernel, stride, (before[0], 0, before[1], 0))
    work.layers.append(TransposeConv((source,), output, op.path, window, weights, zero_point, requantize))


def batch_matmul(work: Lowering, op: Op) -> None:
    """BATCH_MATMUL; a constant second matrix makes it a pointwise convolution, whose rounding is the same."""
    tensors = work.operands(op)
    if (
        len(tensors) != 2
        or None in tensors
        or op.arguments["adj_x"] not in (0, 1)
        or op.arguments["adj_y"] not in (0, 1)
    ):
        raise work.refuse(op, "it has no two operands", "Convert the model again.")
    first, second = (tensor for tensor in tensors if tensor is not None)
    zero_points = tuple(work.quantization(op, tensor)[1] for tensor in (first, second, op.outputs[0]))
    mantissa, shift = product_multiplier(work.call(op))
    source = work.value(op, first)
    if work.constant(second) is not None:
        _constant_matmul(work, op, source, second)
        return
    other = work.value(op, second)
    turned = bool(op.arguments["adj_x"]), bool(op.arguments["adj_y"])
    shapes = [work.values[value].shape for value in (source, other)]
    wanted = work.shape(op.outputs[0])
    sides = [
        (*shape[:-2], *(shape[-2:][::-1] if turn else shape[-2:])) for shape, turn in zip(shapes, turned, strict=True)
    ]
    try:
        leading = np.broadcast_shapes(sides[0][:-2], sides[1][:-2])
    except ValueError:
        leading = (-1,)
    fits = min(len(side) for side in sides) >= 2 and sides[0][-1] == sides[1][-2]
    if not fits or wanted != (*leading, sides[0][-2], sides[1][-1]) or len(wanted) > 4 or 0 in wanted:
        raise work.refuse(op, f"{shapes[0]} times {shapes[1]} does not make {wanted}", "Convert the model again.")
    if sides[0][-1] > 1 << 15 or shift > 14:
        raise work.refuse(op, "its sums may leave 32 bits", "At most 32,768 products are added.")
    output = work.make(op, op.outputs[0])
    work.layers.append(
        BatchMatmul(
            (source, other), output, op.path, turned, (zero_points[0], zero_points[1], zero_points[2]), mantissa, shift
        )
    )


def _constant_matmul(work: Lowering, op: Op, source: int, second: int) -> None:
    """Rows of the first matrix are pixels, columns of the second one filters."""
    matrix = weights_of(work, op, second, len(work.model.graph.tensors[second].shape))
    given = work.values[source]
    if matrix.size != int(np.prod(matrix.shape[-2:])) or op.arguments["adj_x"]:
        raise work.refuse(
            op, "one operand is a constant of several matrices, or the other is turned", "One matrix is compiled."
        )
    filters = np.ascontiguousarray(
        matrix.reshape(matrix.shape[-2:]) if op.arguments["adj_y"] else matrix.reshape(matrix.shape[-2:]).T
    )
    outputs, depth = filters.shape
    rows = given.bytes // depth
    if given.shape[-1] != depth or rows * outputs != work.model.graph.tensors[op.outputs[0]].elements:
        raise work.refuse(
            op, f"{given.shape} times {matrix.shape} does not make its output", "Convert the model again."
        )
    pixels = work.new((1, rows, depth), f"{given.name} as pixels", given.scale, given.zero_point, alias=source)
    folded = requantization(work, op, filters, None)
    mantissa, shift = product_multiplier(work.call(op))
    requantize = Requantize(
        folded.bias, np.full(outputs, mantissa, np.int32), np.full(outputs, shift, np.int32),
        folded.zero_point, -128, 127,
    )  # fmt: skip
    scale, zero_point = work.quantization(op, op.outputs[0])
    made = work.new((1, rows, outputs), f"{op.path} as pixels", scale, zero_point)
    window = Window((1, 1), (1, 1), (0, 0, 0, 0))
    kernel = filters.reshape(outputs, 1, 1, depth)
    work.layers.append(Conv((pixels,), made, op.path, window, kernel, given.zero_point, requantize))
    work.make(op, op.outputs[0], alias=made)
