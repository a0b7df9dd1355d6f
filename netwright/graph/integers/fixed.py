"""Fixed-point arithmetic of TensorFlow Lite's reference kernels, on whole arrays, bit for bit.

Real multipliers become a 32-bit mantissa and a power of two (Jacob et al. 2018, arXiv:1712.05877, section 2.2). A product
is rounded twice: to the nearest, ties up, at 31 fractional bits, then to the nearest, ties away from zero, by the shift.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError

LOWEST, HIGHEST = -(1 << 31), (1 << 31) - 1


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return (mantissa, shift) with real = mantissa / 2**31 x 2**shift, mantissa in [2**30, 2**31), or (0, 0).

    What is below 2**-32 becomes zero (QuantizeMultiplier of the reference kernels).

    Raises:
        NetwrightError: negative, not finite, or so large that 32 bits cannot hold any product.
    """
    if not math.isfinite(real) or real < 0:
        raise NetwrightError(f"A multiplier is {real}, but the scales of a quantized model are finite and positive.")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    mantissa = math.floor(fraction * (1 << 31) + 0.5)
    if mantissa == 1 << 31:
        mantissa, shift = mantissa // 2, shift + 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        raise NetwrightError(
            f"A multiplier is {real:g}, at most 2**30 is possible: the model's scales do not fit together."
        )
    return mantissa, shift


def quantize_multipliers(reals: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return mantissas and shifts of many multipliers; see `quantize_multiplier`."""
    flat = np.asarray(reals, np.float64).reshape(-1)
    found = {real: quantize_multiplier(real) for real in flat.tolist()}
    both = np.array([found[real] for real in flat.tolist()], np.int32).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()


def wrap(values: NDArray[Any], bits: int = 32) -> NDArray[np.int64]:
    """Return integers as two's complement of so many bits would keep them."""
    half = 1 << (bits - 1)
    return ((values.astype(np.int64) + half) & ((1 << bits) - 1)) - half


def high_multiply(a: NDArray[Any], b: Any) -> NDArray[np.int64]:
    """Return a x b / 2**31 to the nearest, ties up, as int64 (SaturatingRoundingDoublingHighMul).

    Both hold 32-bit values, not both the least, the one product that would saturate. The reference adds a nudge by sign
    and truncates, which for every product is the same.
    """
    product = np.multiply(a, b, dtype=np.int64)
    product += 1 << 30
    product >>= 31
    return product


def divide_by_power(values: NDArray[np.int64], exponent: Any) -> NDArray[np.int64]:
    """Return values / 2**exponent to the nearest, ties away from zero (RoundingDivideByPOT); exponents from 0 on."""
    exponent = np.asarray(exponent, np.int64)
    half = (np.int64(1) << exponent) >> 1
    result = values >> 63
    if not np.all(exponent > 0):
        result *= exponent > 0
    result += values
    result += half
    result >>= exponent
    return result


def rescale(values: NDArray[Any], mantissa: Any, shift: Any) -> NDArray[np.int64]:
    """Return values x mantissa / 2**31 x 2**shift, rounded twice (MultiplyByQuantizedMultiplier).

    Args:
        values: 32-bit values.
        mantissa, shift: one of each, or one for each entry of the last dimension; a positive shift is applied before the
            product and wraps at 32 bits, as it does there.
    """
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    shifted = wrap(values.astype(np.int64) << left) if np.any(left) else values
    product = high_multiply(shifted, np.asarray(mantissa, np.int64))
    return divide_by_power(product, right) if np.any(right) else product


def rescale_real(values: NDArray[np.int64], real: Any) -> NDArray[np.int64]:
    """Return values x real to the nearest, ties away from zero, in float64, as LiteRT 2's FULLY_CONNECTED does.

    What leaves 32 bits becomes the least integer, as the conversion to int32 has it; zero points added to that wrap.
    """
    product = values.astype(np.float64) * real
    nearest = np.copysign(np.floor(np.abs(product) + 0.5), product)
    return np.where((nearest >= LOWEST) & (nearest <= HIGHEST), nearest, LOWEST).astype(np.int64)


def rescale_once(values: NDArray[np.int64], mantissa: Any, shift: Any) -> NDArray[np.int64]:
    """Return values x mantissa / 2**31 x 2**shift to the nearest, ties away from zero: one rounding, in 64 bits."""
    total = 31 - np.asarray(shift, np.int64)
    product = np.multiply(values, np.asarray(mantissa, np.int64), dtype=np.int64)
    return (product + (product >> 63) + ((np.int64(1) << total) >> 1)) >> total


def multipliers_once(
    reals: NDArray[np.float64], reach: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]] | None:
    """Return mantissas and shifts with which `rescale_once` equals `rescale_real` for sums up to +-`reach`, or None.

    Both functions rise with the sum, so that they are equal where they step up at the same sums. The steps between -513
    and 512, more than any int8 result needs, are tried one by one; where a mantissa fails, its neighbours are. Products that
    leave 32 bits, where the real ones stop rising, have no such multiplier.
    """
    if np.any(reals * reach >= HIGHEST):
        return None
    mantissa, shift = quantize_multipliers(reals)
    steps = np.arange(-513, 513)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = np.nan_to_num(np.rint((steps + 0.5) / reals), nan=0.0)
    limit = reach.astype(np.float64)
    done = np.zeros(len(reals), bool)
    chosen = mantissa.astype(np.int64)
    for nudge in (0, 1, -1, 2, -2):
        tried = np.where(done, chosen, np.clip(mantissa.astype(np.int64) + nudge, 0, HIGHEST))
        equal = np.ones(len(reals), bool)
        for near in range(-2, 3):
            sums = np.clip(middle + near, -limit, limit).astype(np.int64)
            ours, theirs = rescale_once(sums, tried, shift), rescale_real(sums, reals)
            equal &= (np.clip(ours, -600, 600) == np.clip(theirs, -600, 600)).all(axis=0)
        chosen = np.where(equal & ~done, tried, chosen)
        done |= equal
    return (chosen.astype(np.int32), shift) if done.all() else None


