"""Pooling, reductions and interpolation of TensorFlow Lite's integer reference kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.integers.call import Call
from netwright.graph.integers.conv import window_padding
from netwright.graph.integers.fixed import activation_range, limits, quantize_multiplier, rescale
from netwright.graph.integers.moves import same_scale


def divide_nearest(sums: NDArray[np.int64], count: Any) -> NDArray[np.int64]:
    """Return sums / count to the nearest, ties away from zero, as the kernels' integer division gives it."""
    return np.sign(sums) * ((np.abs(sums) + count // 2) // count)


def _windows(call: Call) -> tuple[list[tuple[slice, slice, slice, slice]], tuple[int, int]]:
    """Return for each place in the window (outputs that it exists for, inputs there), rows and columns, and the sides."""
    _, height, width, _ = call.array(0).shape
    places = []
    axes = []
    for side, kernel, stride in (
        (height, call.option("filter_height"), call.option("stride_h")),
        (width, call.option("filter_width"), call.option("stride_w")),
    ):
        before, _, outputs = window_padding(side, kernel, stride, 1, call.option("padding"))
        axis = []
        for step in range(kernel):
            first = max(0, -(-(before - step) // stride))
            last = min(outputs - 1, (side - 1 + before - step) // stride)
            if last >= first:
                start = first * stride - before + step
                axis.append((slice(first, last + 1), slice(start, start + (last - first) * stride + 1, stride)))
        axes.append((axis, outputs))
    for rows in axes[0][0]:
        for columns in axes[1][0]:
            places.append((rows[0], columns[0], rows[1], columns[1]))
    return places, (axes[0][1], axes[1][1])


def _pool_range(call: Call) -> tuple[int, int]:
    (scale, zero_point), taken = call.out(), call.of(0)
    if taken != (scale, zero_point):
        raise NetwrightError(
            f"{call.where} has another scale or zero point behind it than before it, which pooling cannot do."
        )
    return activation_range(call.option("fused_activation_function"), float(scale), zero_point, call.out_dtype())


def average_pool(call: Call) -> NDArray[Any]:
    """AVERAGE_POOL_2D: over what lies in the image (reference_integer_ops::AveragePool)."""
    x = call.array(0)
    places, (out_h, out_w) = _windows(call)
    sums = np.zeros((len(x), out_h, out_w, x.shape[3]), np.int64)
    counts = np.zeros((1, out_h, out_w, 1), np.int64)
    for to_rows, to_columns, rows, columns in places:
        sums[:, to_rows, to_columns] += x[:, rows, columns]
        counts[:, to_rows, to_columns] += 1
    low, high = _pool_range(call)
    return np.clip(divide_nearest(sums, np.maximum(counts, 1)), low, high).astype(x.dtype)


def max_pool(call: Call) -> NDArray[Any]:
    """MAX_POOL_2D (reference_integer_ops::MaxPool)."""
    x = call.array(0)
    places, (out_h, out_w) = _windows(call)
    result = np.full((len(x), out_h, out_w, x.shape[3]), limits(x.dtype.name)[0], x.dtype)
    for to_rows, to_columns, rows, columns in places:
        part = result[:, to_rows, to_columns]
        np.maximum(part, x[:, rows, columns], out=part)
    low, high = _pool_range(call)
    return np.clip(result, low, high).astype(x.dtype)


def mean_constants(call: Call, count: int) -> tuple[int, int]:
    """Return mantissa and shift that requantize a sum of `count` values to their mean (QuantizedMeanOrSum)."""
    mantissa, shift = sum_multiplier(call)
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    return (mantissa << extra) // count, shift - extra


def sum_multiplier(call: Call) -> tuple[int, int]:
    """Return mantissa and shift that requantize a sum (PrepareMeanOrSum)."""
    return quantize_multiplier(float(call.of(0)[0]) / float(call.out()[0]))


def _reduced_axes(call: Call) -> tuple[tuple[int, ...], int]:
    """Return the axes that are reduced, and how many values each result is made of."""
    x = call.array(0)
    axes = tuple(sorted({axis % x.ndim for axis in call.whole(1)}))
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    if count == 0:
        raise NetwrightError(f"{call.where} reduces nothing: one of its dimensions is 0.")
    return axes, count


def _requantized_sum(call: Call, *, mean: bool) -> NDArray[Any]:
    x = call.array(0)
    axes, count = _reduced_axes(call)
    sums = x.sum(axis=axes, dtype=np.int64, keepdims=call.option("keep_dims")) - call.of(0)[1] * count
    constants = mean_constants(call, count) if mean else sum_multiplier(call)
    return np.clip(rescale(sums, *constants) + call.out()[1], *limits(x.dtype.name)).astype(x.dtype)


def mean(call: Call) -> NDArray[Any]:
    """MEAN over any dimensions (reference_ops::QuantizedMeanOrSum)."""
    return _requantized_sum(call, mean=True)


def total(call: Call) -> NDArray[Any]:
    """SUM over any dimensions (reference_ops::QuantizedMeanOrSum)."""
    return _requantized_sum(call, mean=False)


def _extreme(call: Call, function: Callable[..., NDArray[Any]]) -> NDArray[Any]:
    same_scale(call, range(1))
    return function(call.array(0), axis=_reduced_axes(call)[0], keepdims=call.option("keep_dims"))


def largest(call: Call) -> NDArray[Any]:
    """REDUCE_MAX over any dimensions of what keeps its scale."""
    return _extreme(call, np.max)


def smallest(call: Call) -> NDArray[Any]:
    """REDUCE_MIN over any dimensions of what keeps its scale."""
    return _extreme(call, np.min)


def bilinear_places(
    side: int, outputs: int, *, align: bool, half: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return for each output of one dimension the two inputs it lies between, and the second one's weight of 1024."""
    if align and outputs > 1:
        step = (1024 * (side - 1) + (outputs - 1) // 2) // (outputs - 1)
    else:
        step = (1024 * side + outputs // 2) // outputs
    place = np.arange(outputs, dtype=np.int64) * step
    if half:
        place += step // 2 - 512
    # C divides towards zero.
    lower = np.maximum(np.sign(place) * (np.abs(place) // 1024), 0)
    ahead = place + 1023
    upper = np.minimum(np.sign(ahead) * (np.abs(ahead) // 1024), side - 1)
    return lower, upper, place - 1024 * lower


def resize_bilinear(call: Call) -> NDArray[Any]:
    """RESIZE_BILINEAR of NHWC in fixed point of 10 bits (reference_ops::ResizeBilinearInteger)."""
    x = call.array(0).astype(np.int64)
    height, width = call.whole(1)
    options = {"align": call.option("align_corners"), "half": call.option("half_pixel_centers")}
    up, down, row_weight = bilinear_places(x.shape[1], height, **options)
    left, right, column_weight = bilinear_places(x.shape[2], width, **options)
    rows = x[:, up] * (1024 - row_weight)[:, None, None] + x[:, down] * row_weight[:, None, None]
    mixed = rows[:, :, left] * (1024 - column_weight)[:, None] + rows[:, :, right] * column_weight[:, None]
    return divide_nearest(mixed, 1 << 20).astype(call.array(0).dtype)
