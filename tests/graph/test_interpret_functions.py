"""Operators of one or two int8 values, and reductions, against their definitions: one number at a time, in plain integers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.graph.integers import fixed
from netwright.graph.integers.builder import GraphBuilder, quantization
from tests.graph.test_interpret import run, scalar_rescale, toward_zero

ALL = np.arange(-128, 128).astype(np.int8)[None]
Quantized = tuple[float, int]  # scale, zero point


def of_one(operator: str, given: Quantized, made: Quantized, **options: Any) -> list[int]:
    """Return what an operator makes of -128 to 127."""
    builder = GraphBuilder()
    at = builder.input("x", ALL.shape, quantization(*given))
    return run(builder.build([builder.op(operator, [at], ALL.shape, quantization(*made), **options)]), ALL)[0].tolist()


def of_pairs(operator: str, first: Quantized, second: Quantized, made: Quantized) -> np.ndarray:
    """Return what an operator makes of all pairs: entry [a + 128, b + 128]."""
    builder = GraphBuilder()
    a = builder.input("a", (1, 256, 1), quantization(*first))
    b = builder.input("b", (1, 1, 256), quantization(*second))
    model = builder.build([builder.op(operator, [a, b], (1, 256, 256), quantization(*made))])
    return run(model, ALL.reshape(1, 256, 1), ALL.reshape(1, 1, 256))[0]


def clamp(value: int) -> int:
    return max(-128, min(127, value))


def scales(count: int, seed: int = 0) -> list[tuple[float, int, float, int]]:
    """Return (scale, zero point) of what is read and of what is made, as float32 holds them."""
    rng = np.random.default_rng(seed)
    return [
        (
            float(np.float32(10.0 ** rng.uniform(-3, 0.5))),
            int(rng.integers(-128, 128)),
            float(np.float32(10.0 ** rng.uniform(-3, 0.5))),
            int(rng.integers(-128, 128)),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize(("scale", "zero", "out", "zero_out"), [*scales(8), (0.1, 3, 0.1, -5)])
def test_abs_is_requantized(scale: float, zero: int, out: float, zero_out: int) -> None:
    factor = fixed.quantize_multiplier(float(np.float32(scale) / np.float32(out)))
    expected = [clamp(scalar_rescale(abs(stored - zero), *factor) + zero_out) for stored in range(-128, 128)]
    assert of_one("ABS", (scale, zero), (out, zero_out)) == expected
    if scale == out:
        assert expected == [clamp(abs(stored - zero) + zero_out) for stored in range(-128, 128)]


def test_neg_turns_the_stored_value_and_demands_quantizations_under_which_that_is_the_negative() -> None:
    assert of_one("NEG", (0.5, 7), (0.5, -7)) == [-128, *range(127, -128, -1)]  # -128 has no negative
    for made in ((0.5, 7), (0.4, -7)):
        with pytest.raises(NetwrightError, match="Multiply by -1"):
            of_one("NEG", (0.5, 7), made)


def high(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul as gemmlowp defines it."""
    nudge = 1 << 30 if a * b >= 0 else 1 - (1 << 30)
    return toward_zero(a * b + nudge, 1 << 31)


def saturated(value: int) -> int:
    return max(-(1 << 31), min((1 << 31) - 1, value))


def scalar_inverse_root(value: int) -> tuple[int, int]:
    if value == 1:
        return (1 << 31) - 1, 0
    right = 11
    shifts = (32 - value.bit_length() - 1) // 2 - 1
    right -= shifts
    value <<= 2 * shifts
    assert 1 << 27 <= value < 1 << 29
    half = ((value >> 1) + 1) >> 1
    x = 1 << 28
    for _ in range(5):
        cubed = saturated(high(high(x, x), x) * 64)
        x = saturated((high((1 << 28) + (1 << 27), x) - high(half, cubed)) * 8)
    x = high(x, 1518500250)
    return (x << -right, 0) if right < 0 else (x, -right)


@pytest.mark.parametrize(("scale", "zero", "out", "zero_out"), scales(8, 1))
def test_rsqrt_is_newtons_in_fixed_point(scale: float, zero: int, out: float, zero_out: int) -> None:
    mantissa, shift = fixed.quantize_multiplier(1.0 / float(np.sqrt(np.float32(scale)) * np.float32(out)))
    expected = []
    for stored in range(-128, 128):
        if stored <= zero:
            expected.append(127)
            continue
        root, left = scalar_inverse_root(stored - zero)
        fine = scalar_rescale(1, root, left + 20)
        expected.append(clamp(scalar_rescale(fine, mantissa, shift - 20) + zero_out))
    found = of_one("RSQRT", (scale, zero), (out, zero_out))
    assert found == expected
    for stored in range(zero + 1, 128):
        real = 1 / math.sqrt(scale * (stored - zero)) / out + zero_out
        assert abs(found[stored + 128] - max(-128, min(127, real))) < 0.52


