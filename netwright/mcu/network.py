"""An integer network as its C code sees it: layers with every constant precomputed, on int8 tensors of batch 1.

`lower` makes it from a `QuantizedGraph`; scheduling, packing and code generation read it. Quantization is gone from
here on: what is left of it are zero points, 32-bit multipliers with shifts, and clamps (Jacob et al. 2018,
arXiv:1712.05877).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor between layers. `shape` without the batch: (height, width, channels), or fewer dimensions.

    `alias`: the value whose bytes it shares (a reshape), -1 for its own. real = scale x (stored - zero_point).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: float = 0.0
    zero_point: int = 0
    alias: int = -1

    @property
    def bytes(self) -> int:
        """Bytes of the values, densely packed."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class Requantize:
    """How int32 accumulators become int8, per output channel.

    clamp(multiply_by_quantized_multiplier(acc + bias, multiplier, shift) + zero_point, low, high), where shift > 0 is
    to the left, with TensorFlow Lite's double rounding. `bias` already holds -input_zero_point x (sum of the weights),
    so kernels multiply stored values; a padded element therefore stands for `input_zero_point`. `reals`: what a dense layer's
    sums are multiplied by in float64, where no multiplier gives the same; multipliers then only tell their size.
    """

    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]
    zero_point: int
    low: int
    high: int
    reals: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel slides: sides, stride, dilation as (vertical, horizontal); padding as (top, bottom, left, right)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False)
class Layer:
    """One computation: indices of the values that it reads and of the one that it makes, and the name it had."""

    inputs: tuple[int, ...]
    output: int
    name: str


@dataclass(frozen=True, eq=False)
class Conv(Layer):
    """Convolution; `weights` as (out, height, width, in). A 1x1 of stride 1 without padding is pointwise."""

    window: Window
    weights: NDArray[np.int8]
    input_zero_point: int
    requantize: Requantize

    @property
    def pointwise(self) -> bool:
        """Whether every output pixel reads just the input pixel at its place."""
        return self.window == Window((1, 1), (1, 1), (0, 0, 0, 0), self.window.dilation)


@dataclass(frozen=True, eq=False)
class Depthwise(Layer):
    """Depthwise convolution; `weights` as (height, width, out), out = in x a channel multiplier, in-major."""

    window: Window
    weights: NDArray[np.int8]
    input_zero_point: int
    requantize: Requantize


@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """Fully connected layer, applied to every row of the last dimension; `weights` as (out, in).

    Its products are rounded once, ties away from zero, unlike a convolution's: acc x multiplier / 2**(31 - shift) in 64
    bits. LiteRT 2 computes them in float64; lowering proves both equal (graph/integers/fixed.py: multipliers_once), or
    leaves them in float64 (`Requantize.reals`).
    """

    weights: NDArray[np.int8]
    input_zero_point: int
    requantize: Requantize


@dataclass(frozen=True, eq=False)
class Add(Layer):
    """Elementwise sum or difference (`sign` -1) of two values of one shape, or of one and a constant, or broadcast.

    Each input: (stored - zero_point) << left_shift, times its multiplier; the sum times the output's (add.h of the
    reference kernels). Multipliers and shifts are (first, second, output), shifts > 0 to the left.
    """

    sign: int
    left_shift: int
    zero_points: tuple[int, int, int]
    multipliers: tuple[int, int, int]
    shifts: tuple[int, int, int]
    low: int
    high: int
    constant: NDArray[np.int8] | None = None  # the second operand, where it is no value


@dataclass(frozen=True, eq=False)
class Multiply(Layer):
    """Elementwise product of two values, of one and a constant, or broadcast."""

    zero_points: tuple[int, int, int]
    multiplier: int
    shift: int
    low: int
    high: int
    constant: NDArray[np.int8] | None = None


@dataclass(frozen=True, eq=False)
class Prelu(Layer):
    """x where x >= 0, else x times a slope of a constant that broadcasts (prelu.h of the reference kernels).

    `zero_points` are of (input, slope, output); multipliers and shifts of (x, x times slope).
    """

    zero_points: tuple[int, int, int]
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    constant: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class BatchMatmul(Layer):
    """Products of matrices, the last two dimensions of two values; leading ones broadcast, `turned` swaps those two.

    sum of (a - zero) x (b - zero), times one multiplier, plus the output's zero point (batch_matmul.h).
    """

    turned: tuple[bool, bool]
    zero_points: tuple[int, int, int]
    multiplier: int
    shift: int


@dataclass(frozen=True, eq=False)
class TransposeConv(Layer):
    """Transposed convolution: pixel (y, x) adds weights x value to outputs from (y stride - top, x stride - left) on.

    `weights` as (out, height, width, in); `requantize.bias` is the plain one, for how many weights meet an output
    depends on its place.
    """

    window: Window
    weights: NDArray[np.int8]
    input_zero_point: int
    requantize: Requantize


@dataclass(frozen=True, eq=False)
class Resize(Layer):
    """Interpolation between pixels; for each output row and column (lower, upper, weight of the upper of 1024).

    Nearest neighbours have weights of 0 (resize_bilinear.h, ResizeBilinearInteger).
    """

    rows: NDArray[np.int16]
    columns: NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Pool(Layer):
    """Average or largest value under a window; the average counts only what lies in the image."""

    kind: str  # "average" or "max"
    window: Window
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Mean(Layer):
    """Mean over the dimensions `axes`, requantized with one multiplier (reduce.h of the reference kernels)."""

    axes: tuple[int, ...]
    input_zero_point: int
    multiplier: int
    shift: int
    zero_point: int


@dataclass(frozen=True, eq=False)
class Lookup(Layer):
    """A function of one int8 value: table[stored + 128]. Logistic, tanh, hard-swish, ReLUs, requantization."""

    table: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Softmax(Layer):
    """Softmax over the last dimension, in the reference kernels' fixed point (softmax.h)."""

    multiplier: int
    left_shift: int
    diff_min: int


@dataclass(frozen=True, eq=False)
class Copy(Layer):
    """Moves elements: output[i] = input[start + sum(i_d x stride_d)] over `shape`; what is outside is `fill`.

    Padding, slices, transposes, nearest-neighbour resizing and concatenation parts all are copies: `writes` says where
    each part lands. Defined in `copies.py`, which makes the parts.
    """

    parts: tuple[Part, ...]
    fill: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A block copied from the input number `source`: `shape` elements, with offsets and strides in elements."""

    source: int
    shape: tuple[int, ...]
    from_offset: int
    from_strides: tuple[int, ...]
    to_offset: int
    to_strides: tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """Layers in an order in which they may run. `inputs`, `outputs`: indices of values."""

    values: tuple[Value, ...]
    layers: tuple[Layer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int
    notes: tuple[str, ...] = field(default=())

    def root(self, value: int) -> int:
        """Return the value whose bytes a value shares, itself if it has its own."""
        while self.values[value].alias >= 0:
            value = self.values[value].alias
        return value


def layer_macs(layer: Layer, values: Sequence[Value]) -> int:
    """Return the multiplications of weights, or of two values, that a layer needs, those with padding included."""
    if isinstance(layer, Conv | Depthwise):
        height, width, _ = values[layer.output].shape
        return height * width * layer.weights.size
    if isinstance(layer, TransposeConv):
        height, width, _ = values[layer.inputs[0]].shape
        return height * width * layer.weights.size
    if isinstance(layer, BatchMatmul):
        return values[layer.output].bytes * values[layer.inputs[0]].shape[-2 if layer.turned[0] else -1]
    if isinstance(layer, Dense):
        return values[layer.inputs[0]].bytes * len(layer.weights)
    return 0
