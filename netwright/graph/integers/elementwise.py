"""Elementwise operations of TensorFlow Lite's integer reference kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.integers.call import Call
from netwright.graph.integers.fixed import activation_range, limits, quantize_multiplier, rescale
from netwright.graph.integers.moves import same_scale


@dataclass(frozen=True)
class Sum:
    """Constants of ADD, SUB and SQUARED_DIFFERENCE: (first, second, output) each, shifts > 0 to the left."""

    left_shift: int
    zero_points: tuple[int, int, int]
    multipliers: tuple[int, int, int]
    shifts: tuple[int, int, int]
    low: int
    high: int


def sum_constants(call: Call) -> Sum:
    """Return the constants of an ADD or SUB (add.cc's Prepare): operands share twice the larger scale, times 2**20 or 2**15.

    Raises:
        NetwrightError: the output's scale is so small that the sum would have to be multiplied by 1 or more.
    """
    (first, zero_1), (second, zero_2), (output, zero_out) = call.of(0), call.of(1), call.out()
    dtype = call.out_dtype()
    left_shift = 20 if dtype in ("int8", "uint8") else 15
    common = 2.0 * float(max(first, second))
    reals = float(first) / common, float(second) / common, common / float(np.float32(1 << left_shift) * output)
    if max(reals) >= 1:
        raise NetwrightError(
            f"{call.where}: its scales {first:g}, {second:g} and {output:g} lie too far apart for the sum."
        )
    pairs = [quantize_multiplier(real) for real in reals]
    low, high = activation_range(call.option("fused_activation_function"), float(output), zero_out, dtype)
    (m1, s1), (m2, s2), (m3, s3) = pairs
    return Sum(left_shift, (zero_1, zero_2, zero_out), (m1, m2, m3), (s1, s2, s3), low, high)


def _terms(call: Call, constants: Sum) -> list[NDArray[np.int64]]:
    """Return both operands in their common scale."""
    return [
        rescale(
            (call.array(place).astype(np.int64) - constants.zero_points[place]) << constants.left_shift,
            constants.multipliers[place],
            constants.shifts[place],
        )
        for place in (0, 1)
    ]


def _sum(call: Call, sign: int) -> NDArray[Any]:
    constants = sum_constants(call)
    terms = _terms(call, constants)
    total = rescale(terms[0] + sign * terms[1], constants.multipliers[2], constants.shifts[2])
    total += constants.zero_points[2]
    return np.clip(total, constants.low, constants.high).astype(call.out_dtype())


def add(call: Call) -> NDArray[Any]:
    """ADD (reference_integer_ops::Add)."""
    return _sum(call, 1)


def subtract(call: Call) -> NDArray[Any]:
    """SUB (reference_ops::Sub)."""
    return _sum(call, -1)


def multiply(call: Call) -> NDArray[Any]:
    """MUL (reference_integer_ops::Mul); the multiplier is computed in float32."""
    (first, zero_1), (second, zero_2), (output, zero_out) = call.of(0), call.of(1), call.out()
    product = (call.array(0).astype(np.int64) - zero_1) * (call.array(1).astype(np.int64) - zero_2)
    result = rescale(product, *quantize_multiplier(float(first * second / output))) + zero_out
    low, high = activation_range(call.option("fused_activation_function"), float(output), zero_out, call.out_dtype())
    return np.clip(result, low, high).astype(call.out_dtype())


def square_constants(call: Call) -> Sum:
    """Return the constants of a SQUARED_DIFFERENCE (its Prepare): operands share twice the larger scale, times 2**7.

    Raises:
        NetwrightError: the output's scale is so small that the square would have to be multiplied by 1 or more.
    """
    (first, zero_1), (second, zero_2), (output, zero_out) = call.of(0), call.of(1), call.out()
    common = 2.0 * float(max(first, second))
    reals = float(first) / common, float(second) / common, common**2 / float(np.float32(1 << 14) * output)
    pairs = [quantize_multiplier(real) for real in reals]
    if not reals[2] < 1 or max(shift for _, shift in pairs) > 0:
        raise NetwrightError(
            f"{call.where}: its scales {first:g}, {second:g} and {output:g} lie too far apart for the square."
        )
    (m1, s1), (m2, s2), (m3, s3) = pairs
    return Sum(7, (zero_1, zero_2, zero_out), (m1, m2, m3), (s1, s2, s3), *limits("int8"))


def squared_difference(call: Call) -> NDArray[np.int8]:
    """SQUARED_DIFFERENCE of int8 tensors.

    Raises:
        NetwrightError: other types.
    """
    if call.out_dtype() != "int8":
        raise NetwrightError(f"{call.where} makes {call.out_dtype()}; int8 is known.")
    constants = square_constants(call)
    first, second = _terms(call, constants)
    square = rescale((first - second) ** 2, constants.multipliers[2], constants.shifts[2])
    return np.clip(square + constants.zero_points[2], constants.low, constants.high).astype(np.int8)


def absolute(call: Call) -> NDArray[Any]:
    """ABS, with requantization (AbsEvalQuantized)."""
    (scale, zero_point), (output, zero_out) = call.of(0), call.out()
    size = np.abs(call.array(0).astype(np.int64) - zero_point)
    result = rescale(size, *quantize_multiplier(float(scale / output))) + zero_out
    return np.clip(result, *limits(call.out_dtype())).astype(call.out_dtype())


def negative(call: Call) -> NDArray[Any]:
    """NEG: the stored value negated (reference_ops::Negate), so that the least value of the type stays itself.

    Raises:
        NetwrightError: the output is not quantized so that this is the negative: the same scale, the zero point negated.
    """
    (scale, zero_point), (output, zero_out) = call.of(0), call.out()
    if scale != output or zero_point != -zero_out:
        raise NetwrightError(
            f"{call.where} negates stored values, from scale {scale:g} and zero point {zero_point} to {output:g} and "
            f"{zero_out}: that is no negative unless the scales are equal and the zero points opposite. "
            "Multiply by -1 instead."
        )
    return np.negative(call.array(0))


def quantize(call: Call) -> NDArray[Any]:
    """QUANTIZE: float32 to integers (AffineQuantize), or integers to integers (Requantize)."""
    x = call.array(0)
    output, zero_out = call.out()
    dtype = call.out_dtype()
    low, high = limits(dtype)
    if x.dtype == np.float32:
        real = (x / output).astype(np.float64)
        result = np.copysign(np.floor(np.abs(real) + 0.5), real) + zero_out
        return np.clip(result, low, high).astype(dtype)
    scale, zero_point = call.of(0)
    result = rescale(x.astype(np.int64) - zero_point, *quantize_multiplier(float(scale) / float(output)))
    return np.clip(result + zero_out, low, high).astype(dtype)


def dequantize(call: Call) -> NDArray[np.float32]:
    """DEQUANTIZE to float32."""
    scale, zero_point = call.of(0)
    return (float(scale) * (call.array(0).astype(np.float64) - zero_point)).astype(np.float32)


def maximum(call: Call) -> NDArray[Any]:
    """MAXIMUM of two tensors that are quantized alike."""
    same_scale(call, range(2))
    return np.maximum(call.array(0), call.array(1))


def minimum(call: Call) -> NDArray[Any]:
    """MINIMUM of two tensors that are quantized alike."""
    same_scale(call, range(2))
    return np.minimum(call.array(0), call.array(1))
