"""Depthwise convolution: the layer and its C; `convolutions` has the lowering rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netwright.mcu.code import LayerData, RowPlace, array, struct
from netwright.mcu.layer import (
    CALL_INSTRUCTIONS,
    Layer,
    Network,
    NetworkValue,
    PlanarLine,
    Requantize,
    Window,
    Work,
)
from netwright.mcu.operators.shared.pack import pack_depthwise
from netwright.mcu.operators.shared.products import (
    check_fields,
    clamp_once_more,
    limit_fields,
    window_fields,
)

_SCRATCH = 512  # bytes of lines gathered at a time, if all fit
_GROUP = 4  # outputs that the kernels take at a time


@dataclass(frozen=True, eq=False)
class Depthwise(Layer):
    """Depthwise convolution; `weights` as (height, width, out), out = in x a channel multiplier, in-major."""

    window: Window
    weights: NDArray[np.int8]
    input_zero_point: int
    requantize: Requantize

    def macs(self, values: Sequence[NetworkValue]) -> int:
        """Return the weights' multiplications."""
        height, width, _ = values[self.output].shape
        return height * width * self.weights.size

    def scratch_bytes(self, network: Network) -> int:
        """Return the bytes of the padded lines of one channel."""
        return self._lines(network) * self.line_bytes(network)

    def in_place(self, network: Network) -> tuple[int, ...]:
        """Return the input, where there is no channel multiplier and its rows are read before they are overwritten.

        The kernel runs channel by channel and gathers each input row of the channel once; a channel's results only
        replace elements of that channel, and output row y ends, densely packed, no later than input row y, which is
        gathered by then.
        """
        given, made = network.values[self.inputs[0]].shape, network.values[self.output].shape
        reach = (self.window.kernel[0] - 1) * self.window.dilation[0]
        fits = given[2] == made[2] and made[1] <= given[1] and made[0] <= given[0]
        return (network.root(self.inputs[0]),) if fits and reach >= self.window.padding[0] else ()

    def streams(self, network: Network) -> bool:
        """Return whether there is no channel multiplier."""
        return network.values[self.inputs[0]].shape[2] == network.values[self.output].shape[2]

    @property
    def row_window(self) -> Window:
        """The window."""
        return self.window

    def planar_line(self, network: Network) -> PlanarLine:
        """Return the line of one channel."""
        return PlanarLine(self.line_bytes(network), self.window.padding[2], self.input_zero_point)

    def clamped(self, low: int, high: int) -> Layer:
        """Return it with its results clamped once more."""
        return replace(self, requantize=clamp_once_more(self.requantize, low, high))

    def estimate(self, network: Network, rows: int) -> float:
        """Return instructions by products, by the channels that are gathered, and by filters that are set up.

        Figures of 24 layers of kernels 3, 5 and 7, 5 to 40 pixels wide, counted under emulation; within 11 % of each.
        """
        high, wide = self.window.kernel
        taps = high * wide
        height, _, channels = network.values[self.output].shape
        outputs = network.values[self.output].bytes * (rows / height if rows else 1.0)
        given = network.values[self.inputs[0]].bytes
        if rows:
            products = 2.2 * taps if high <= 3 else 0.73 * taps + 3.4 * wide
            spent = outputs * products + (71 if high <= 3 else 89) * high * channels * rows
        elif high <= 3:
            spent = outputs * 2.2 * taps + 4.2 * given + 277 * channels
        else:
            spent = outputs * (1.12 * taps + 0.8 * wide) + 6.3 * given + channels * height * (43 + 29 * high)
        return spent + CALL_INSTRUCTIONS

    def work(self, network: Network, by_rows: bool) -> Work:
        """Return rows of channels and elements, read and made, the last also in groups of four beside each other."""
        del by_rows
        (tall, wide), (down, right) = self.window.kernel, self.window.stride
        given, (height, width, channels) = network.values[self.inputs[0]].shape, network.values[self.output].shape
        rows = channels * height
        groups = rows * -(-width // _GROUP)
        kind = f"depthwise {tall}x{wide}/{down},{right}"
        return kind, (channels * given[0], rows, math.prod(given), rows * width, groups)

    def flash(self) -> tuple[Work, str]:
        """Return channels and weights; the compiler makes code for each window."""
        features = (1, len(self.requantize.multiplier), self.weights.size)
        return (f"constants {self.type_name}", features), f"{self.type_name} {self.window.kernel}/{self.window.stride}"

    def data(self, network: Network, name: str) -> LayerData:
        """Return weights, parameters and shifts by channel, and the kernel's struct."""
        outputs = self.weights.shape[2]
        (height, width, channels), (out_height, out_width, _) = (
            network.values[index].shape for index in (self.inputs[0], self.output)
        )
        fields = {
            **window_fields(self.window),
            **{"inputs": channels, "multiplier": outputs // channels, "dilation_h": self.window.dilation[0]},
            **{"height": height, "width": width, "out_height": out_height, "out_width": out_width},
            **{"line": self.line_bytes(network), "lines": self._lines(network)},
            **limit_fields(self.requantize, self.input_zero_point),
        }
        check_fields(self, outputs=outputs, **fields)
        packed = pack_depthwise(self.weights, self.requantize, fast=self._fast_kernel() != 0)
        fields |= {"kernel": self._fast_kernel() if packed.fast else 0, "relu": int(packed.relu)}
        arrays = {"weights": packed.weights, "params": packed.params, "shifts": packed.shifts}
        text = "".join(array(f"{name}_{what}", values) for what, values in arrays.items())
        pointers = {what: f"{name}_{what}" for what in arrays}
        whole = struct("nw_depthwise", f"{name}_depthwise", {**pointers, **fields}.items())
        return LayerData(text + whole, frozenset(["depthwise"]))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call that computes a whole tensor, densely packed; `out` may be the input (`in_place`)."""
        _, width, channels = network.values[self.output].shape
        return f"nw_depthwise_all(&{name}_depthwise, {inputs[0]}, {out}, {scratch}, {width * channels});"

    def row(self, network: Network, name: str, place: RowPlace) -> list[str]:
        """Return the call that computes one row from lines of channels."""
        del network
        lines = place.window()
        if place.tiled:
            lines += [
                f"nw_depthwise part_depthwise = {name}_depthwise;",
                f"part_depthwise.out_width = (int16_t){place.width};",
                f"part_depthwise.line = {place.line};",
            ]
            name = "part"
        return [*lines, f"nw_depthwise_row(&{name}_depthwise, rows, {place.line}, {place.out});"]

    def line_bytes(self, network: Network) -> int:
        """Return the bytes of a padded line of one channel: zero points, the row, zero points, what kernels may read."""
        window = self.window
        width, out_width = network.values[self.inputs[0]].shape[1], network.values[self.output].shape[1]
        read = (out_width - 1) * window.stride[1] + (window.kernel[1] - 1) * window.dilation[1] + 1
        kernel, stride = self._fast_kernel(), window.stride[1]
        if kernel == 3:  # words of four, two outputs on, then the odd one
            read = max(read, (out_width - 1) * stride + 4 if out_width % 2 else 0)
        elif kernel:  # four outputs at a time: the last word that is loaded for them
            last = {(5, 1): 8, (7, 1): 12, (5, 2): 12, (7, 2): 13}[kernel, stride]
            read = max(read, (out_width - 1) // 4 * 4 * stride + last)
        return -(-max(read, window.padding[2] + width) // 4) * 4

    def _lines(self, network: Network) -> int:
        """Return the padded lines of one channel gathered at a time: those under the kernel, or all if they are few."""
        rows = network.values[self.output].shape[0]
        span = (self.window.kernel[0] - 1) * self.window.dilation[0] + 1
        total = (rows - 1) * self.window.stride[0] + span
        return min(total, max(span, _SCRATCH // self.line_bytes(network)))

    def _fast_kernel(self) -> int:
        """Return which of the fast kernels takes the window: 3 (3x3), 5 (up to 5 columns), 7 (up to 7), 0 for none."""
        window = self.window
        if window.dilation[1] != 1 or window.stride[1] > 2 or window.kernel[1] > 7:
            return 0
        return 3 if window.kernel == (3, 3) else 5 if window.kernel[1] <= 5 else 7
