"""Softmax, logistic, tanh, GELU and 1 / square root as LiteRT's reference kernels compute them: gemmlowp's fixed point, and tables.

A number "Qn" has n integer bits, a sign and 31 - n fractional bits. exp(x) is a Taylor expansion on [-1/4, 0) times
powers for each higher bit; 1/(1 + x) three Newton steps from 48/17 - 32/17 x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.integers.call import Call
from netwright.graph.integers.fixed import (
    HIGHEST,
    LOWEST,
    divide_by_power,
    high_multiply,
    limits,
    quantize_multiplier,
    rescale,
)

# exp(-2**n) in Q0 for n = -2, -1, 0, ..., 4.
_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_EXP_EIGHTH, _THIRD = 1895147668, 715827883
_48_17, _NEGATIVE_32_17 = 1515870810, -1010580540
_DIFFERENCE_BITS, _SUM_BITS = 5, 12
_ROOT_BITS, _HALF_ROOT_2 = 20, 1518500250


def _saturate(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(values, LOWEST, HIGHEST)


def exp_of_negative(a: NDArray[np.int64], integer_bits: int) -> NDArray[np.int64]:
    """Return exp(a) in Q0 of a <= 0 in Q`integer_bits` (exp_on_negative_values)."""
    fraction = 31 - integer_bits
    quarter = 1 << (fraction - 2)
    low = (a & (quarter - 1)) - quarter
    x = _saturate(low << integer_bits) + (1 << 28)
    x2 = high_multiply(x, x)
    x3, x4 = high_multiply(x2, x), high_multiply(x2, x2)
    tail = divide_by_power(high_multiply(divide_by_power(x4, 2) + x3, _THIRD) + x2, 1)
    result = _EXP_EIGHTH + high_multiply(x + tail, _EXP_EIGHTH)
    rest = low - a
    for exponent, power in enumerate(_POWERS, -2):
        if integer_bits > exponent:
            bit = (rest >> (fraction + exponent)) & 1
            result = np.where(bit == 1, high_multiply(result, power), result)
    return np.where(a == 0, HIGHEST, result)


def reciprocal(a: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 1 / (1 + a) in Q0 for a in Q0 from 0 to 1 (one_over_one_plus_x_for_x_in_0_1)."""
    half = (a + HIGHEST + 1) >> 1  # a is not negative, so halves are rounded up
    x = _48_17 + high_multiply(half, _NEGATIVE_32_17)
    for _ in range(3):
        missing = (1 << 29) - high_multiply(half, x)
        x = x + _saturate(high_multiply(x, missing) << 2)
    return _saturate(x << 1)


def softmax_constants(beta: float, scale: float) -> tuple[int, int, int]:
    """Return mantissa, left shift and least difference that counts (PreprocessSoftmaxScaling, CalculateInputRadius).

    Raises:
        NetwrightError: differences so small or large that the fixed point does not hold them.
    """
    real = min(beta * scale * (1 << (31 - _DIFFERENCE_BITS)), HIGHEST)
    if not 1 < real < HIGHEST:
        raise NetwrightError(
            f"A softmax of scale {scale:g} and beta {beta:g} does not fit its fixed point: rescale its input."
        )
    mantissa, shift = quantize_multiplier(real)
    radius = ((1 << _DIFFERENCE_BITS) - 1) * (1 << (31 - _DIFFERENCE_BITS)) / 2.0**shift
    return mantissa, shift, -int(np.floor(radius))


def softmax(call: Call) -> NDArray[Any]:
    """SOFTMAX over the last dimension (reference_ops::Softmax).

    Raises:
        NetwrightError: types that this fixed point does not have.
    """
    x = call.array(0)
    if x.dtype.name not in ("int8", "uint8") or call.out_dtype() not in ("int8", "int16", "uint8"):
        raise NetwrightError(
            f"{call.where} from {x.dtype} to {call.out_dtype()} is not known; int8 to int8 or int16 is."
        )
    _demand(call, *((1 / 65536, -32768) if call.out_dtype() == "int16" else (1 / 256, limits(call.out_dtype())[0])))
    mantissa, shift, least = softmax_constants(float(np.float32(call.option("beta"))), float(call.of(0)[0]))
    difference = x.astype(np.int64) - x.max(axis=-1, keepdims=True, initial=-128)
    counts = difference >= least
    powers = exp_of_negative(rescale(np.where(counts, difference, 0), mantissa, shift), _DIFFERENCE_BITS)
    sums = np.where(counts, divide_by_power(powers, _SUM_BITS), 0).sum(axis=-1, keepdims=True)
    headroom = 32 - np.ceil(np.log2(sums + 1.0)).astype(np.int64)
    factor = reciprocal((sums << headroom) - (1 << 31))
    low, high = limits(call.out_dtype())
    bits = np.iinfo(call.out_dtype()).bits
    result = divide_by_power(high_multiply(factor, powers), _SUM_BITS - headroom + 31 - bits) + low
    return np.where(counts, np.clip(result, low, high), low).astype(call.out_dtype())


