"""C of convolutions, depthwise convolutions and dense layers: their constants, and calls on whole tensors or rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.mcu.emit.code import Data, array, struct
from netwright.mcu.lower.pack import TILE, Packed, pack_depthwise, pack_matrix
from netwright.mcu.network import Conv, Dense, Depthwise, Layer, Network

_LARGEST = 32767  # sides and channels lie in int16 fields
_FLAT = 80  # depths up to which three pixels fit a tile: windows that are gathered without gaps
_SCRATCH = 512
_ROWS = 16  # NW_CONV_ROWS, NW_DEPTHWISE_ROWS


def data(network: Network, layer: Layer, name: str) -> Data:
    """Return the constants of a convolution, depthwise convolution or dense layer."""
    if isinstance(layer, Depthwise):
        return _depthwise_data(network, layer, name)
    if isinstance(layer, Conv):
        return _pointwise_data(network, layer, name) if layer.pointwise else _conv_data(network, layer, name)
    if isinstance(layer, Dense) and layer.requantize.reals is not None:
        return _real_dense_data(layer, layer.requantize.reals, name)
    if isinstance(layer, Dense):
        rows = network.values[layer.inputs[0]].bytes // layer.weights.shape[1]
        packed = pack_matrix(layer.weights, layer.requantize, pixels=rows, once=True)
        _check(layer, depth=packed.depth, outputs=len(layer.weights))
        stream = array(f"{name}_weights", packed.stream)
        return Data(
            stream + struct("nw_matrix", f"{name}_matrix", _matrix(layer, packed, name).items()),
            frozenset(["pointwise"]),
        )
    raise TypeError(f"{type(layer).__name__} is no convolution")


def conv_call(layer: Conv, network: Network, name: str, in_: str, out: str) -> str:
    """Return the statement that computes a whole tensor, NHWC."""
    if layer.pointwise:
        height, width, _ = network.values[layer.output].shape
        return pointwise_call(layer, network, name, in_, out, str(height * width))
    return f"nw_conv_all(&{name}_conv, {in_}, {out});"


def conv_row_call(layer: Conv, network: Network, name: str, rows: str, out: str) -> str:
    """Return the statement that computes one NHWC output row. `rows`: kernel_h row pointers, NULL for padding."""
    del network
    return f"nw_conv_row(&{name}_conv, {rows}, {out}, {len(layer.weights)}, 1);"


def conv_row_planar_call(layer: Conv, network: Network, name: str, rows: str, out: str, channel_stride: str) -> str:
    """Return the statement that computes one output row into out[c * channel_stride + x]."""
    del network, layer
    return f"nw_conv_row(&{name}_conv, {rows}, {out}, 1, {channel_stride});"


def pointwise_call(layer: Conv, network: Network, name: str, in_: str, out: str, pixels: str) -> str:
    """Return the statement that computes `pixels` pixels, NHWC; in_ and out do not overlap."""
    del network
    outputs, depth = len(layer.weights), layer.weights.shape[-1]
    return f"nw_pointwise(&{name}_matrix, {in_}, {out}, {pixels}, {depth}, {outputs}, 1);"


def pointwise_planar_call(
    layer: Conv, network: Network, name: str, in_: str, out: str, pixels: str, channel_stride: str
) -> str:
    """Return the statement that computes `pixels` pixels into out[c * channel_stride + x]."""
    del network
    return f"nw_pointwise(&{name}_matrix, {in_}, {out}, {pixels}, {layer.weights.shape[-1]}, 1, {channel_stride});"


def depthwise_call(
    layer: Depthwise, network: Network, name: str, in_: str, out: str, scratch: str, out_row_stride: int | str
) -> str:
    """Return the statement that computes a whole NHWC tensor, output row y at out + y * out_row_stride.

    With a channel multiplier of 1, out may be in_, for any stride, as long as out_row_stride is at most the input's row
    bytes and `in_place(layer)` holds. `scratch`: `scratch_bytes(layer, network)` bytes.
    """
    del network, layer
    return f"nw_depthwise_all(&{name}_depthwise, {in_}, {out}, {scratch}, {out_row_stride});"


def depthwise_row_call(layer: Depthwise, network: Network, name: str, lines: str, channel_stride: str, out: str) -> str:
    """Return the statement that computes one NHWC output row.

    `lines`: kernel_h pointers to the padded line of channel 0, `line_bytes(layer, network)` readable bytes for each
    channel, `channel_stride` from one to the next; NULL for a row of padding.
    """
    del network, layer
    return f"nw_depthwise_row(&{name}_depthwise, {lines}, {channel_stride}, {out});"


def dense_call(layer: Dense, network: Network, name: str, in_: str, out: str) -> str:
    """Return the statement that applies a dense layer to every row of its input."""
    outputs, depth = layer.weights.shape
    rows = network.values[layer.inputs[0]].bytes // depth
    if layer.requantize.reals is not None:
        return f"nw_dense_real_all(&{name}_dense, {in_}, {out}, {rows});"
    return f"nw_pointwise(&{name}_matrix, {in_}, {out}, {rows}, {depth}, {outputs}, 1);"


def _real_dense_data(layer: Dense, reals: NDArray[np.float64], name: str) -> Data:
    requantize, (outputs, depth) = layer.requantize, layer.weights.shape
    scales = ", ".join(value.hex() for value in reals.tolist())
    fields = {
        "weights": f"{name}_weights",
        "bias": f"{name}_bias",
        "scales": f"{name}_scales",
        "depth": depth,
        "outputs": outputs,
        "zero_point": requantize.zero_point,
        "low": requantize.low,
        "high": requantize.high,
    }
    text = array(f"{name}_weights", layer.weights) + array(f"{name}_bias", requantize.bias)
    text += f"static const double {name}_scales[{outputs}] = {{{scales}}};\n"
    return Data(text + struct("nw_dense_real", f"{name}_dense", fields.items()), frozenset({"dense_real"}))


def scratch_bytes(layer: Layer, network: Network) -> int:
    """Return the scratch that a whole-tensor call needs: the padded lines of one channel of a depthwise convolution."""
    if not isinstance(layer, Depthwise):
        return 0
    return _lines(layer, network) * line_bytes(layer, network)


def _lines(layer: Depthwise, network: Network) -> int:
    """Return the padded lines of one channel gathered at a time: those under the kernel, or all if they are few."""
    window, rows = layer.window, network.values[layer.output].shape[0]
    span = (window.kernel[0] - 1) * window.dilation[0] + 1
    total = (rows - 1) * window.stride[0] + span
    return min(total, max(span, _SCRATCH // line_bytes(layer, network)))


def line_bytes(layer: Depthwise, network: Network) -> int:
    """Return the bytes of a padded line of one channel: zero points, the row, zero points, what kernels may read."""
    window = layer.window
    width, out_width = network.values[layer.inputs[0]].shape[1], network.values[layer.output].shape[1]
    read = (out_width - 1) * window.stride[1] + (window.kernel[1] - 1) * window.dilation[1] + 1
    kernel, stride = _fast_kernel(layer), window.stride[1]
    if kernel == 3:  # words of four, two outputs on, then the odd one
        read = max(read, (out_width - 1) * stride + 4 if out_width % 2 else 0)
    elif kernel:  # four outputs at a time: the last word that is loaded for them
        read = max(
            read, (out_width - 1) // 4 * 4 * stride + {(5, 1): 8, (7, 1): 12, (5, 2): 12, (7, 2): 13}[kernel, stride]
        )
    return -(-max(read, window.padding[2] + width) // 4) * 4


def in_place(layer: Depthwise) -> bool:
    """Whether a depthwise convolution may write over its input."""
    return layer.weights.shape[2] == len(layer.requantize.bias) and layer.window.kernel[0] > layer.window.padding[0]


def _pointwise_data(network: Network, layer: Conv, name: str) -> Data:
    width = network.values[layer.output].shape[1]
    packed = pack_matrix(layer.weights.reshape(len(layer.weights), -1), layer.requantize, pixels=width)
    _check(layer, depth=packed.depth, outputs=len(layer.weights))
    fields = _matrix(layer, packed, name)
    text = array(f"{name}_weights", packed.stream) + struct("nw_matrix", f"{name}_matrix", fields.items())
    return Data(text, frozenset(["pointwise"]))


def _conv_data(network: Network, layer: Conv, name: str) -> Data:
    outputs, kernel_h, kernel_w, channels = layer.weights.shape
    (height, width, _), (out_height, out_width, _) = (network.values[i].shape for i in (layer.inputs[0], layer.output))
    window = layer.window
    runs_in_row = 1 if window.dilation[1] == 1 else kernel_w
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
        **_window(layer),
        **{"height": height, "width": width, "channels": channels, "out_height": out_height, "out_width": out_width},
        **{"run": run, "padded_run": padded, "runs_in_row": runs_in_row, "flat": int(flat)},
    }
    _check(layer, outputs=outputs, depth=packed.depth, **fields)
    matrix = ", ".join(f".{key} = {value}" for key, value in _matrix(layer, packed, name).items())
    padding = np.full(min(channels, TILE), layer.input_zero_point, np.int8)
    text = array(f"{name}_weights", packed.stream) + array(f"{name}_padding", padding)
    whole = {"matrix": f"{{{matrix}}}", **fields, "padding": f"{name}_padding"}
    return Data(text + struct("nw_conv", f"{name}_conv", whole.items()), frozenset(["conv"]))


def _depthwise_data(network: Network, layer: Depthwise, name: str) -> Data:
    outputs = layer.weights.shape[2]
    (height, width, channels), (out_height, out_width, _) = (
        network.values[index].shape for index in (layer.inputs[0], layer.output)
    )
    requantize = layer.requantize
    fields = {
        **_window(layer),
        **{"inputs": channels, "multiplier": outputs // channels, "dilation_h": layer.window.dilation[0]},
        **{"height": height, "width": width, "out_height": out_height, "out_width": out_width},
        **{"line": line_bytes(layer, network), "lines": _lines(layer, network), **_limits(layer)},
    }
    _check(layer, outputs=outputs, **fields)
    packed = pack_depthwise(layer.weights, requantize, fast=_fast_kernel(layer) != 0)
    fields |= {"kernel": _fast_kernel(layer) if packed.fast else 0, "relu": int(packed.relu)}
    text = (
        array(f"{name}_weights", packed.weights)
        + array(f"{name}_params", packed.params)
        + array(f"{name}_shifts", packed.shifts)
    )
    pointers = {part: f"{name}_{part}" for part in ("weights", "params", "shifts")}
    return Data(
        text + struct("nw_depthwise", f"{name}_depthwise", {**pointers, **fields}.items()), frozenset(["depthwise"])
    )


def _fast_kernel(layer: Depthwise) -> int:
    """Return which of the fast kernels takes a window: 3 (3x3), 5 (up to 5 columns), 7 (up to 7), 0 for none."""
    window = layer.window
    if window.dilation[1] != 1 or window.stride[1] > 2 or window.kernel[1] > 7:
        return 0
    return 3 if window.kernel == (3, 3) else 5 if window.kernel[1] <= 5 else 7


def _window(layer: Conv | Depthwise) -> dict[str, int]:
    window = layer.window
    return {
        **{"kernel_h": window.kernel[0], "kernel_w": window.kernel[1]},
        **{"stride_h": window.stride[0], "stride_w": window.stride[1]},
        **{"dilation_h": window.dilation[0], "dilation_w": window.dilation[1]},
        **{"pad_top": window.padding[0], "pad_left": window.padding[2]},
    }


def _limits(layer: Conv | Depthwise | Dense) -> dict[str, int]:
    requantize = layer.requantize
    return {
        **{"low": requantize.low, "high": requantize.high, "zero_point": requantize.zero_point},
        "input_zero_point": layer.input_zero_point,
    }


def _matrix(layer: Conv | Dense, packed: Packed, name: str) -> Mapping[str, object]:
    sizes = {"outputs": len(layer.weights), "depth": packed.depth, "chunk": packed.chunk, "block": packed.block}
    kind = {"pixels": packed.pixels, "pairs": int(packed.pairs), "rounding": packed.rounding}
    return {"stream": f"{name}_weights", **sizes, **_limits(layer), **kind}


def _check(layer: Conv | Depthwise | Dense, **fields: int) -> None:
    """Refuse what the kernels' fields do not hold."""
    rows = fields.get("kernel_h", 1)
    if rows > _ROWS:
        raise NetwrightError(
            f"{layer.name}: a kernel {rows} rows high; the kernels take up to {_ROWS}. Use a smaller kernel."
        )
    key, value = max(fields.items(), key=lambda item: abs(item[1]))
    if abs(value) > _LARGEST:
        raise NetwrightError(f"{layer.name}: {key} {value}; the kernels take up to {_LARGEST}. Use a smaller layer.")
