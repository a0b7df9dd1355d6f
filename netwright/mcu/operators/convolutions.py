"""CONV_2D and DEPTHWISE_CONV_2D: lowering rules, in one file because each makes layers of both kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.mcu.layer import Requantize, Window
from netwright.mcu.operators.conv import Conv
from netwright.mcu.operators.depthwise import Depthwise
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared import copies
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.products import bias_of, image_window, requantization, weights_of


def lower_conv(work: Lowering, op: Op) -> None:
    """CONV_2D; grouped ones become depthwise ones, or one convolution a group between copies."""
    tensors = work.operands(op)
    source, window = image_window(work, op, tensors[0], op.outputs[0])
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


def lower_depthwise(work: Lowering, op: Op) -> None:
    """DEPTHWISE_CONV_2D; of a single channel it is a convolution."""
    tensors = work.operands(op)
    source, window = image_window(work, op, tensors[0], op.outputs[0])
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


def _grouped(
    work: Lowering,
    op: Op,
    source: int,
    window: Window,
    weights: NDArray[Any],
    zero_point: int,
    requantize: Requantize,
) -> None:
    """Copy the channels of each group together, convolve every group, and join the results."""
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


CONV = Operator(("CONV_2D",), lower_conv, Conv)
DEPTHWISE = Operator(("DEPTHWISE_CONV_2D",), lower_depthwise, Depthwise)
