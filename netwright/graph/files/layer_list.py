"""Read an int8 network given as a plain list of layers: JSON for the structure, an .npz of the same name for the numbers.

The format "q8net/1" describes convolutions in PyTorch's layout (NCHW, weights OIHW) with symmetric padding, blocks of them
with an optional residual addition, and one rounded average pooling. Here it becomes "tflite.*" operations in NHWC: padding
that SAME does not give becomes a PAD, multipliers become TensorFlow Lite's fixed point, the residual sum its ADD.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.conv import window_padding
from netwright.graph.integers.quantized import Quantization, QuantizedGraph

FORMAT = "q8net/1"
# What a damaged archive raises in zipfile and NumPy; MemoryError: an array that says it is larger than anything.
_UNREADABLE = (
    LookupError,
    TypeError,
    ValueError,
    EOFError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_layer_list(path: str | Path) -> QuantizedGraph:
    """Return the network of a layer list; its arrays lie beside it, under the same name with `.npz`.

    Raises:
        NetwrightError: a file cannot be read, is of another format, or describes layers that do not fit together.
    """
    path = Path(path)
    arrays_path = path.with_suffix(".npz")
    try:
        with path.open(encoding="utf-8") as file:
            described = json.load(file)
        if not isinstance(described, dict) or described.get("format") != FORMAT:
            raise NetwrightError(f"{path} is no layer list of the format {FORMAT!r}.")
        with arrays_path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise NetwrightError(f"Cannot read {error.filename or path}: {error.strerror or error}.") from error
    except _UNREADABLE as error:
        raise NetwrightError(
            f"{path} or {arrays_path.name} beside it is damaged: {error}. Fetch them again."
        ) from error
    try:
        with np.errstate(over="ignore"):  # a scale beyond float32 is refused where it is used
            return _Reading(described, arrays).model()
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise NetwrightError(f"{path} is damaged: {type(error).__name__} {error}. Fetch it again.") from error


class _Reading:
    """A layer list on its way into a graph; `at` is the tensor that the next layer reads."""

    def __init__(self, described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]):
        self.moved = 0
        self.layers = described["layers"]
        self.arrays = arrays
        self.builder = GraphBuilder("layer list", description=str(described.get("name", "")))
        first = self.layers[0]
        batch, channels, height, width = described["input"]["shape"]
        self.at = self.builder.input("input", (batch, height, width, channels), _of(first, "x"))

    def model(self) -> QuantizedGraph:
        for number, layer in enumerate(self.layers):
            if layer["op"] == "conv2d":
                self._conv(layer)
            elif layer["op"] == "block":
                self._block(layer)
            elif layer["op"] == "avgpool_round":
                _, height, width, channels = self.builder.shape(self.at)
                options: dict[str, Any] = {"filter_height": height, "filter_width": width, "stride_h": 1, "stride_w": 1}
                self.at = self.builder.op(
                    "AVERAGE_POOL_2D",
                    [self.at],
                    (1, 1, 1, channels),
                    self.builder.quantization(self.at),
                    padding="VALID",
                    name="avgpool",
                    **options,
                )
            else:
                raise ValueError(f"layer {number} is of the unknown kind {layer['op']!r}")
        batch, *rest = self.builder.shape(self.at)
        shape = (batch, int(np.prod(rest)))
        flat = self.builder.constant("output/shape", np.array(shape, np.int32))
        out = self.builder.op(
            "RESHAPE", [self.at, flat], shape, self.builder.quantization(self.at), name="output", new_shape=shape
        )
        notes = (
            [f"{self.moved} biases at the ends of int32 were moved inwards so far that no sum can pass them"]
            if self.moved
            else []
        )
        return self.builder.build([out], notes)

    def _block(self, block: Mapping[str, Any]) -> None:
        before = self.at
        for layer in block["convs"]:
            self._conv(layer)
        residual = block["residual"]
        if residual is None:
            return
        for tensor, side in ((before, "x1"), (self.at, "x2")):
            if not _equal(self.builder.quantization(tensor), _of(residual, side)):
                raise ValueError(f"block {block['index']} adds a tensor with other scales than it was made with")
        self.at = self.builder.op(
            "ADD",
            [before, self.at],
            self.builder.shape(self.at),
            _of(residual, "y"),
            name=f"block{block['index']}/add",
        )

    def _conv(self, layer: Mapping[str, Any]) -> None:
        if not _equal(self.builder.quantization(self.at), _of(layer, "x")):
            raise ValueError(f"{layer['name']} reads a tensor with other scales than it was made with")
        name, groups = layer["name"], layer["groups"]
        weight = self.arrays[f"{name}.weight"]
        if list(weight.shape) != layer["weight_shape"] or weight.dtype != np.int8:
            raise ValueError(f"{name}.weight is {weight.dtype} of shape {weight.shape}")
        depthwise = groups > 1
        if depthwise and weight.shape[1] != 1:
            raise ValueError(f"{name} is grouped but not depthwise")
        # OIHW to OHWI, or to 1HWO for depthwise convolutions, whose outputs lie along the last axis.
        filters = weight[:, 0].transpose(1, 2, 0)[None] if depthwise else weight.transpose(0, 2, 3, 1)
        scales = self.arrays[f"{name}.w_scales"]
        weights = self.builder.constant(
            f"{name}/weights", np.ascontiguousarray(filters), quantization(scales, 0, 3 if depthwise else 0)
        )
        bias_scale = (np.float64(layer["x_scale"]) * scales).astype(np.float32)
        bias = self.builder.constant(f"{name}/bias", self._bias(name), quantization(bias_scale, 0, 0))
        padding = self._pad(layer)
        stride = layer["stride"]
        _, height, width, _ = self.builder.shape(self.at)
        _, _, out_h = window_padding(height, layer["kernel"][0], stride, 1, padding)
        _, _, out_w = window_padding(width, layer["kernel"][1], stride, 1, padding)
        options: dict[str, Any] = {"depth_multiplier": layer["out_channels"] // groups} if depthwise else {}
        self.at = self.builder.op(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
            [self.at, weights, bias],
            (1, out_h, out_w, layer["out_channels"]),
            _of(layer, "y"),
            name=name,
            padding=padding,
            stride_h=stride,
            stride_w=stride,
            **options,
        )

    def _bias(self, name: str) -> NDArray[np.int32]:
        """Return a layer's bias, kept so far from the ends of int32 that no sum can pass them.

        Channels that training left without weights have biases cut off at the ends of int32, in units of next to nothing.
        """
        weight, bias = self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"]
        room = (1 << 31) - 1 - 384 * np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1)
        kept = np.clip(bias.astype(np.int64), -room, room)
        self.moved += int(np.count_nonzero(kept != bias))
        return kept.astype(np.int32)

    def _pad(self, layer: Mapping[str, Any]) -> str:
        """Return the padding that a convolution can do itself, after a PAD where it cannot."""
        _, height, width, channels = self.builder.shape(self.at)
        sides, pads = (height, width), layer["pad"]
        if not any(pads):
            return "VALID"
        same = [
            window_padding(side, kernel, layer["stride"], 1, "SAME")[:2]
            for side, kernel in zip(sides, layer["kernel"], strict=True)
        ]
        if same == [(pads[0], pads[0]), (pads[1], pads[1])]:
            return "SAME"
        widths = np.array([[0, 0], [pads[0]] * 2, [pads[1]] * 2, [0, 0]], np.int32)
        shape = (1, height + 2 * pads[0], width + 2 * pads[1], channels)
        constant = self.builder.constant(f"{layer['name']}/padding", widths)
        self.at = self.builder.op(
            "PAD", [self.at, constant], shape, self.builder.quantization(self.at), name=f"{layer['name']}/pad"
        )
        return "VALID"


def _of(layer: Mapping[str, Any], side: str) -> Quantization:
    return quantization(np.float32(layer[f"{side}_scale"]), int(layer[f"{side}_zero"]))


def _equal(one: Quantization | None, other: Quantization) -> bool:
    return one is not None and bool((one.scale == other.scale).all() and (one.zero_point == other.zero_point).all())
