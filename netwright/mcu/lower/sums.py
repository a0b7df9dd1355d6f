"""Sums of two int8 values in two multiplications: numbers found for a layer, and proven on every pair of values.

The reference scales each term, rounds, adds, scales, rounds. What comes of it is nearly always the floor of one linear
function; where that holds for all 65,536 pairs, the kernel computes that function.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.graph.integers.fixed import rescale
from netwright.mcu.network import Add

BITS = 28  # behind the point: 13 in the high halves of the numbers, 15 in the low ones
_NEAR = (0, 1, -1, 4, -4, 16, -16)  # changes of the factors that are tried
_OPEN = 1 << 60


@dataclass(frozen=True, slots=True)
class Linear:
    """clamp(floor((a x first + b x second + constant) / 2**28))."""

    first: int
    second: int
    constant: int


def reference(layer: Add) -> NDArray[np.int64]:
    """Return what a layer makes of every pair of values: entry [a + 128, b + 128]."""
    values = np.arange(-128, 128, dtype=np.int64)
    first, second = (
        rescale((values - layer.zero_points[place]) << layer.left_shift, layer.multipliers[place], layer.shifts[place])
        for place in (0, 1)
    )
    total = rescale(first[:, None] + layer.sign * second, layer.multipliers[2], layer.shifts[2])
    return np.clip(total + layer.zero_points[2], layer.low, layer.high)


@functools.lru_cache(maxsize=512)  # layers are equal only to themselves
def linear(layer: Add) -> Linear | None:
    """Return the linear function that equals a layer on every pair of values, None if none is found."""
    scales = [
        multiplier * 2.0 ** (shift - 31) for multiplier, shift in zip(layer.multipliers, layer.shifts, strict=True)
    ]
    factors = [scales[place] * scales[2] * 2.0 ** (layer.left_shift + BITS) for place in (0, 1)]
    if max(factors) >= (1 << (BITS + 2)) - (1 << 15):  # 13 + 2 bits and a sign fill the high half
        return None
    wanted = reference(layer)
    values = np.arange(-128, 128, dtype=np.int64)
    for near, other in itertools.product(_NEAR, repeat=2):
        first, second = round(factors[0]) + near, layer.sign * (round(factors[1]) + other)
        sums = values[:, None] * first + values * second
        # Which constants give what is wanted of each pair; the ends of the range take all beyond them.
        least = np.where(wanted > layer.low, (wanted << BITS) - sums, -_OPEN).max()
        most = np.where(wanted < layer.high, ((wanted + 1) << BITS) - 1 - sums, _OPEN).min()
        if least <= most and max(-least, most) < _OPEN:
            return Linear(first, second, int(least + most) // 2)
    return None
