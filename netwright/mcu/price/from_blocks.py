"""Integer networks from block descriptions, with random weights: what a network costs before anybody has trained it.

Shapes, schedule, arena, flash and instructions of the C code do not depend on the values of trained weights, so the
whole way from `Network` to an emulator can be measured for any architecture of a space.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.mcu.network import (
    Add,
    Conv,
    CopyBlock,
    Dense,
    Depthwise,
    Layer,
    Lookup,
    Mean,
    Multiply,
    Network,
    NetworkValue,
    Requantize,
    Window,
)
from netwright.mcu.operators.shared.copies import copy, place
from netwright.nn.block import Block, Shape
from netwright.nn.fuse import Fuse
from netwright.nn.mbconv import MBConv
from netwright.nn.simple import ConvNorm, PoolHead
from netwright.nn.wiring import Blocks, is_plain_chain, plain, wire

_SPREAD = 40  # standard deviation aimed at for stored activations
_DEVIATION = 32  # of stored weights, whose largest is 127: as trained ones are
_RELU_LIKE = ("relu", "relu6")
_FUNCTION_ZERO = -116  # of a hard-swish from -0.375 to 7.6


def _hard_swish() -> NDArray[np.int8]:
    """Return a table of it, for values of -7.7 to 7.6."""
    real = np.arange(-128, 128) * 0.06
    made = real * np.clip(real + 3, 0, 6) / 6
    return np.clip(np.rint(made / (8 / 255)) + _FUNCTION_ZERO, -128, 127).astype(np.int8)


_FUNCTIONS = {"hswish": _hard_swish}  # activations that become tables, as the quantizer makes them


def network_of_blocks(blocks: Blocks | Iterable[Block], *in_shapes: Shape, seed: int | None = 0) -> Network:
    """Return the integer network of blocks for an input (channels, height, width).

    Each block reads the one before, or what its `Reads` names. The first of a chain reads all inputs.

    Normalization is folded into the convolutions, as quantization does. Weights, biases and multipliers are random,
    such that activations fill int8; with `seed` None all are the same few values, which takes no time and is enough to
    plan.

    Raises:
        NetwrightError: a block other than `ConvNorm`, `MBConv`, `Fuse` and `PoolHead`; or an unknown activation.
    """
    blocks = named(blocks)
    if any(len(shape) != 3 for shape in in_shapes):
        first = plain(next(iter(blocks.values())))
        raise NetwrightError(
            f"{first} reads {in_shapes}, which are no images (channels, height, width): only these have an integer form here."
        )
    builder = _Builder(in_shapes, None if seed is None else np.random.default_rng(seed))
    if not is_plain_chain(blocks):
        made = {name: functools.partial(builder.block, plain(given)) for name, given in blocks.items()}
        wire(blocks).run(made, *builder.inputs)
        return builder.network()
    given = builder.inputs
    for block in map(plain, blocks.values()):
        given = (builder.block(block, *given),)
    return builder.network()


def named(blocks: Blocks | Iterable[Block]) -> Blocks:
    """Return blocks by name; those without names by their numbers."""
    if isinstance(blocks, Mapping):
        return cast(Blocks, blocks)
    return {str(number): block for number, block in enumerate(blocks)}


class _Builder:
    """Appends layers; `last` is the value that the next layer reads."""

    def __init__(self, in_shapes: Sequence[Shape], rng: np.random.Generator | None):
        self.rng = rng
        self.inputs = tuple(range(len(in_shapes)))
        self.values = [
            NetworkValue(f"input{number or ''}", (height, width, channels), scale=1.0)
            for number, (channels, height, width) in enumerate(in_shapes)
        ]
        self.layers: list[Layer] = []
        self.last = 0

    def network(self) -> Network:
        """Return what was built."""
        macs = sum(layer.macs(self.values) for layer in self.layers)
        return Network(tuple(self.values), tuple(self.layers), self.inputs, (self.last,), macs)

    def block(self, block: Block, *given: int) -> int:
        """Append the layers of one block that reads some values; return the one that it makes."""
        self.last = given[0]
        if isinstance(block, ConvNorm):
            self.conv(block.out_channels, block.kernel, block.stride, _clamped(block.activation))
            self.activate(block.activation)
        elif isinstance(block, MBConv):
            self.bottleneck(block)
        elif isinstance(block, Fuse):
            self.fuse(block, given)
        elif isinstance(block, PoolHead):
            self.mean()
            if block.hidden:
                self.dense(block.hidden, _clamped(block.activation))
                self.activate(block.activation)
            self.dense(block.classes, False)
        else:
            raise NetwrightError(
                f"{block} has no integer form here. Allowed: ConvNorm, MBConv, Fuse, PoolHead. Quantize a network "
                "that has it with netwright.quantize instead."
            )
        return self.last

    def bottleneck(self, block: MBConv) -> None:
        """Append an inverted bottleneck: expand, depthwise, project, and the sum with its input."""
        start, clamped = self.last, _clamped(block.activation)
        if block.expands:
            self.conv(block.hidden, 1, 1, clamped)
            self.activate(block.activation)
        self.depthwise(block.kernel, block.stride, clamped)
        self.activate(block.activation)
        if block.squeeze_excite:
            self.excite(block.reduced)
        self.conv(block.out_channels, 1, 1, False)
        if block.stride == 1 and block.in_channels == block.out_channels:
            self.add(start)

    def fuse(self, block: Fuse, given: Sequence[int]) -> None:
        """Append a convolution of each value, upsampling where it is smaller, and the sum or concatenation of all."""
        clamped, concatenated = _clamped(block.activation), block.join == "concatenate"
        functions = block.activation not in (*_RELU_LIKE, "none")
        parts = []
        for source, (_, kernel, stride, _) in zip(given, block.branches, strict=True):
            self.last = source
            self.conv(block.out_channels, kernel, stride, clamped and concatenated)
            if concatenated:
                self.activate(block.activation)
            parts.append(self.last)
        for number, (*_, factor) in enumerate(block.branches):
            parts[number] = self.upsample(parts[number], factor) if factor > 1 else parts[number]
        if concatenated:
            self.concatenate(parts)
            return
        self.last = parts[0]
        for number, part in enumerate(parts[1:], 2):
            self.add(part, clamped and number == len(parts))
        if functions:
            self.activate(block.activation)

    def activate(self, activation: str) -> None:
        """Append an activation that no requantization does, a table of one value."""
        if activation in _FUNCTIONS:
            shape = self.values[self.last].shape
            out = self._value("lookup", shape, False)
            self.values[out] = replace(self.values[out], zero_point=_FUNCTION_ZERO)
            self.layers.append(Lookup((self.last,), out, f"{activation}{out}", _FUNCTIONS[activation]()))
            self.last = out

    def excite(self, reduced: int) -> None:
        """Append squeeze-excitation: means, two convolutions of one pixel, the second clamped to a gate, and the product."""
        start = self.last
        height, width, channels = self.values[start].shape
        multiplier, shift = _fixed_point(np.array([1 / (height * width)]))
        zero_point = self._zero_point()
        constants = (0, 1), zero_point, int(multiplier[0]), int(shift[0]), zero_point
        self._append(Mean, (1, 1, channels), False, *constants)
        self.values[self.last] = replace(self.values[self.last], zero_point=zero_point)
        self.conv(reduced, 1, 1, True)
        self.conv(channels, 1, 1, True)
        out = self._value("product", (height, width, channels), False)
        points = zero_point, self._zero_point(), 0
        self.layers.append(Multiply((start, self.last), out, f"multiply{out}", points, 1 << 30, -7, -128, 127))
        self.last = out

    def upsample(self, source: int, factor: int) -> int:
        """Append nearest-neighbour upsampling by a whole factor; return its result."""
        given = self.values[source]
        height, width, channels = given.shape
        out = self._value("upsampled", (factor * height, factor * width, channels), given.zero_point != 0)
        row = width * channels
        part = CopyBlock(
            0,
            (height, factor, width, factor, channels),
            0,
            (row, 0, channels, 0, 1),
            0,
            (factor * factor * row, factor * row, factor * channels, channels, 1),
        )
        self.layers.append(copy((source,), out, f"upsample{out}", (part,)))
        return out

    def concatenate(self, sources: Sequence[int]) -> None:
        """Append the concatenation of values along their channels."""
        first, whole = self.values[sources[0]], sum(self.values[source].shape[2] for source in sources)
        parts, at = [], 0
        for number, source in enumerate(sources):
            parts.append(place(number, self.values[source].shape, 2, at, whole))
            at += self.values[source].shape[2]
        out = self._value("joined", (*first.shape[:2], whole), first.zero_point != 0)
        self.layers.append(copy(tuple(sources), out, f"concatenate{out}", tuple(parts)))
        self.last = out

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

    def add(self, other: int, clamped: bool = False) -> None:
        """Append the sum of the last value and an earlier one, each at half its scale."""
        halves, shifts = (array.tolist() for array in _fixed_point(np.array([0.4, 0.4, 2.0**-19])))
        zero_points = (self.values[other].zero_point, self._zero_point(), -128 if clamped else 0)
        out = self._value("sum", self.values[self.last].shape, clamped)
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
    if activation not in (*_RELU_LIKE, *_FUNCTIONS, "none"):
        raise NetwrightError(
            f"Activation {activation!r} has no integer form here. Allowed: none, {', '.join((*_RELU_LIKE, *_FUNCTIONS))}. "
            "Quantize a trained network with netwright.quantize instead."
        )
    return activation in _RELU_LIKE
