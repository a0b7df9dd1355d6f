"""Weights and per-channel parameters in the order in which the kernels read them, and what is proven of the sums.

The formats are those of kernels/nw_matrix.h and nw_depthwise.h.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netwright.mcu.layer import Requantize

TILE, SUMS = 256, 128  # NW_TILE, NW_SUMS
EXACT, SIGNED, RELU, ONCE = 0, 1, 2, 3  # NW_EXACT, ...
_LARGEST_SHIFT = {
    SIGNED: 22,
    RELU: 15,
}  # (2 x zero point + 1) << shift and the product's high word fit 32 bits together
_PASSES = {
    3: (0.72, 53),
    2: (0.745, 39),
    1: (0.90, 26),
}  # pixels: instructions a product, and for each pair of channels
_CHUNK = 14  # and for each further chunk

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Packed:
    """The stream of a matrix and the fields of nw_matrix that belong to it."""

    stream: NDArray[np.int32]
    depth: int
    chunk: int
    block: int
    pixels: int
    pairs: bool
    rounding: int


@dataclass(frozen=True)
class Channels:
    """Padded to an even number of channels; weights (channels, depth)."""

    weights: Ints
    bias: Ints
    multiplier: Ints
    shift: Ints


def pack_matrix(weights_NK: NDArray[np.int8], requantize: Requantize, *, pixels: int, once: bool = False) -> Packed:
    """Return the weights (channels, depth) with their parameters as one stream.

    Args:
        pixels: of a row; decides how many the kernel takes at a time.
        once: rounded as dense layers are.
    """
    outputs, real = weights_NK.shape
    depth = _up(real, 4)
    taken = _pixels(depth, pixels)
    chunks = -(-depth // _capacity(taken))
    chunk = _up(-(-depth // chunks), 8)
    padded = np.zeros((_up(outputs, 2), depth), np.int64)
    padded[:outputs, :real] = weights_NK
    parts = (requantize.bias, requantize.multiplier, requantize.shift)
    channels = Channels(padded, *(np.pad(part.astype(np.int64), (0, outputs % 2)) for part in parts))
    channels = channels if once else without_constants(channels, requantize)
    pairs = _pairs_fit(channels)
    rounding = ONCE if once else EXACT
    if pairs and not once and outputs % 2 == 0:
        rounding, channels = _fast(channels, requantize)
    kept = chunk < depth or rounding in (EXACT, ONCE) or not pairs
    block = min(_up(outputs, 2), SUMS // taken // 2 * 2) if kept else _up(outputs, 2)
    stream = _stream(channels, requantize.zero_point, chunk, block, pairs, rounding)
    return Packed(stream, depth, chunk, block, taken, pairs, rounding)


@dataclass(frozen=True)
class PackedDepthwise:
    """Arrays of nw_depthwise; `fast`: biases are doubled and shifts are to the right, less one. `relu`: see NW_RELU."""

    weights: NDArray[np.int8]
    params: NDArray[np.int32]
    shifts: NDArray[np.int8]
    fast: bool
    relu: bool


def pack_depthwise(weights_HWC: NDArray[np.int8], requantize: Requantize, *, fast: bool) -> PackedDepthwise:
    """Return weights (height, width, channels) by channel with their parameters. `fast`: if sums allow it too."""
    outputs = weights_HWC.shape[2]
    parts = (requantize.bias, requantize.multiplier, requantize.shift)
    flat = weights_HWC.transpose(2, 0, 1).reshape(outputs, -1).astype(np.int64)
    channels = without_constants(Channels(flat, *(part.astype(np.int64) for part in parts)), requantize)
    fast = fast and fast_fits(channels, requantize, _LARGEST_SHIFT[SIGNED])
    bias, shift = (2 * channels.bias, -1 - channels.shift) if fast else (channels.bias, channels.shift)
    padded = np.concatenate([channels.weights.reshape(-1), [0, 0, 0]])
    params = np.column_stack([bias, channels.multiplier])
    relu = requantize.zero_point == -128
    return PackedDepthwise(padded.astype(np.int8), params.astype(np.int32), shift.astype(np.int8), fast, relu)


def _capacity(pixels: int) -> int:
    return TILE // pixels // 8 * 8


def _pixels(depth: int, available: int) -> int:
    """Return the pixels of a tile with which a pair of channels takes the fewest instructions a pixel."""

    def cost(pixels: int) -> float:
        product, pair = _PASSES[pixels]
        return (2 * depth * pixels * product + pair + _CHUNK * (-(-depth // _capacity(pixels)) - 1)) / pixels

    return min(range(1, min(available, 3) + 1), key=cost)


def _fast(channels: Channels, requantize: Requantize) -> tuple[int, Channels]:
    """Return how results are rounded, and the channels with the start values and shifts of that."""
    kinds = (RELU, SIGNED) if requantize.zero_point == -128 else (SIGNED,)
    rounding = next((kind for kind in kinds if fast_fits(channels, requantize, _LARGEST_SHIFT[kind])), EXACT)
    if rounding == EXACT:
        return EXACT, channels
    shift = -1 - channels.shift
    if rounding == RELU:
        shift[0::2] += 7
    return rounding, replace(channels, shift=shift)


def without_constants(channels: Channels, requantize: Requantize) -> Channels:
    """Return channels whose result is the same for every input with weights of zero and a scale of a quarter.

    Networks have them: a channel that died in training has a scale of next to nothing, and sums that fit no fast path.
    """
    negative, positive = np.minimum(channels.weights, 0).sum(axis=1), np.maximum(channels.weights, 0).sum(axis=1)
    least = rescaled(channels, channels.bias + 127 * negative - 128 * positive, requantize)
    largest = rescaled(channels, channels.bias - 128 * negative + 127 * positive, requantize)
    bound = np.abs(channels.bias) + 128 * np.abs(channels.weights).sum(axis=1) << np.maximum(channels.shift, 0)
    constant = (least == largest) & (channels.multiplier >= 0) & (bound < 1 << 31)  # beyond that, sums wrap
    return Channels(
        np.where(constant[:, None], 0, channels.weights),
        np.where(constant, 4 * (least - requantize.zero_point), channels.bias),
        np.where(constant, 1 << 30, channels.multiplier),
        np.where(constant, -1, channels.shift),
    )


def rescaled(channels: Channels, sums: Ints, requantize: Requantize) -> Ints:
    """Return the results of one sum for each channel, as nw_requantize computes them."""
    left, right = np.maximum(channels.shift, 0), np.maximum(-channels.shift, 0)
    scaled = (sums << left) * channels.multiplier + (1 << 30) >> 31
    half = (np.int64(1) << right) >> 1
    rounded = scaled + half - ((scaled < 0) & (right > 0)) >> right
    return np.clip(rounded + requantize.zero_point, requantize.low, requantize.high)


def fast_fits(channels: Channels, requantize: Requantize, largest_shift: int) -> bool:
    """Whether the one-instruction product is exact for every channel.

    Needed: a right shift of at least one, twice the sum within 32 bits, int8's own limits as the clamp.
    """
    largest = np.abs(channels.bias) + 128 * np.abs(channels.weights).sum(axis=1)
    right = -channels.shift
    fits = (right >= 1) & (right - 1 <= largest_shift) & (largest < 1 << 30) & (channels.multiplier >= 0)
    return bool(np.all(fits)) and (requantize.low, requantize.high) == (-128, 127)


def _pairs_fit(channels: Channels) -> bool:
    """Whether 256 a + b fits 16 bits everywhere, and the sums of all first channels 24 bits."""
    a, b = channels.weights[0::2], channels.weights[1::2]
    sums = np.abs(channels.bias[0::2]) + 128 * np.abs(a).sum(axis=1)
    return bool((256 * a + b).min() >= -(1 << 15) and np.all(sums < 1 << 23))


def _stream(
    channels: Channels, zero_point: int, chunk: int, block: int, pairs: bool, rounding: int
) -> NDArray[np.int32]:
    weights, start = channels.weights, channels.bias.copy()
    outputs, depth = weights.shape
    a, b = weights[0::2], weights[1::2]
    words = _halves(256 * a + b if pairs else (a & 255) << 8 | b & 255)
    if pairs:
        start[0::2] = 256 * start[0::2] + start[1::2]
    shifts = (channels.shift[0::2] & 255) | (channels.shift[1::2] & 255) << 8 | (2 * zero_point + 1) << 16
    params = np.column_stack([channels.multiplier[0::2], channels.multiplier[1::2], shifts])
    parts: list[Ints] = []
    for first in range(0, outputs, block):
        these = range(first // 2, min(outputs, first + block) // 2)
        for at in range(0, depth, chunk):
            for pair in these:
                if at == 0:
                    parts.append(start[2 * pair : 2 * pair + 2])
                parts.append(words[pair, at // 2 : (at + chunk) // 2])
                if at + chunk >= depth and rounding in (SIGNED, RELU):
                    parts.append(params[pair])
        if rounding in (EXACT, ONCE):
            parts += [params[pair] for pair in these]
    return np.concatenate(parts).astype(np.uint64).astype(np.uint32).view(np.int32)


def _halves(values: Ints) -> Ints:
    """Return 16-bit values (pairs, depth) as words of depths (k, k + 2), (k + 1, k + 3) of each group of four."""
    pairs, depth = values.shape
    groups = values.reshape(pairs, depth // 4, 2, 2) & 0xFFFF
    return (groups[:, :, 0] | groups[:, :, 1] << 16).reshape(pairs, depth // 2)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
