"""Weights and per-channel parameters in the order in which the kernels read them, and what is proven of the sums.

The formats are those of kernels/nw_matrix.h and nw_depthwise.h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.mcu.network import Requantize

TILE = 128  # NW_TILE: depths that are widened at a time
BLOCK = 64  # NW_BLOCK: channels whose sums are kept where the depth takes several chunks
EXACT, FAST, ONCE = 0, 1, 2  # NW_EXACT, NW_FAST, NW_ONCE
_LARGEST_SHIFT = 22  # of NW_FAST: (2 x zero point + 1) << shift and the product's high word fit 32 bits together


@dataclass(frozen=True)
class Packed:
    """The stream of a matrix, its padded depth, the depths of a chunk, and how sums are rounded."""

    stream: NDArray[np.int32]
    depth: int
    chunk: int
    kind: int


def pack_matrix(weights_NK: NDArray[np.int8], requantize: Requantize, *, once: bool = False) -> Packed:
    """Return the weights (channels, depth) with their parameters as one stream. `once`: rounded as dense layers are."""
    outputs, real = weights_NK.shape
    chunks = -(-real // TILE)
    chunk = _up(-(-real // chunks), 8)
    depth = _up(real, 8)
    weights = np.zeros((_up(outputs, 2), depth), np.int64)
    weights[:outputs, :real] = weights_NK
    bias, multiplier, shift = (
        np.pad(part.astype(np.int64), (0, outputs % 2))
        for part in (requantize.bias, requantize.multiplier, requantize.shift)
    )
    fast = None if once else fast_shifts(weights, bias, multiplier, shift, requantize)
    words = _words(weights)
    kind = ONCE if once else EXACT
    if fast is not None and _pairs_fit(weights, bias):
        kind, (multiplier, shift) = FAST, fast
        words = _fast_words(weights)
        bias = bias.copy()
        bias[0::2] = _wrap(256 * bias[0::2] + bias[1::2])
    middle = (2 * requantize.zero_point + 1) << 16
    shifts = _wrap((shift[0::2] & 255) | ((shift[1::2] & 255) << 8) | middle)
    parts: list[NDArray[np.int64]] = []
    block = outputs + 1 if chunk >= depth else BLOCK
    for first in range(0, outputs, block):
        pairs = range(first // 2, min(-(-outputs // 2), (first + block) // 2))
        for start in range(0, depth, chunk):
            for pair in pairs:
                if start == 0:
                    parts.append(bias[2 * pair : 2 * pair + 2])
                parts.append(words[pair, start // 2 : (start + chunk) // 2])
                if start + chunk >= depth:
                    parts += [multiplier[2 * pair : 2 * pair + 2], shifts[pair : pair + 1]]
    return Packed(np.concatenate(parts).astype(np.int32), depth, chunk, kind)


def fast_shifts(
    weights: NDArray[np.int64],
    bias: NDArray[np.int64],
    multiplier: NDArray[np.int64],
    shift: NDArray[np.int64],
    requantize: Requantize,
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return multipliers and right shifts less one for the one-instruction product, None where it would not be exact.

    Needed of each channel: a right shift of at least one, twice the sum within 32 bits, int8's own limits as the clamp.
    A channel whose results all round to the zero point (a scale of next to nothing) gets the multiplier 0.
    """
    largest = np.abs(bias) + 128 * np.abs(weights).sum(axis=1)
    right = -shift
    vanishes = (multiplier == 0) | (largest * multiplier < (1 << 30) << np.clip(right - 1, 0, 31))
    vanishes &= right >= 1
    multiplier = np.where(vanishes, 0, multiplier)
    right = np.where(vanishes, 1, right)
    zero = multiplier == 0
    right = np.where(zero, 1, right)
    fits = np.all((right >= 1) & (right <= _LARGEST_SHIFT) & (largest < 1 << 30) & (multiplier >= 0))
    if not fits or (requantize.low, requantize.high) != (-128, 127):
        return None
    return multiplier, right - 1


def _pairs_fit(weights: NDArray[np.int64], bias: NDArray[np.int64]) -> bool:
    """Whether 256 a + b fits 16 bits everywhere, and the sums of all first channels 24 bits."""
    a, b = weights[0::2], weights[1::2]
    halves = 256 * a + b
    sums = np.abs(bias[0::2]) + 128 * np.abs(a).sum(axis=1)
    return bool(halves.min() >= -(1 << 15) and np.all(sums < 1 << 23))


def _words(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return plain bytes as words (pairs, depth / 2): b of k, a of k, b of k + 2, a of k + 2; then k + 1, k + 3."""
    return _halves((weights[0::2] & 255) << 8 | (weights[1::2] & 255))


def _fast_words(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    return _halves(256 * weights[0::2] + weights[1::2])


def _halves(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 16-bit values (pairs, depth) as words of depths (k, k + 2), (k + 1, k + 3) of each group of four."""
    pairs, depth = values.shape
    groups = values.reshape(pairs, depth // 4, 2, 2) & 0xFFFF
    return _wrap(groups[:, :, 0] | groups[:, :, 1] << 16).reshape(pairs, depth // 2)


def _wrap(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return values.astype(np.uint64).astype(np.uint32).view(np.int32).astype(np.int64)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