def rescale_wide(values: NDArray[np.int64], mantissa: Any, shift: Any) -> NDArray[np.int64]:
    """Return sums of more than 32 bits x mantissa / 2**31 x 2**shift, as int16 convolutions round: once, on 16 bits."""
    mantissa, shift = np.asarray(mantissa, np.int64), np.asarray(shift, np.int64)
    reduced = np.where(mantissa < 0x7FFF0000, (mantissa + (1 << 15)) >> 16, 0x7FFF)
    total = 15 - shift
    return (values * reduced + (np.int64(1) << (total - 1))) >> total


def limits(dtype: str) -> tuple[int, int]:
    """Return the least and the largest value of an integer type.

    Raises:
        NetwrightError: another type.
    """
    if dtype.removeprefix("u") not in ("int8", "int16", "int32", "int64"):
        raise NetwrightError(
            f"Integer arithmetic makes integers of 8 to 64 bits, not {dtype}: quantize the model fully."
        )
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def round_away(real: float) -> int:
    """Return the nearest whole number, ties away from zero, as C's round."""
    return int(math.copysign(math.floor(abs(real) + 0.5), real))


def activation_range(activation: str, scale: float, zero_point: int, dtype: str = "int8") -> tuple[int, int]:
    """Return the stored values between which a fused activation clamps (CalculateActivationRangeQuantized).

    Raises:
        NetwrightError: an activation that integer kernels cannot fuse.
    """
    low, high = limits(dtype)
    ends = {
        "NONE": (None, None),
        "RELU": (0.0, None),
        "RELU6": (0.0, 6.0),
        "RELU_N1_TO_1": (-1.0, 1.0),
    }
    if activation not in ends:
        raise NetwrightError(
            f"The fused activation {activation} has no integer arithmetic; NONE, RELU, RELU6 and RELU_N1_TO_1 have. "
            "Convert the model with the activation as an operation of its own."
        )
    first, last = ends[activation]

    def stored(real: float) -> int:
        return zero_point + round_away(float(np.float32(real) / np.float32(scale)))

    return low if first is None else max(low, stored(first)), high if last is None else min(high, stored(last))
