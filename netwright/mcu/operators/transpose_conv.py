"""Transposed convolution: layer, lowering rule, C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.conv import window_padding
from netwright.mcu.code import LayerData, array, struct
from netwright.mcu.layer import Layer, Network, NetworkValue, Requantize, Window
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.products import clamp_once_more, requantization, weights_of


@dataclass(frozen=True, eq=False)
class TransposeConv(Layer):
    """Transposed convolution: pixel (y, x) adds weights x value to outputs from (y stride - top, x stride - left) on.

    `weights` as (out, height, width, in); `requantize.bias` is the plain one, for how many weights meet an output
    depends on its place.
    """

    window: Window
    weights: NDArray[np.int8]
    input_zero_point: int
    requantize: Requantize

    def macs(self, values: Sequence[NetworkValue]) -> int:
        """Return the weights' multiplications."""
        height, width, _ = values[self.inputs[0]].shape
        return height * width * self.weights.size

    def clamped(self, low: int, high: int) -> Layer:
        """Return it with its results clamped once more."""
        return replace(self, requantize=clamp_once_more(self.requantize, low, high))

    def data(self, network: Network, name: str) -> LayerData:
        """Return weights and parameters by channel, and the kernel's constants."""
        sides = (*network.values[self.inputs[0]].shape, *network.values[self.output].shape)
        window, requantize = self.window, self.requantize
        fields = [
            *zip(("height", "width", "channels", "out_height", "out_width", "out_channels"), sides, strict=True),
            *zip(("kernel_h", "kernel_w", "stride_h", "stride_w"), (*window.kernel, *window.stride), strict=True),
            *(("top", window.padding[0]), ("left", window.padding[2]), ("zero_in", self.input_zero_point)),
            *(("zero_out", requantize.zero_point), ("low", requantize.low), ("high", requantize.high)),
        ]
        arrays = {
            "weights": self.weights, "bias": requantize.bias, "factors": requantize.multiplier,
            "shifts": requantize.shift.astype(np.int8),
        }  # fmt: skip
        text = "".join(array(f"{name}_{what}", values) for what, values in arrays.items())
        text += struct("nw_transpose_conv_constants", f"{name}_constants", fields)
        return LayerData(text, frozenset({"transpose_conv"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on a whole image."""
        del network, scratch
        arrays = f"{name}_weights, {name}_bias, {name}_factors, {name}_shifts"
        return f"nw_transpose_conv({inputs[0]}, {out}, &{name}_constants, {arrays});"


def lower(work: Lowering, op: Op) -> None:
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


OPERATOR = Operator(("TRANSPOSE_CONV",), lower, TransposeConv)