def test_rsqrt_whose_fixed_point_would_hold_nothing_is_refused() -> None:
    with pytest.raises(NetwrightError, match="does not fit the fixed point of roots"):
        of_one("RSQRT", (1.0, -128), (1e6, 0))


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize(("scale", "zero", "out", "zero_out"), scales(6, 2))
def test_gelu_is_a_table_in_float32(scale: float, zero: int, out: float, zero_out: int, approximate: bool) -> None:
    expected = []
    for stored in range(-128, 128):
        x = np.float32(scale) * np.float32(stored - zero)
        if approximate:
            inner = np.float32(math.sqrt(2 / math.pi)) * (x + ((np.float32(0.044715) * x) * x) * x)
            value = (np.float32(0.5) * x) * (np.float32(1) + np.float32(math.tanh(float(inner))))
        else:
            value = (np.float32(0.5) * x) * np.float32(math.erfc(float(x * np.float32(-math.sqrt(0.5)))))
        real = float(value * (np.float32(1) / np.float32(out)))
        expected.append(clamp(math.floor(abs(real) + 0.5) * (-1 if real < 0 else 1) + zero_out))
        true = 0.5 * float(x) * math.erfc(-float(x) / math.sqrt(2)) / out + zero_out
        assert abs(expected[-1] - max(-128, min(127, true))) <= (0.51 if not approximate else 0.51 + 0.0005 / out)
    assert of_one("GELU", (scale, zero), (out, zero_out), approximate=approximate) == expected


@pytest.mark.parametrize(
    ("first", "second", "made"),
    [((0.1, 3), (0.1, 3), (0.5, -128)), ((0.02, -128), (0.31, 127), (5.0, -100)), ((1.0, 0), (0.9, -5), (300.0, 9))],
)
def test_squared_difference_squares_in_a_common_scale(first: Quantized, second: Quantized, made: Quantized) -> None:
    (s1, z1), (s2, z2), (s3, z3) = [(float(np.float32(scale)), zero) for scale, zero in (first, second, made)]
    twice = 2 * max(s1, s2)
    m1, m2, m3 = [fixed.quantize_multiplier(real) for real in (s1 / twice, s2 / twice, twice**2 / (s3 * 2**14))]
    found = of_pairs("SQUARED_DIFFERENCE", first, second, made)
    for a in range(-128, 128, 5):
        for b in range(-128, 128, 3):
            apart = scalar_rescale((a - z1) << 7, *m1) - scalar_rescale((b - z2) << 7, *m2)
            expected = clamp(scalar_rescale(apart * apart, *m3) + z3)
            assert found[a + 128, b + 128] == expected
            real = (s1 * (a - z1) - s2 * (b - z2)) ** 2 / s3 + z3
            assert abs(expected - max(-128, min(127, real))) < 1.1


def test_squared_difference_that_would_be_multiplied_by_1_or_more_is_refused() -> None:
    with pytest.raises(NetwrightError, match="too far apart for the square"):
        of_pairs("SQUARED_DIFFERENCE", (1.0, 0), (1.0, 0), (1e-4, 0))


def reduced(operator: str, x: np.ndarray, axes: list[int], given: Quantized, made: Quantized, keep: bool) -> np.ndarray:
    builder = GraphBuilder()
    at, which = builder.input("x", x.shape, quantization(*given)), builder.indices("axes", axes)
    shape = np.sum(x, axis=tuple(axes), keepdims=keep).shape
    return run(builder.build([builder.op(operator, [at, which], shape, quantization(*made), keep_dims=keep)]), x)


@pytest.mark.parametrize(("scale", "zero", "out", "zero_out"), scales(6, 3))
@pytest.mark.parametrize(("axes", "keep"), [([1, 2], True), ([-1], False), ([1, 3], False), ([1, 2, 3], True)])
def test_sum_is_requantized_without_a_division(
    scale: float, zero: int, out: float, zero_out: int, axes: list[int], keep: bool
) -> None:
    x = np.random.default_rng(7).integers(-128, 128, (1, 3, 4, 5)).astype(np.int8)
    out *= 20
    factor = fixed.quantize_multiplier(float(np.float32(scale)) / float(np.float32(out)))
    found = reduced("SUM", x, axes, (scale, zero), (out, zero_out), keep)
    count = x.size // found.size
    sums = np.sum(x.astype(int), axis=tuple(axes), keepdims=keep) - zero * count
    expected = [clamp(scalar_rescale(total, *factor) + zero_out) for total in sums.reshape(-1).tolist()]
    assert found.reshape(-1).tolist() == expected
    real = sums * np.float32(scale) / np.float32(out) + zero_out
    assert np.abs(found - np.clip(real, -128, 127)).max() < 0.6


@pytest.mark.parametrize("operator", ["REDUCE_MAX", "REDUCE_MIN"])
def test_extremes_over_dimensions_keep_their_quantization(operator: str) -> None:
    x = np.random.default_rng(8).integers(-128, 128, (1, 3, 4, 5)).astype(np.int8)
    chosen = max if operator == "REDUCE_MAX" else min
    found = reduced(operator, x, [1, 2], (0.1, 3), (0.1, 3), False)
    assert found[0].tolist() == [chosen(x[0, :, :, channel].reshape(-1).tolist()) for channel in range(5)]
    with pytest.raises(NetwrightError, match="Requantize it first"):
        reduced(operator, x, [1, 2], (0.1, 3), (0.1, 4), False)
