"""Convolutions, linear layers and pooling as integer operations.

Weights are int8, biases int32; padding is SAME, VALID or an explicit PAD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.fx import Node

from netwright.compression.quantization.fold.folding import Folding, Int8Tensor
from netwright.compression.quantization.nodes import argument, kind, pair, where
from netwright.graph.integers.builder import quantization
from netwright.graph.integers.quantized import Quantization

_LARGEST_BIAS = 1 << 30  # leaves the accumulator as much room


@dataclass(frozen=True)
class Fused:
    """What an operation's result goes through: its quantization, and an activation that clamps stored values."""

    quantization: Quantization
    activation: str = "NONE"


@dataclass(frozen=True)
class Edges:
    """How an image is padded for a window: TensorFlow Lite's word, and what has to be added before, if anything."""

    padding: str
    extra: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))


def conv(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """CONV_2D or DEPTHWISE_CONV_2D."""
    stride, dilation, groups = (
        pair(argument(node, "stride", 1)),
        pair(argument(node, "dilation", 1)),
        argument(node, "groups", 1),
    )
    weights, scales = _weights(folding, node)
    padding = pair(argument(node, "padding", 0))
    sides = weights.shape[2], weights.shape[3]
    reach = (sides[0] - 1) * dilation[0] + 1, (sides[1] - 1) * dilation[1] + 1
    x, edges = _window_input(folding, node, reach, stride, padding)
    channels = folding.stored_shape(x)[3]
    depthwise = groups == channels and weights.shape[1] == 1
    axis = 3 if depthwise else 0
    stored = weights.transpose(1, 2, 3, 0) if depthwise else weights.transpose(0, 2, 3, 1)
    tensors = _parameters(folding, node, x, stored, scales, axis)
    options: dict[str, Any] = {
        **{"padding": edges.padding, "stride_h": stride[0], "stride_w": stride[1]},
        **{"dilation_h_factor": dilation[0], "dilation_w_factor": dilation[1]},
        "fused_activation_function": fused.activation,
    }
    if depthwise:
        options["depth_multiplier"] = weights.shape[0] // channels
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    shape = _image(folding, node)
    return Int8Tensor(folding.op(name, (x.index, *tensors), shape, fused.quantization, where(node), **options), True)


def linear(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """FULLY_CONNECTED; of a flattened image, the weights are reordered to its memory layout."""
    source: Any = node.args[0]
    x = folding.value(source, node)
    weights, scales = _weights(folding, node)
    if x.flattened:
        weights = weights.reshape(-1, *x.flattened).transpose(0, 2, 3, 1).reshape(len(weights), -1)
        x = Int8Tensor(x.index)
    else:
        x = folding.torch_order(source, node)
    tensors = _parameters(folding, node, x, weights, scales, 0)
    options = {
        **{"fused_activation_function": fused.activation, "keep_num_dims": len(folding.shape(node)) > 2},
        "quant_spec": None,  # an empty list would be written into the file
    }
    shape = folding.shape(node)
    step = folding.op("FULLY_CONNECTED", (x.index, *tensors), shape, fused.quantization, where(node), **options)
    return Int8Tensor(step)


def transposed_conv(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """TRANSPOSE_CONV; where torch's padding is not TensorFlow Lite's, of the whole result, and then a part of it."""
    x = folding.channels_last(node.args[0], node)  # pyright: ignore[reportArgumentType]
    weights, scales = _weights(folding, node)
    stride, padding = pair(argument(node, "stride", 1)), pair(argument(node, "padding", 0))
    tensors = _parameters(folding, node, x, weights.transpose(1, 2, 3, 0), scales, 0)
    shape, path = _image(folding, node), where(node)
    sides = folding.stored_shape(x)[1:3]
    whole = [(side - 1) * step + reach for side, step, reach in zip(sides, stride, weights.shape[2:], strict=True)]
    cropped = [full - out for full, out in zip(whole, shape[1:3], strict=True)]
    same = all(
        out == side * step and crop >= 0 and crop // 2 == before
        for out, side, step, crop, before in zip(shape[1:3], sides, stride, cropped, padding, strict=True)
    )
    if any(crop < before for crop, before in zip(cropped, padding, strict=True)):
        raise folding.refuse(node, "adds rows behind its result (output_padding), which has no integer form here.")
    made = shape if same else (shape[0], *whole, shape[3])
    options = {
        **{"padding": "SAME" if same else "VALID", "stride_h": stride[0], "stride_w": stride[1]},
        "fused_activation_function": fused.activation,
    }
    sizes = folding.builder.indices(f"{path}.output_shape", made)
    result = folding.op(
        "TRANSPOSE_CONV", (sizes, tensors[0], x.index, tensors[1]), made, fused.quantization, path, **options
    )
    if made != shape:
        bounds = {place + 1: (first, first + shape[place + 1], 1) for place, first in enumerate(padding)}
        result = folding.cut(Int8Tensor(result, True), bounds, path).index
    return Int8Tensor(result, True)


def max_pool(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """MAX_POOL_2D; where SAME does not do, the image is first padded with the least value."""
    return _pool(folding, node, fused, "MAX_POOL_2D", stored=-128)


def average_pool(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """AVERAGE_POOL_2D, also as what adaptive pooling becomes where the sides divide."""
    if kind(node) == "adaptive_avg_pool2d":
        sides, outputs = folding.shape(node.args[0])[2:], folding.shape(node)[2:]
        if any(side % out for side, out in zip(sides, outputs, strict=True)):
            raise folding.refuse(
                node, f"of {sides} to {outputs} has windows of different sizes. Choose sides that divide."
            )
        window = tuple(side // out for side, out in zip(sides, outputs, strict=True))
        return _pool(folding, node, fused, "AVERAGE_POOL_2D", window=window)  # pyright: ignore[reportArgumentType]
    counted = argument(node, "count_include_pad", True)
    return _pool(folding, node, fused, "AVERAGE_POOL_2D", stored=None if counted else -129)


def _pool(
    folding: Folding,
    node: Node,
    fused: Fused,
    name: str,
    stored: int | None = None,
    window: tuple[int, int] | None = None,
) -> Int8Tensor:
    """Add pooling.

    Args:
        stored: the value of the padding; None: zero, which counts in averages; -129: no padding may be added.
        window: height and width, where they are not the node's.
    """
    if window:
        stride, padding = window, (0, 0)
    else:
        window = pair(argument(node, "kernel_size"))
        stride, padding = pair(argument(node, "stride") or window), pair(argument(node, "padding", 0))
    x = folding.channels_last(node.args[0], node)  # pyright: ignore[reportArgumentType]
    before, needed = _needed(folding.stored_shape(x)[1:3], folding.shape(node)[2:], window, stride, padding)
    edges = _edges(folding.stored_shape(x)[1:3], folding.shape(node)[2:], window, stride, before, needed)
    averages = name == "AVERAGE_POOL_2D"
    if averages and any(after > most for after, most in zip(needed, padding, strict=True)):
        raise folding.refuse(node, "with ceil_mode has windows that reach beyond the padding. Pad explicitly.")
    if averages and edges.padding == "SAME" and stored is None and any((*before, *needed)):
        edges = Edges("VALID", ((before[0], needed[0]), (before[1], needed[1])))  # SAME would not count the zeros
    if stored == -129 and edges.padding == "VALID" and any(side for edge in edges.extra for side in edge):
        raise folding.refuse(
            node, "with count_include_pad=False needs TensorFlow Lite's SAME padding. Count the padding."
        )
    x = folding.pad(x, ((0, 0), *edges.extra, (0, 0)), where(node), stored if stored != -129 else None)
    options = {
        **{"padding": edges.padding, "stride_h": stride[0], "stride_w": stride[1]},
        **{"filter_height": window[0], "filter_width": window[1], "fused_activation_function": fused.activation},
    }
    result = Int8Tensor(
        folding.op(name, (x.index,), _image(folding, node), folding.quantization(x), where(node), **options),
        True,
    )
    return folding.requantize(result, fused.quantization, where(node))


def _window_input(
    folding: Folding, node: Node, reach: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> tuple[Int8Tensor, Edges]:
    """Return what a window slides over and its padding; a PAD before it is taken in where both together are SAME."""
    outputs = folding.shape(node)[2:]
    source: Any = node.args[0]
    pad = source.args[0].args[0] if kind(source) == "dequantize_per_tensor" else source
    amounts = argument(pad, "pad") if kind(pad) == "pad" and not argument(pad, "value") else None
    if (
        amounts is not None
        and argument(pad, "mode", "constant") == "constant"
        and len(amounts) == 4
        and padding == (0, 0)
    ):
        inner = folding.channels_last(pad.args[0], node)
        before = int(amounts[2]), int(amounts[0])
        sides = folding.stored_shape(inner)[1:3]
        _, needed = _needed(sides, outputs, reach, stride, before)
        found = _edges(sides, outputs, reach, stride, before, needed)
        if found.padding == "SAME":
            return inner, found
    x = folding.channels_last(source, node)
    before, needed = _needed(folding.stored_shape(x)[1:3], outputs, reach, stride, padding)
    found = _edges(folding.stored_shape(x)[1:3], outputs, reach, stride, before, needed)
    return folding.pad(x, ((0, 0), *found.extra, (0, 0)), where(node)), found


def _needed(
    sides: Sequence[int], outputs: Sequence[int], reach: Sequence[int], stride: Sequence[int], before: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the padding before, and after each side as much as windows read."""
    after = [
        max(0, (out - 1) * step + size - side - first)
        for side, out, size, step, first in zip(sides, outputs, reach, stride, before, strict=True)
    ]
    return tuple(before), tuple(after)


def _edges(
    sides: Sequence[int],
    outputs: Sequence[int],
    reach: Sequence[int],
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
) -> Edges:
    """Return SAME where TensorFlow Lite would pad just so, else VALID with what has to be added."""
    if not any((*before, *after)):
        return Edges("VALID")
    total = [
        max(0, (out - 1) * step + size - side)
        for side, out, size, step in zip(sides, outputs, reach, stride, strict=True)
    ]
    wanted = [-(-side // step) for side, step in zip(sides, stride, strict=True)]
    if list(outputs) == wanted and all(side // 2 == first for side, first in zip(total, before, strict=True)):
        return Edges("SAME")
    return Edges("VALID", ((before[0], after[0]), (before[1], after[1])))


def _image(folding: Folding, node: Node) -> tuple[int, ...]:
    batch, channels, height, width = folding.shape(node)
    return batch, height, width, channels


def _weights(folding: Folding, node: Node) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return a layer's stored weights and their scale per output channel."""
    found: Any = node.args[1]
    if kind(found) not in ("dequantize_per_channel", "dequantize_per_tensor"):
        raise folding.refuse(node, "has weights that are not quantized; annotate them.")
    stored = folding.numbers(found.args[0])
    if stored is None:
        raise folding.refuse(node, "has weights that are computed. Only constant weights become integers.")
    zero_points = folding.numbers(found.args[2])
    scales = folding.numbers(found.args[1])
    outputs = stored.shape[1] if kind(node) == "conv_transpose2d" else len(stored)
    if zero_points is None or scales is None or np.any(zero_points):
        raise folding.refuse(node, "has weights with a zero point; they must be symmetric.")
    return stored.astype(np.int8), np.broadcast_to(scales, outputs).astype(np.float64)


def _parameters(
    folding: Folding, node: Node, x: Int8Tensor, stored: NDArray[np.int8], scales: NDArray[np.float64], axis: int
) -> tuple[int, int]:
    """Return the tensors of weights and bias; the bias is int32 in units of input scale x weight scale."""
    real = folding.numbers(argument(node, "bias"))
    bias = np.zeros(len(scales)) if real is None else real.astype(np.float64)
    scale = float(folding.quantization(x).scale[0])
    # A channel whose weights are next to nothing beside its bias gets a larger scale, so that the bias fits 32 bits.
    least = np.abs(bias) / (scale * _LARGEST_BIAS)
    coarser = np.maximum(scales, least)
    if np.any(coarser > scales):
        shape = [1] * stored.ndim
        shape[axis] = -1
        stored = np.rint(stored * (scales / coarser).reshape(shape)).astype(np.int8)
    stepped = coarser.astype(np.float32)
    whole = np.rint(bias / (scale * stepped.astype(np.float64))).astype(np.int32)
    path = where(node)
    weights = folding.builder.constant(
        f"{path}.weight", np.ascontiguousarray(stored, np.int8), quantization(stepped, axis=axis)
    )
    units = np.float32(scale) * stepped
    return weights, folding.builder.constant(f"{path}.bias", whole, quantization(units, axis=0))
