"""Convolutions and matrix products of TensorFlow Lite's integer reference kernels, on whole batches.

Sums of products of small integers are exact in floating point as long as they stay below its mantissa, so the work is done
by BLAS: in float32 where 2**24 provably suffices, in float64 otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.integers.call import Call
from netwright.graph.integers.fixed import (
    activation_range,
    limits,
    quantize_multiplier,
    quantize_multipliers,
    rescale,
    rescale_real,
    rescale_wide,
    wrap,
)


def window_padding(side: int, kernel: int, stride: int, dilation: int, padding: str) -> tuple[int, int, int]:
    """Return padding before and after, and the outputs, of one dimension (ComputePaddingHeightWidth)."""
    reach = (kernel - 1) * dilation + 1
    if padding == "VALID":
        return 0, 0, max(0, (side - reach + stride) // stride)
    outputs = -(-side // stride)
    total = max(0, (outputs - 1) * stride + reach - side)
    return total // 2, total - total // 2, outputs


def conv_multipliers(
    call: Call, weights: int, channels: int, read: int = 0
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return mantissa and shift for every output channel (PopulateConvolutionQuantizationParams).

    `weights`, `read`: places of the operands, the first with one scale or one per channel.
    """
    scale, output = call.of(read)[0], call.out()[0]
    scales = call.quantization(call.tensor(weights)).scale
    if len(scales) not in (1, channels):
        raise NetwrightError(f"{call.where} has {len(scales)} scales for {channels} output channels.")
    return quantize_multipliers(
        np.float64(scale) * np.broadcast_to(scales, channels).astype(np.float64) / np.float64(output)
    )


def dense_multipliers(call: Call, outputs: int) -> NDArray[np.float64]:
    """Return the real multiplier of every output of a FULLY_CONNECTED, which LiteRT 2 uses as float64."""
    scales = call.quantization(call.tensor(1)).scale
    if len(scales) not in (1, outputs):
        raise NetwrightError(f"{call.where} has {len(scales)} scales for {outputs} outputs.")
    return np.float64(call.of(0)[0]) * np.broadcast_to(scales, outputs).astype(np.float64) / np.float64(call.out()[0])


def product_multiplier(call: Call) -> tuple[int, int]:
    """Return mantissa and shift of a product of two tensors (GetQuantizedConvolutionMultipler: the product is float32)."""
    return quantize_multiplier(float(call.of(0)[0] * call.of(1)[0]) / float(call.out()[0]))


def exact_type(values: NDArray[Any], zero_point: int, rows: NDArray[Any]) -> type[np.float32] | type[np.float64]:
    """Return the cheapest type in which (values - zero_point) x rows, summed over all but the first dimension, is exact."""
    low, high = limits(values.dtype.name)
    largest = max(abs(low - zero_point), abs(high - zero_point))
    heaviest = int(np.abs(rows.astype(np.int64)).reshape(len(rows), -1).sum(axis=1).max(initial=0))
    return np.float32 if heaviest * largest < 1 << 24 else np.float64


def shifted(values: NDArray[Any], zero_point: int, dtype: Any) -> NDArray[Any]:
    """Return values - zero_point in a floating-point type."""
    result = values.astype(dtype)
    result -= dtype(zero_point)
    return result


