"""Integer networks from block descriptions, with random weights: what a network costs before anybody has trained it.

Shapes, schedule, arena, flash and instructions of the C code do not depend on the values of trained weights, so the
whole way from `Network` to an emulator can be measured for any architecture of a space.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.mcu.network import (
    Add,
    Conv,
    Dense,
    Depthwise,
    Layer,
    Mean,
    Network,
    NetworkValue,
    Requantize,
    Window,
)
from netwright.nn.block import Block, Shape
from netwright.nn.mbconv import MBConv
from netwright.nn.simple import ConvNorm, PoolHead

_SPREAD = 40  # standard deviation aimed at for stored activations
_DEVIATION = 32  # of stored weights, whose largest is 127: as trained ones are
_RELU_LIKE = ("relu", "relu6")


def network_of_blocks(
    blocks: Mapping[str, Block] | Iterable[Block], in_shape: Shape, *, seed: int | None = 0
) -> Network:
    """Return the integer network of a chain of blocks for an input (channels, height, width).

    Normalization is folded into the convolutions, as quantization does. Weights, biases and multipliers are random,
    such that activations fill int8; with `seed` None all are the same few values, which takes no time and is enough to
    plan.

    Raises:
        NetwrightError: a block other than `ConvNorm`, `MBConv` without squeeze-excitation, and `PoolHead`; or an
            activation that is no clamp.
    """
    builder = _Builder(in_shape, None if seed is None else np.random.default_rng(seed))
    for block in blocks.values() if isinstance(blocks, Mapping) else blocks:
        builder.block(block)
    return builder.network()


class _Builder:
    """Appends layers; `last` is the value that the next block reads."""

    def __init__(self, in_shape: Shape, rng: np.random.Generator | None):
        channels, height, width = in_shape
        self.rng = rng
        self.values = [NetworkValue("input", (height, width, channels), scale=1.0)]
        self.layers: list[Layer] = []
        self.last = 0

    def network(self) -> Network:
        """Return what was built."""
        macs = sum(layer.macs(self.values) for layer in self.layers)
        return Network(tuple(self.values), tuple(self.layers), (0,), (self.last,), macs)

    def block(self, block: Block) -> None:
        """Append the layers of one block."""
        if isinstance(block, ConvNorm):
            self.conv(block.out_channels, block.kernel, block.stride, _clamped(block.activation))
        elif isinstance(block, MBConv) and not block.squeeze_excite:
            self.bottleneck(block)
        elif isinstance(block, PoolHead):
            self.mean()
            if block.hidden:
                self.dense(block.hidden, _clamped(block.activation))
            self.dense(block.classes, False)
        else:
            raise NetwrightError(
                f"{block} has no integer form here. Allowed: ConvNorm, MBConv without squeeze-excitation, PoolHead. "
                "Quantize a network that has it with netwright.compression.quantize instead."
            )

    def bottleneck(self, block: MBConv) -> None:
        """Append an inverted bottleneck: expand, depthwise, project, and the sum with its input."""
        start, clamped = self.last, _clamped(block.activation)
        if block.expands:
            self.conv(block.hidden, 1, 1, clamped)
        self.depthwise(block.kernel, block.stride, clamped)
        self.conv(block.out_channels, 1, 1, False)
        if block.stride == 1 and block.in_channels == block.out_channels:
            self.add(start)

    def conv(self, out: int, kernel: int, stride: int, clamped: bool) -> None:
        """Append a convolution with padding kernel // 2."""
        channels = self.values[self.last].shape[2]
        weights = self._weights((out, kernel, kernel, channels))
        shape = self._after(stride, out)
        requantize = self._requantize(weights.reshape(out, -1), clamped)
        self._append(Conv, shape, clamped, self._window(kernel, stride), weights, self._zero_point(), requantize)

    def depthwise(self, kernel: int, stride: int, clamped: bool) -> None:
        """Append a depthwise convolution with padding kernel // 2."""
        channels = self.values[self.last].shape[2]
        weights = self._weights((kernel, kernel, channels))
        shape = self._after(stride, channels)
        requantize = self._requantize(weights.reshape(-1, channels).T, clamped)
        self._append(Depthwise, shape, clamped, self._window(kernel, stride), weights, self._zero_point(), requantize)

    def dense(self, out: int, clamped: bool) -> None:
        """Append a fully connected layer."""
        weights = self._weights((out, self.values[self.last].shape[-1]))
        requantize = self._requantize(weights, clamped)
        self._append(Dense, (out,), clamped, weights, self._zero_point(), requantize)

    def mean(self) -> None:
        """Append global average pooling; the multiplier is one over the number of pixels."""
        height, width, channels = self.values[self.last].shape
        multiplier, shift = _fixed_point(np.array([1 / (height * width)]))
        zero_point = self._zero_point()
        self._append(Mean, (channels,), False, (0, 1), zero_point, int(multiplier[0]), int(shift[0]), zero_point)

    def add(self, other: int) -> None:
        """Append the sum of the last value and an earlier one, each at half its scale."""
        halves, shifts = (array.tolist() for array in _fixed_point(np.array([0.4, 0.4, 2.0**-19])))
        zero_points = (self.values[other].zero_point, self._zero_point(), 0)
        out = self._value("sum", self.values[self.last].shape, False)
        factors = (halves[0], halves[1], halves[2]), (shifts[0], shifts[1], shifts[2])
        self.layers.append(Add((other, self.last), out, f"add{out}", 1, 20, zero_points, *factors, -128, 127))
        self.last = out

    def _append(self, kind: type[Layer], shape: tuple[int, ...], clamped: bool, *fields: object) -> None:
        out = self._value(kind.__name__.lower(), shape, clamped)
        self.layers.append(kind((self.last,), out, f"{kind.__name__.lower()}{out}", *fields))  # type: ignore[call-arg]
        self.last = out

    def _value(self, name: str, shape: tuple[int, ...], clamped: bool) -> int:
        self.values.append(
            NetworkValue(f"{name}{len(self.values)}", shape, scale=1.0, zero_point=-128 if clamped else 0)
        )
        return len(self.values) - 1

    def _after(self, stride: int, channels: int) -> tuple[int, int, int]:
        height, width, _ = self.values[self.last].shape
        return (height - 1) // stride + 1, (width - 1) // stride + 1, channels

    def _zero_point(self) -> int:
        return self.values[self.last].zero_point

    def _window(self, kernel: int, stride: int) -> Window:
        side = kernel // 2
        return Window((kernel, kernel), (stride, stride), (side, side, side, side))

    def _weights(self, shape: tuple[int, ...]) -> NDArray[np.int8]:
        if self.rng is None:
            return np.broadcast_to(np.int8(1), shape)
        return np.clip(np.rint(self.rng.normal(0, _DEVIATION, shape)), -127, 127).astype(np.int8)

    def _requantize(self, weights_OK: NDArray[np.int8], clamped: bool) -> Requantize:
        """Return multipliers that bring sums of K products back to int8, each a little different."""
        channels, terms = weights_OK.shape
        zero_point = -128 if clamped else 0
        if self.rng is None:
            bias, multiplier, shift = (np.broadcast_to(np.int32(value), channels) for value in (0, 1 << 30, -8))
            return Requantize(bias, multiplier, shift, zero_point, -128, 127)
        scales = self.rng.uniform(0.7, 1.4, channels) / (_DEVIATION * math.sqrt(terms))
        bias = self.rng.normal(0, _DEVIATION * _SPREAD * math.sqrt(terms) / 4, channels)
        bias -= self._zero_point() * weights_OK.sum(1, dtype=np.int64)
        multiplier, shift = _fixed_point(scales)
        return Requantize(np.round(bias).astype(np.int32), multiplier, shift, zero_point, -128, 127)


def _fixed_point(scales: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return multipliers of 31 bits and shifts (greater than 0: left) of factors below 2^30."""
    fraction, exponent = np.frexp(scales)
    multiplier = np.minimum(np.round(fraction * 2.0**31), 2**31 - 1).astype(np.int32)
    return multiplier, exponent.astype(np.int32)


def _clamped(activation: str) -> bool:
    """Whether an activation is a clamp at zero, which requantization does for nothing."""
    if activation not in (*_RELU_LIKE, "none"):
        raise NetwrightError(
            f"Activation {activation!r} has no integer form here. Allowed: none, {', '.join(_RELU_LIKE)}. "
            "Quantize a trained network with netwright.compression.quantize instead."
        )
    return activation != "none"
