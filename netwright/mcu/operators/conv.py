"""Convolution: the layer and its C; `convolutions` has the lowering rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from netwright.mcu.code import LayerData, RowPlace, array, struct
from netwright.mcu.layer import CALL_INSTRUCTIONS, Layer, Network, NetworkValue, Requantize, Window, Work
from netwright.mcu.operators.shared.pack import TILE, pack_matrix
from netwright.mcu.operators.shared.products import (
    check_fields,
    clamp_once_more,
    limit_fields,
    matrix_fields,
    window_fields,
)

_FLAT = 80  # depths up to which three pixels fit a tile: windows that are gathered without gaps
_REQUANTIZE = 12  # estimated instructions of an accumulator's requantization
_ROW = 150  # and of a row call
_TILE, _CHUNK = 3, 80  # pixels and depths that the kernels take at a time


@dataclass(frozen=True, eq=False)
class Conv(Layer):
    """Convolution; `weights` as (out, height, width, in). A 1x1 of stride 1 without padding is pointwise."""

    window: Window
    weights: NDArray[np.int8]
    input_zero_point: int
    requantize: Requantize

    writes_planar: ClassVar[bool] = True

    @property
    def pointwise(self) -> bool:
        """Whether every output pixel reads just the input pixel at its place."""
        return self.window == Window((1, 1), (1, 1), (0, 0, 0, 0), self.window.dilation)

    def macs(self, values: Sequence[NetworkValue]) -> int:
        """Return the weights' multiplications."""
        height, width, _ = values[self.output].shape
        return height * width * self.weights.size

    def streams(self, network: Network) -> bool:
        """Every convolution makes rows."""
        del network
        return True

    @property
    def row_window(self) -> Window:
        """The window."""
        return self.window

    def clamped(self, low: int, high: int) -> Layer:
        """Return it with its results clamped once more."""
        return replace(self, requantize=clamp_once_more(self.requantize, low, high))

    def estimate(self, network: Network, rows: int) -> float:
        """Return instructions by outputs and products."""
        made = network.values[self.output]
        outputs = made.bytes * (rows / made.shape[0] if rows else 1.0)
        taps = self.window.kernel[0] * self.window.kernel[1] * self.weights.shape[3]
        return outputs * (0.95 * taps + _REQUANTIZE) + rows * (_ROW + 5 * made.shape[2]) + CALL_INSTRUCTIONS

    def work(self, network: Network, by_rows: bool) -> Work:
        """Return calls, pixels and products, the latter also in tiles of three pixels and in chunks of the depth."""
        (tall, wide), (down, right) = self.window.kernel, self.window.stride
        height, width, channels = network.values[self.output].shape
        depth = tall * wide * network.values[self.inputs[0]].shape[2]
        pixels = height * width
        calls = height if by_rows else 1
        tiles = calls * -(-(pixels // calls) // _TILE)
        chunks = -(-depth // _CHUNK)
        outputs = pixels * channels
        products = (outputs, outputs * depth, tiles * channels, tiles * channels * depth, outputs * chunks)
        kind = "pointwise" if self.pointwise else f"conv {tall}x{wide}/{down},{right}"
        return kind, (height, pixels, pixels * depth, *products)

    def flash(self) -> tuple[Work, str]:
        """Return channels and weights; pointwise convolutions have code of their own."""
        kind = "pointwise" if self.pointwise else self.type_name
        return (f"constants {kind}", (1, len(self.requantize.multiplier), self.weights.size)), kind

    def data(self, network: Network, name: str) -> LayerData:
        """Return the packed weights and the kernel's struct."""
        return _pointwise_data(network, self, name) if self.pointwise else _conv_data(network, self, name)

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call that computes a whole tensor; input and output do not overlap."""
        del scratch
        if self.pointwise:
            height, width, _ = network.values[self.output].shape
            return self._pixels(name, inputs[0], out, str(height * width), 0)
        return f"nw_conv_all(&{name}_conv, {inputs[0]}, {out});"

    def row(self, network: Network, name: str, place: RowPlace) -> list[str]:
        """Return the call that computes one row."""
        del network
        if self.pointwise:
            return [self._pixels(name, place.inputs()[0], place.out, place.width, place.planar)]
        lines = place.window()
        if place.tiled:
            lines += [
                f"nw_conv part_conv = {name}_conv;",
                f"part_conv.width = (int16_t){place.read_width};",
                f"part_conv.out_width = (int16_t){place.width};",
                f"part_conv.pad_left = (int16_t){place.read_padding};",
            ]
            name = "part"
        pixel, channel = (1, place.planar) if place.planar else (len(self.weights), 1)
        return [*lines, f"nw_conv_row(&{name}_conv, rows, {place.out}, {pixel}, {channel});"]

    def _pixels(self, name: str, given: str, out: str, pixels: str, planar: int) -> str:
        """Return the call for so many pixels, into out[c x planar + x] if that is not 0."""
        outputs, depth = len(self.weights), self.weights.shape[-1]
        pixel, channel = (1, planar) if planar else (outputs, 1)
        return f"nw_pointwise(&{name}_matrix, {given}, {out}, {pixels}, {depth}, {pixel}, {channel});"


def _pointwise_data(network: Network, layer: Conv, name: str) -> LayerData:
    width = network.values[layer.output].shape[1]
    packed = pack_matrix(layer.weights.reshape(len(layer.weights), -1), layer.requantize, pixels=width)
    check_fields(layer, depth=packed.depth, outputs=len(layer.weights))
    limits = limit_fields(layer.requantize, layer.input_zero_point)
    fields = matrix_fields(packed, len(layer.weights), limits, name)
    text = array(f"{name}_weights", packed.stream) + struct("nw_matrix", f"{name}_matrix", fields.items())
    return LayerData(text, frozenset(["pointwise"]))


def _conv_data(network: Network, layer: Conv, name: str) -> LayerData:
    outputs, kernel_h, kernel_w, channels = layer.weights.shape
    (height, width, _), (out_height, out_width, _) = (network.values[i].shape for i in (layer.inputs[0], layer.output))
    runs_in_row = 1 if layer.window.dilation[1] == 1 else kernel_w
    run = kernel_w * channels // runs_in_row
    flat = channels % 4 != 0 and runs_in_row == 1 and kernel_h * run <= _FLAT
    runs = layer.weights.reshape(outputs, kernel_h * runs_in_row, run)
    head = run // 4 * 4
    padded = run if flat else -(-run // 4) * 4
    if flat:
        parts = runs[:, :, :head].reshape(outputs, -1), runs[:, :, head:].reshape(outputs, -1)
        padded_runs = np.concatenate(parts, axis=1)
    else:
        padded_runs = np.pad(runs, ((0, 0), (0, 0), (0, padded - run))).reshape(outputs, -1)
    packed = pack_matrix(padded_runs, layer.requantize, pixels=out_width)
    fields = {
        **window_fields(layer.window),
        **{"height": height, "width": width, "channels": channels, "out_height": out_height, "out_width": out_width},
        **{"run": run, "padded_run": padded, "runs_in_row": runs_in_row, "flat": int(flat)},
    }
    check_fields(layer, outputs=outputs, depth=packed.depth, **fields)
    limits = limit_fields(layer.requantize, layer.input_zero_point)
    matrix = ", ".join(f".{key} = {value}" for key, value in matrix_fields(packed, outputs, limits, name).items())
    padding = np.full(min(channels, TILE), layer.input_zero_point, np.int8)
    text = array(f"{name}_weights", packed.stream) + array(f"{name}_padding", padding)
    whole = {"matrix": f"{{{matrix}}}", **fields, "padding": f"{name}_padding"}
    return LayerData(text + struct("nw_conv", f"{name}_conv", whole.items()), frozenset(["conv"]))