def padded(values: NDArray[Any], top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
    """Return NHWC values with zeros around."""
    if not (top or bottom or left or right):
        return values
    return np.pad(values, ((0, 0), (top, bottom), (left, right), (0, 0)))


def finish(
    call: Call,
    sums: NDArray[Any],
    multipliers: tuple[Any, ...],
    bias: int,
    activation: str,
    multiply: Callable[..., NDArray[np.int64]] = rescale,
) -> NDArray[Any]:
    """Return accumulators with their bias, requantized and clamped; `bias`: place of that operand."""
    scale, zero_point = call.out()
    dtype = call.out_dtype()
    low, high = activation_range(activation, float(scale), zero_point, dtype)
    total = sums.astype(np.int64)
    if call.has(bias):
        total += call.array(bias).astype(np.int64)
    wide = multiply is rescale and call.has(bias) and call.array(bias).dtype == np.int64
    result = rescale_wide(total, *multipliers) if wide else multiply(total, *multipliers)
    result += zero_point
    if multiply is rescale_real or np.any(np.asarray(multipliers[-1]) > 0):  # only then may results leave 32 bits
        result = wrap(result)
    return np.clip(result, low, high, out=result).astype(dtype)


def conv(call: Call) -> NDArray[Any]:
    """CONV_2D, grouped too: NHWC by OHWI (reference_integer_ops::ConvPerChannel)."""
    x, weights = call.array(0), call.array(1)
    count, height, width, channels = x.shape
    outputs, kernel_h, kernel_w, per_group = weights.shape
    if per_group == 0 or channels % per_group or outputs % max(1, channels // per_group):
        raise NetwrightError(
            f"{call.where}: {channels} channels and {outputs} filters of {per_group} do not fit together."
        )
    groups = channels // per_group
    zero_point = call.of(0)[1]
    stride = call.option("stride_h"), call.option("stride_w")
    dilation = call.option("dilation_h_factor"), call.option("dilation_w_factor")
    top, bottom, out_h = window_padding(height, kernel_h, stride[0], dilation[0], call.option("padding"))
    left, right, out_w = window_padding(width, kernel_w, stride[1], dilation[1], call.option("padding"))
    dtype = exact_type(x, zero_point, weights)
    rows = padded(shifted(x, zero_point, dtype), top, bottom, left, right)
    reach = (kernel_h - 1) * dilation[0] + 1, (kernel_w - 1) * dilation[1] + 1
    views = sliding_window_view(rows, reach, axis=(1, 2))  # pyright: ignore[reportCallIssue, reportArgumentType]
    views = views[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]][:, :out_h, :out_w]
    parts = []
    for group in range(groups):
        taken = views[:, :, :, group * per_group : (group + 1) * per_group].transpose(0, 1, 2, 4, 5, 3)
        matrix = taken.reshape(count * out_h * out_w, kernel_h * kernel_w * per_group)
        some = weights[group * (outputs // groups) : (group + 1) * (outputs // groups)]
        parts.append(matrix @ some.reshape(len(some), -1).T.astype(dtype))
    sums = np.concatenate(parts, axis=-1) if groups > 1 else parts[0]
    multipliers = conv_multipliers(call, 1, outputs)
    result = finish(call, sums, multipliers, 2, call.option("fused_activation_function"))
    return result.reshape(count, out_h, out_w, outputs)


def depthwise(call: Call) -> NDArray[Any]:
    """DEPTHWISE_CONV_2D with any channel multiplier (reference_integer_ops::DepthwiseConvPerChannel)."""
    x, weights = call.array(0), call.array(1)
    _, height, width, channels = x.shape
    _, kernel_h, kernel_w, outputs = weights.shape
    if channels == 0 or outputs % channels:
        raise NetwrightError(f"{call.where}: {outputs} filters are no multiple of {channels} channels.")
    zero_point = call.of(0)[1]
    stride = call.option("stride_h"), call.option("stride_w")
    dilation = call.option("dilation_h_factor"), call.option("dilation_w_factor")
    top, bottom, out_h = window_padding(height, kernel_h, stride[0], dilation[0], call.option("padding"))
    left, right, out_w = window_padding(width, kernel_w, stride[1], dilation[1], call.option("padding"))
    dtype = exact_type(x, zero_point, np.moveaxis(weights[0], -1, 0))
    rows = padded(shifted(x, zero_point, dtype), top, bottom, left, right)
    if outputs != channels:
        rows = np.repeat(rows, outputs // channels, axis=-1)
    filters = weights[0].astype(dtype)
    sums = np.zeros((len(x), out_h, out_w, outputs), dtype)
    for down in range(kernel_h):
        for along in range(kernel_w):
            first, start = down * dilation[0], along * dilation[1]
            last, stop = first + (out_h - 1) * stride[0] + 1, start + (out_w - 1) * stride[1] + 1
            sums += rows[:, first : last : stride[0], start : stop : stride[1]] * filters[down, along]
    multipliers = conv_multipliers(call, 1, outputs)
    return finish(call, sums, multipliers, 2, call.option("fused_activation_function"))


def fully_connected(call: Call) -> NDArray[Any]:
    """FULLY_CONNECTED (reference_integer_ops::FullyConnected; its sums are scaled in float64)."""
    x, weights = call.array(0), call.array(1)
    outputs, depth = weights.shape[-2:]
    if depth == 0 or x.size % depth:
        raise NetwrightError(f"{call.where}: {x.size} values are no multiple of the {depth} that each filter reads.")
    zero_point = call.of(0)[1]
    quantized = call.quantization(call.tensor(1))
    per_channel = len(quantized.scale) > 1
    filters = weights.reshape(outputs, depth).astype(np.int64)
    if not per_channel:
        filters = filters - int(quantized.zero_point[0])
    dtype = exact_type(x, zero_point, filters)
    sums = shifted(x.reshape(-1, depth), zero_point, dtype) @ filters.T.astype(dtype)
    reals = (dense_multipliers(call, outputs),)
    result = finish(call, sums, reals, 2, call.option("fused_activation_function"), rescale_real)
    return result.reshape(*x.shape[:-1], outputs) if call.option("keep_num_dims") else result


def transpose_conv(call: Call) -> NDArray[Any]:
    """TRANSPOSE_CONV, whose operands are output shape, weights OHWI, input and bias (reference_integer_ops::TransposeConv)."""
    x, weights = call.array(2), call.array(1)
    outputs, kernel_h, kernel_w, channels = weights.shape
    count, height, width, depth = x.shape
    if depth != channels:
        raise NetwrightError(f"{call.where}: {depth} channels and filters of {channels} do not fit together.")
    _, out_h, out_w, _ = call.whole(0)
    stride_h, stride_w = call.option("stride_h"), call.option("stride_w")
    top = window_padding(out_h, kernel_h, stride_h, 1, call.option("padding"))[0]
    left = window_padding(out_w, kernel_w, stride_w, 1, call.option("padding"))[0]
    zero_point = call.of(2)[1]
    dtype = exact_type(x, zero_point, weights)
    rows = shifted(x, zero_point, dtype).reshape(-1, channels)
    reach_h = max((height - 1) * stride_h + kernel_h, top + out_h)
    reach_w = max((width - 1) * stride_w + kernel_w, left + out_w)
    sums = np.zeros((count, reach_h, reach_w, outputs), dtype)
    for down in range(kernel_h):
        for along in range(kernel_w):
            part = (rows @ weights[:, down, along].T.astype(dtype)).reshape(count, height, width, outputs)
            last, stop = down + (height - 1) * stride_h + 1, along + (width - 1) * stride_w + 1
            sums[:, down:last:stride_h, along:stop:stride_w] += part
    sums = sums[:, top : top + out_h, left : left + out_w]
    return finish(call, sums, conv_multipliers(call, 1, outputs, 2), 3, call.option("fused_activation_function"))


def batch_matmul(call: Call) -> NDArray[Any]:
    """BATCH_MATMUL of two int8 tensors, whose leading dimensions broadcast (reference_ops::BatchMatMul)."""
    a, b = call.array(0).astype(np.float64) - call.of(0)[1], call.array(1).astype(np.float64) - call.of(1)[1]
    if call.option("adj_x"):
        a = a.swapaxes(-1, -2)
    if call.option("adj_y"):
        b = b.swapaxes(-1, -2)
    if a.shape[-1] != b.shape[-2]:
        raise NetwrightError(f"{call.where} multiplies matrices of shapes {a.shape} and {b.shape}.")
    return finish(call, a @ b, product_multiplier(call), len(call.arrays), "NONE")
