"""Convolutions and matrix products as layers: multipliers per channel, zero points in the bias, padding taken in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.conv import conv_multipliers, dense_multipliers, window_padding
from netwright.graph.integers.fixed import HIGHEST, multipliers_once, quantize_multipliers
from netwright.mcu.lower import copies
from netwright.mcu.lower.lowering import Lowering
from netwright.mcu.network import Conv, Dense, Depthwise, Requantize, Window

LARGEST_ACCUMULATOR = (1 << 31) - 1


def conv(work: Lowering, op: Op) -> None:
    """CONV_2D; grouped ones become depthwise ones, or one convolution a group between copies."""
    tensors = work.operands(op)
    source, window = _window(work, op, tensors[0], op.outputs[0])
    weights = weights_of(work, op, tensors[1], 4)
    shape, made = work.values[source].shape, work.shape(op.outputs[0])
    channels, outputs, per_group = shape[2], len(weights), weights.shape[3]
    if per_group == 0 or channels % per_group or outputs % (groups := channels // per_group) or outputs != made[2]:
        raise work.refuse(
            op,
            f"weights of shape {weights.shape} do not fit {channels} channels to {made[2]}",
            "Convert the model again.",
        )
    requantize = requantization(work, op, weights.reshape(outputs, -1), bias_of(work, op))
    _, zero_point = work.quantization(op, tensors[0])  # pyright: ignore[reportArgumentType]
    if groups == 1:
        output = work.make(op, op.outputs[0])
        work.layers.append(Conv((source,), output, op.path, window, weights, zero_point, requantize))
    elif per_group == 1:
        output = work.make(op, op.outputs[0])
        filters = np.ascontiguousarray(weights[..., 0].transpose(1, 2, 0))
        work.layers.append(Depthwise((source,), output, op.path, window, filters, zero_point, requantize))
    else:
        _grouped(work, op, source, window, weights, zero_point, requantize)


def depthwise(work: Lowering, op: Op) -> None:
    """DEPTHWISE_CONV_2D; of a single channel it is a convolution."""
    tensors = work.operands(op)
    source, window = _window(work, op, tensors[0], op.outputs[0])
    weights = weights_of(work, op, tensors[1], 4)
    channels, outputs = work.values[source].shape[2], weights.shape[3]
    if weights.shape[0] != 1 or channels == 0 or outputs % channels or outputs != work.shape(op.outputs[0])[2]:
        raise work.refuse(
            op, f"weights of shape {weights.shape} do not fit {channels} channels", "Convert the model again."
        )
    requantize = requantization(work, op, weights[0].reshape(-1, outputs).T, bias_of(work, op))
    _, zero_point = work.quantization(op, tensors[0])  # pyright: ignore[reportArgumentType]
    output = work.make(op, op.outputs[0])
    if channels == 1:
        filters = np.ascontiguousarray(weights[0].transpose(2, 0, 1)[..., None])
        work.layers.append(Conv((source,), output, op.path, window, filters, zero_point, requantize))
    else:
        work.layers.append(Depthwise((source,), output, op.path, window, weights[0], zero_point, requantize))


def fully_connected(work: Lowering, op: Op) -> None:
    """FULLY_CONNECTED, on as many rows as its input holds."""
    tensors = work.operands(op)
    weights = weights_of(work, op, tensors[1], 2)
    outputs, depth = weights.shape
    source = work.value(op, tensors[0])
    given = work.values[source]
    rows = given.bytes // depth if depth else 0
    if rows * depth != given.bytes or rows * outputs != work.model.graph.tensors[op.outputs[0]].elements or not rows:
        raise work.refuse(
            op,
            f"weights of shape {weights.shape} do not fit an input of shape {given.shape}",
            "Convert the model again.",
        )
    if given.shape[-1:] != (depth,):
        name = f"{given.name} flattened"
        source = work.new((depth,) if rows == 1 else (rows, depth), name, given.scale, given.zero_point, alias=source)
    requantize = requantization(work, op, weights, bias_of(work, op))
    _, zero_point = work.quantization(op, tensors[0])  # pyright: ignore[reportArgumentType]
    output = work.make(op, op.outputs[0])
    work.layers.append(Dense((source,), output, op.path, weights, zero_point, requantize))


def _window(work: Lowering, op: Op, given: int | None, made: int) -> tuple[int, Window]:
    """Return the value that a convolution reads and its window, padding that lies before it included."""
    waiting = work.padded(given) if given is not None else None
    _, zero_point = work.quantization(op, given) if given is not None else (0, 0)
    if waiting and waiting.fill == zero_point and not waiting.before[2] and not waiting.after[2]:
        source, before, after = waiting.source, waiting.before[:2], waiting.after[:2]
    else:
        source, before, after = work.value(op, given), (0, 0), (0, 0)
    shape, wanted = work.values[source].shape, work.model.graph.tensors[made].shape
    if len(shape) != 3 or len(wanted) != 4 or wanted[0] != 1:
        raise work.refuse(
            op, f"it reads {shape} and makes {wanted}", "One image as (1, height, width, channels) is compiled."
        )
    weights = weights_of(work, op, work.operands(op)[1] if len(work.operands(op)) > 1 else None, 4)
    kernel = weights.shape[1], weights.shape[2]
    stride = op.arguments["stride_h"], op.arguments["stride_w"]
    dilation = op.arguments["dilation_h_factor"], op.arguments["dilation_w_factor"]
    return source, window(work, op, shape, (before, after), (kernel, stride, dilation), wanted)


def window(
    work: Lowering,
    op: Op,
    shape: tuple[int, ...],
    extra: tuple[tuple[int, ...], tuple[int, ...]],
    sides: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    wanted: tuple[int, ...],
) -> Window:
    """Return how a kernel slides over an image with `extra` padding before and after; `sides`: kernel, stride, dilation.

    The padding behind is what is read of it, no more.

    Raises:
        NetwrightError: impossible sides, or a result of another shape than `wanted`.
    """
    kernel, stride, dilation = sides
    if min(*kernel, *stride, *dilation, *shape) < 1 or max(*kernel, *stride, *dilation) > 1 << 15:
        raise work.refuse(
            op, f"kernel {kernel}, stride {stride}, dilation {dilation} on {shape}", "All are at least 1."
        )
    padding = []
    for axis in (0, 1):
        full = shape[axis] + extra[0][axis] + extra[1][axis]
        before, _, outputs = window_padding(full, kernel[axis], stride[axis], dilation[axis], op.arguments["padding"])
        if outputs < 1 or outputs != wanted[axis + 1]:
            raise work.refuse(
                op, f"it makes {outputs} along axis {axis}, the model says {wanted[axis + 1]}", "Convert it again."
            )
        first = before + extra[0][axis]
        read = (outputs - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        padding += [first, max(0, read - first - shape[axis])]
    top, bottom, left, right = padding
    return Window(kernel, stride, (top, bottom, left, right), dilation)


def weights_of(work: Lowering, op: Op, tensor: int | None, rank: int) -> NDArray[np.int8]:
    """Return constant int8 weights of so many dimensions, whose zero points are 0."""
    values = work.constant(tensor)
    if tensor is None or values is None or values.dtype != np.int8 or values.ndim != rank or values.size == 0:
        what = (
            "missing" if tensor is None else f"{work.dtype(tensor)} of shape {work.model.graph.tensors[tensor].shape}"
        )
        raise work.refuse(op, f"its weights are {what}", f"Constant int8 weights of {rank} dimensions are compiled.")
    found = work.model.quantization[tensor]
    if found is None or not (found.scale > 0).all():
        raise work.refuse(op, "its weights have no positive scales", "Quantize the model fully.")
    if found.zero_point.any():
        raise work.refuse(op, "its weights have zero points other than 0", "Quantize the weights symmetrically.")
    return values


def requantization(work: Lowering, op: Op, rows: NDArray[np.int8], bias: int | None, read: int = 0) -> Requantize:
    """Return how sums of products with `rows` (outputs, products) become int8 (PopulateConvolutionQuantizationParams).

    `bias`: its tensor; `read`: place of the operand that is read.
    """
    tensors = work.operands(op)
    _, zero_point = work.quantization(op, tensors[read])  # pyright: ignore[reportArgumentType]
    _, output_zero_point = work.quantization(op, op.outputs[0])
    call = work.call(op)
    wide = rows.astype(np.int64)
    folded = _bias(work, op, bias, len(rows)) - zero_point * wide.sum(axis=1)
    # Kernels add stored values, or those without zero point, times weights to the bias in any order: no partial sum may
    # leave 32 bits.
    reach = np.abs(folded) + 256 * np.abs(wide).sum(axis=1)
    if reach.max() > LARGEST_ACCUMULATOR:
        raise work.refuse(
            op, f"its sums may reach {int(reach.max()):,}, beyond 32 bits", "Quantize with smaller biases."
        )
    reals = None
    if op.kind == "tflite.FULLY_CONNECTED":
        scales = dense_multipliers(call, len(rows))
        farthest = np.abs(folded) + 128 * np.abs(wide).sum(axis=1)
        if np.any(scales * farthest >= HIGHEST):
            raise work.refuse(op, "its results may leave 32 bits", "Quantize it with other scales.")
        multipliers = multipliers_once(scales, farthest)
        if multipliers is None:
            reals, multipliers = scales, quantize_multipliers(scales)
    else:
        multipliers = conv_multipliers(call, 1, len(rows), read)
    multiplier, shift = multipliers
    low, high = work.clamp(op, op.outputs[0])
    return Requantize(folded.astype(np.int32), multiplier, shift, output_zero_point, low, high, reals)


def bias_of(work: Lowering, op: Op) -> int | None:
    """Return the tensor of the bias, None where it is left out."""
    tensors = work.operands(op)
    return tensors[2] if len(tensors) > 2 else None


def _bias(work: Lowering, op: Op, tensor: int | None, outputs: int) -> NDArray[np.int64]:
    if tensor is None:
        return np.zeros(outputs, np.int64)
    values = work.constant(tensor)
    if values is None or values.dtype != np.int32 or values.size != outputs:
        raise work.refuse(
            op, f"its bias is no int32 constant of {outputs} numbers", "Quantize the model with int32 biases."
        )
    return values.reshape(-1).astype(np.int64)


def _grouped(
    work: Lowering,
    op: Op,
    source: int,
    window: Window,
    weights: NDArray[Any],
    zero_point: int,
    requantize: Requantize,
) -> None:
    """Lay the channels of each group together, convolve them apart, and join the results."""
    given, made = work.values[source], work.shape(op.outputs[0])
    scale, _ = work.quantization(op, op.outputs[0])
    per_group, groups = weights.shape[3], given.shape[2] // weights.shape[3]
    each = len(weights) // groups
    parts = []
    for group in range(groups):
        name = f"{op.path} group {group}"
        taken = work.new((*given.shape[:2], per_group), f"{name} in", given.scale, given.zero_point)
        part = copies.take(given.shape, (0, 0, group * per_group), (1, 1, 1), (*given.shape[:2], per_group))
        work.layers.append(copies.copy((source,), taken, f"{name} in", (part,)))
        result = work.new((*made[:2], each), name, scale, requantize.zero_point)
        some = slice(group * each, (group + 1) * each)
        own = Requantize(
            requantize.bias[some], requantize.multiplier[some], requantize.shift[some],
            requantize.zero_point, requantize.low, requantize.high,
        )  # fmt: skip
        work.layers.append(Conv((taken,), result, name, window, weights[some], zero_point, own))
        parts.append(result)
    output = work.make(op, op.outputs[0])
    pieces = tuple(copies.place(group, (*made[:2], each), 2, group * each, made[2]) for group in range(groups))
    work.layers.append(copies.copy(tuple(parts), output, f"{op.path} joined", pieces))