def _demand(call: Call, scale: float, zero_point: int) -> None:
    """Refuse an output that is not quantized as these kernels have it built in."""
    found, point = call.out()
    if abs(float(found) / scale - 1) > 0.001 or point != zero_point:
        raise NetwrightError(
            f"{call.where} has scale {found:g} and zero point {point} behind it; its arithmetic gives {scale:g} and {zero_point}."
        )


def _looked_up(
    call: Call, function: Callable[[NDArray[np.float32]], NDArray[np.float32]], scale: float, point: int
) -> Any:
    """Return a function's value for every stored one, computed in float32 (LUTPopulate) and looked up.

    Raises:
        NetwrightError: tensors that are not int8.
    """
    _demand_int8(call)
    given, zero_point = call.of(0)
    real = given * (np.arange(-128, 128, dtype=np.float32) - np.float32(zero_point))
    with np.errstate(over="ignore"):
        stored = (function(real) * (np.float32(1) / np.float32(scale))).astype(np.float64)
    return _picked(call, np.copysign(np.floor(np.abs(stored) + 0.5), stored) + point)


def _demand_int8(call: Call) -> None:
    if call.array(0).dtype != np.int8 or call.out_dtype() != "int8":
        raise NetwrightError(
            f"{call.where} from {call.array(0).dtype} to {call.out_dtype()} is not known; int8 to int8 is."
        )


def _picked(call: Call, table: NDArray[Any]) -> NDArray[np.int8]:
    return np.clip(table, -128, 127).astype(np.int8)[call.array(0).astype(np.int64) + 128]


def logistic(call: Call) -> NDArray[np.int8]:
    """LOGISTIC as a table; its output has scale 1/256 and zero point -128."""

    def function(x: NDArray[np.float32]) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):  # exp as C's expf rounds it: better than NumPy's own in float32
            power = np.exp(-x.astype(np.float64)).astype(np.float32)
        return np.float32(1) / (np.float32(1) + power)

    _demand_int8(call)
    _demand(call, 1 / 256, -128)
    return _looked_up(call, function, 1 / 256, -128)


def _tanh(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.tanh(x.astype(np.float64)).astype(np.float32)


def tanh(call: Call) -> NDArray[np.int8]:
    """TANH as a table; its output has scale 1/128 and zero point 0."""
    _demand_int8(call)
    _demand(call, 1 / 128, 0)
    return _looked_up(call, _tanh, 1 / 128, 0)


def gelu(call: Call) -> NDArray[np.int8]:
    """GELU as a table (GeluTransform): x / 2 times erfc(-x / sqrt(2)), or the formula with tanh where `approximate`."""

    def exact(x: Any) -> Any:
        inner = x * np.float32(-math.sqrt(0.5))
        tail = np.array([math.erfc(value) for value in inner.tolist()], np.float32)
        return np.float32(0.5) * x * tail

    def approximate(x: Any) -> Any:
        with np.errstate(over="ignore"):
            inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
        return np.float32(0.5) * x * (np.float32(1) + _tanh(inner))

    scale, point = call.out()
    return _looked_up(call, approximate if call.option("approximate") else exact, float(scale), point)


def rsqrt(call: Call) -> NDArray[np.int8]:
    """RSQRT, 1 / square root, in fixed point (RsqrtEvalQuantizedInt8).

    What is not positive gives the largest value: 0 does so in the reference too, which stops at less.

    Raises:
        NetwrightError: tensors that are not int8, or scales so large that the fixed point does not hold the result.
    """
    _demand_int8(call)
    (scale, zero_point), (output, zero_out) = call.of(0), call.out()
    mantissa, shift = quantize_multiplier(1.0 / float(np.sqrt(scale) * output))
    if shift < _ROOT_BITS - 31:
        raise NetwrightError(
            f"{call.where}: the output's scale {output:g} does not fit the fixed point of roots of steps of {scale:g}."
        )
    above = np.arange(-128, 128, dtype=np.int64) - zero_point
    root, root_shift = inverse_root(np.maximum(above, 1))
    fine = rescale(np.ones(256, np.int64), root, root_shift + _ROOT_BITS)
    return _picked(call, np.where(above > 0, rescale(fine, mantissa, shift - _ROOT_BITS) + zero_out, 127))


def inverse_root(a: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return mantissas and left shifts of 1 / sqrt(a), 1 <= a < 2**29: five Newton steps (GetInvSqrtQuantizedMultiplierExp)."""
    pairs = (31 - np.frexp(a)[1].astype(np.int64)) // 2 - 1
    half = divide_by_power((a << (2 * pairs)) >> 1, 1)  # of a in Q3, brought to [1/2, 2)
    x = np.full(a.shape, 1 << 28, np.int64)
    for _ in range(5):
        cubed = _saturate(high_multiply(high_multiply(x, x), x) << 6)
        x = _saturate((high_multiply(x, 3 << 27) - high_multiply(half, cubed)) << 3)
    mantissa, right = high_multiply(x, _HALF_ROOT_2), 11 - pairs
    mantissa, right = mantissa << np.maximum(-right, 0), np.maximum(right, 0)
    return np.where(a == 1, HIGHEST, mantissa), np.where(a == 1, 0, -right)
