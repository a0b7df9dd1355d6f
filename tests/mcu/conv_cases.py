"""Random convolutions with a plain NumPy oracle, and a C program that runs many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netwright.mcu.network import Conv, Dense, Depthwise, Network, NetworkValue, Requantize, Window

KERNELS = Path(str(resources.files("netwright.mcu"))) / "kernels"
Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """A network of one layer, an input, and the output the oracle computes for it."""

    network: Network
    layer: Conv | Depthwise | Dense
    image: NDArray[np.int8]
    wanted: NDArray[np.int8]


@dataclass(frozen=True)
class OneRow:
    """Where a layer makes one row outside a network: `rows` are set already."""

    out: str = "out"
    width: str = ""
    planar: int = 0
    line: int = 0
    given: str = ""
    tiled: bool = False
    read_width: str = ""
    read_padding: str = ""

    def inputs(self) -> list[str]:
        return [self.given]

    def elements(self) -> str:
        raise AssertionError("convolutions do not ask")

    def window(self) -> list[str]:
        return []

    def neighbours(self) -> tuple[list[str], str, int]:
        raise AssertionError("convolutions do not ask")


def requantize_of(rng: Rng, weights: NDArray[np.int8], zero_point: int, kind: str) -> Requantize:
    """Parameters for weights (out, ...) under an input zero point. kind: "usual", "extreme", "relu", "odd clamp"."""
    outputs = len(weights)
    flat = weights.reshape(outputs, -1).astype(np.int64)
    spread = np.sqrt((flat**2).sum(axis=1) + 1) * 74
    bias = rng.integers(-3, 4, outputs) * spread.astype(np.int64) // 2 - zero_point * flat.sum(axis=1)
    scale = 60 / spread * rng.uniform(0.3, 3, outputs)
    mantissa, exponent = np.frexp(scale)
    multiplier = np.minimum(np.round(mantissa * (1 << 31)).astype(np.int64), (1 << 31) - 1)
    shift = exponent.astype(np.int64)
    if kind == "extreme":
        shift = rng.integers(-31, 9, outputs)
        multiplier = rng.choice([1 << 30, (1 << 31) - 1, (1 << 30) + 1, 0], outputs)
    if kind == "vanishing":
        shift[rng.random(outputs) < 0.5] = -30
    out_zero = -128 if kind == "relu" else int(rng.integers(-128, 128))
    low, high = (-128, 127)
    if kind == "odd clamp":
        low, high = sorted(int(v) for v in rng.integers(-128, 128, 2))
    return Requantize(bias.astype(np.int32), multiplier.astype(np.int32), shift.astype(np.int32), out_zero, low, high)


def rescaled(sums: NDArray[np.int64], requantize: Requantize, *, once: bool) -> NDArray[np.int8]:
    """Reference requantization in 64 bits, written from the definition: ties of the second rounding go away from zero."""
    shift = requantize.shift.astype(np.int64)
    total = (sums + requantize.bias).astype(np.int64)
    if once:
        bits = 31 - shift
        scaled = (total * requantize.multiplier + (np.int64(1) << (bits - 1))) >> bits
    else:
        left = ((total << np.maximum(shift, 0)) + (1 << 31)) % (1 << 32) - (1 << 31)
        high = (left * requantize.multiplier.astype(np.int64) + (1 << 30)) >> 31
        right = np.maximum(-shift, 0)
        half = (np.int64(1) << right) // 2
        scaled = np.sign(high) * ((np.abs(high) + half) >> right)
    return np.clip(scaled + requantize.zero_point, requantize.low, requantize.high).astype(np.int8)


def oracle(layer: Conv | Depthwise | Dense, image: NDArray[np.int8], out_shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Apply a layer by its definition: taps one after the other over the padded image."""
    if isinstance(layer, Dense):
        return rescaled(image.astype(np.int64) @ layer.weights.astype(np.int64).T, layer.requantize, once=True)
    window, (height, width) = layer.window, out_shape[:2]
    top, bottom, left, right = window.padding
    padded = np.pad(
        image.astype(np.int64), ((top, bottom), (left, right), (0, 0)), constant_values=layer.input_zero_point
    )
    sums = np.zeros(out_shape, np.int64)
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            y, x = i * window.dilation[0], j * window.dilation[1]
            part = padded[y :: window.stride[0], x :: window.stride[1]][:height, :width]
            if isinstance(layer, Conv):
                sums += part @ layer.weights[:, i, j].astype(np.int64).T
            else:
                sums += np.repeat(part, out_shape[2] // image.shape[2], axis=2) * layer.weights[i, j].astype(np.int64)
    return rescaled(sums, layer.requantize, once=False)


def case(layer: Conv | Depthwise | Dense, shape: tuple[int, ...], out_shape: tuple[int, ...], rng: Rng) -> Case:
    """Return a layer with a random input and its output."""
    image = rng.integers(-128, 128, shape).astype(np.int8)
    if rng.random() < 0.1:
        image[:] = rng.choice([-128, 127])
    values = (NetworkValue("in", shape, zero_point=layer.input_zero_point), NetworkValue("out", out_shape))
    return Case(Network(values, (layer,), (0,), (1,), 0), layer, image, oracle(layer, image, out_shape))


def weights_of(rng: Rng, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Random weights: usual ones, ones with -128, or only the extremes."""
    low = -128 if rng.random() < 0.2 else -127
    if rng.random() < 0.1:
        return rng.choice(np.array([low, 127], np.int8), shape)
    return np.clip(rng.normal(0, 50, shape), low, 127).astype(np.int8)


KINDS = ("usual", "usual", "relu", "relu", "vanishing", "extreme", "odd clamp")


def random_window(rng: Rng, height: int, width: int) -> tuple[Window, tuple[int, int]]:
    """Return a window that fits an image, and the sides of what it makes."""
    side, step = int(rng.choice([3, 5, 7])), int(rng.integers(1, 4))
    kernel, stride = (side, side), (step, step)
    if rng.random() < 0.35:
        kernel = int(rng.choice([1, 2, 3, 5, 7])), int(rng.choice([1, 2, 3, 5, 7]))
        stride = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    dilation = (1, 1) if rng.random() < 0.8 else (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    top, bottom = (int(rng.integers(0, spans[0])) for _ in range(2))
    left, right = (int(rng.integers(0, spans[1])) for _ in range(2))
    top += max(0, spans[0] - height - top - bottom)
    left += max(0, spans[1] - width - left - right)
    out = ((height + top + bottom - spans[0]) // stride[0] + 1, (width + left + right - spans[1]) // stride[1] + 1)
    return Window(kernel, stride, (top, bottom, left, right), dilation), out


def random_conv(rng: Rng) -> Case:
    """A full convolution of any window."""
    height, width = (int(v) for v in rng.integers(1, 14, 2))
    channels, outputs = int(rng.choice([1, 2, 3, 4, 5, 8, 16, 24])), int(rng.integers(1, 20))
    if rng.random() < 0.08:
        channels, outputs = int(rng.choice([64, 130])), int(rng.choice([3, 70]))
    window, out = random_window(rng, height, width)
    zero_point = int(rng.integers(-128, 128))
    weights = weights_of(rng, (outputs, *window.kernel, channels))
    requantize = requantize_of(rng, weights, zero_point, str(rng.choice(KINDS)))
    layer = Conv((0,), 1, "conv", window, weights, zero_point, requantize)
    return case(layer, (height, width, channels), (*out, outputs), rng)


def random_pointwise(rng: Rng) -> Case:
    """A pointwise convolution, at times with a depth of several chunks."""
    height, width = (int(v) for v in rng.integers(1, 8, 2))
    depth = int(rng.choice([1, 3, 4, 8, 12, 16, 24, 48, 96, 120, 136, 144, 250, 256, 480]))
    outputs = int(rng.choice([1, 2, 7, 8, 16, 24, 65, 96, 130]))
    zero_point = int(rng.integers(-128, 128))
    weights = weights_of(rng, (outputs, 1, 1, depth))
    requantize = requantize_of(rng, weights, zero_point, str(rng.choice(KINDS)))
    layer = Conv((0,), 1, "pointwise", Window((1, 1), (1, 1), (0, 0, 0, 0)), weights, zero_point, requantize)
    return case(layer, (height, width, depth), (height, width, outputs), rng)


def random_dense(rng: Rng) -> Case:
    """A fully connected layer on a few rows."""
    rows, depth, outputs = int(rng.integers(1, 4)), int(rng.integers(1, 300)), int(rng.integers(1, 30))
    zero_point = int(rng.integers(-128, 128))
    weights = weights_of(rng, (outputs, depth))
    requantize = requantize_of(rng, weights, zero_point, str(rng.choice(KINDS)))
    return case(Dense((0,), 1, "dense", weights, zero_point, requantize), (rows, depth), (rows, outputs), rng)


def random_depthwise(rng: Rng) -> Case:
    """A depthwise convolution of any window, at times with a channel multiplier."""
    height, width = (int(v) for v in rng.integers(1, 20, 2))
    channels, multiplier = int(rng.integers(1, 13)), int(rng.choice([1, 1, 1, 2, 8]))
    window, out = random_window(rng, height, width)
    zero_point = int(rng.integers(-128, 128))
    weights = weights_of(rng, (*window.kernel, channels * multiplier))
    requantize = requantize_of(rng, np.moveaxis(weights, 2, 0), zero_point, str(rng.choice(KINDS)))
    layer = Depthwise((0,), 1, "depthwise", window, weights, zero_point, requantize)
    return case(layer, (height, width, channels), (*out, channels * multiplier), rng)


def c_array(name: str, values: NDArray[np.int8]) -> str:
    return f"static const int8_t {name}[] = {{{', '.join(map(str, values.reshape(-1).tolist()))}}};\n"


def program(cases: Sequence[Case]) -> str:
    """Return a C file whose `run(int8_t *out)` writes the outputs of all cases, by every call there is, back to back."""
    headers = sorted({kernel for one in cases for kernel in one.layer.data(one.network, "x").kernels})
    parts = ["#include <stdint.h>\n#include <string.h>\n", *(f'#include "nw_{header}.h"\n' for header in headers)]
    calls = []
    for number, one in enumerate(cases):
        name = f"l{number}"
        parts.append(one.layer.data(one.network, name).text)
        parts.append(c_array(f"{name}_in", one.image))
        parts.append(_function(one, name))
        calls.append(f"  out = {name}_run(out);\n")
    parts.append(f"void run(int8_t *out);\nvoid run(int8_t *out) {{\n{''.join(calls)}}}\n")
    return "".join(parts)


def wanted(cases: Sequence[Case]) -> NDArray[np.int8]:
    """Return what `run` is to write."""
    parts: list[NDArray[np.int8]] = []
    for one in cases:
        parts += [one.wanted.reshape(-1)] * _ways(one)
    return np.concatenate(parts)


def _ways(one: Case) -> int:
    if isinstance(one.layer, Dense):
        return 1
    if isinstance(one.layer, Depthwise):
        return 3 if _multiplier(one) == 1 and one.layer.window.kernel[0] > one.layer.window.padding[0] else 2
    return 2


def _multiplier(one: Case) -> int:
    return one.wanted.shape[2] // one.image.shape[2]


def _function(one: Case, name: str) -> str:
    layer, network = one.layer, one.network
    size = one.wanted.size
    lines: list[str]
    whole = layer.call(network, name, [f"{name}_in"], "out", "scratch")
    if isinstance(layer, Dense):
        lines = [whole, f"out += {size};"]
    elif isinstance(layer, Conv):
        lines = [whole, f"out += {size};"]
        lines += _pointwise_planar(one, name) if layer.pointwise else _conv_rows(one, name)
    else:
        lines = [f"int8_t scratch[{layer.scratch_bytes(network)}];", whole]
        lines += [f"out += {size};", *_depthwise_rows(one, name)]
        if _ways(one) == 3:
            lines += _depthwise_in_place(one, name)
    body = "\n  ".join(lines)
    return f"static int8_t *{name}_run(int8_t *out) {{\n  {body}\n  return out;\n}}\n"


def _pointwise_planar(one: Case, name: str) -> list[str]:
    """Planar rows, read back to NHWC."""
    assert isinstance(one.layer, Conv)
    height, width, outputs = one.wanted.shape
    depth, stride = one.image.shape[2], width + 3
    place = OneRow(out="planar", width=str(width), planar=stride, given=f"{name}_in + y * {width * depth}")
    (call,) = one.layer.row(one.network, name, place)
    return [
        f"int8_t planar[{stride * outputs}];",
        f"for (int y = 0; y < {height}; y++) {{ {call}",
        f"for (int x = 0; x < {width}; x++) for (int c = 0; c < {outputs}; c++) *out++ = planar[c * {stride} + x]; }}",
    ]


def _conv_rows(one: Case, name: str) -> list[str]:
    assert isinstance(one.layer, Conv)
    window, (height, width, channels) = one.layer.window, one.image.shape
    (call,) = one.layer.row(one.network, name, OneRow())
    return [
        f"const int8_t *rows[{window.kernel[0]}];",
        f"for (int y = 0; y < {one.wanted.shape[0]}; y++) {{",
        f"for (int i = 0; i < {window.kernel[0]}; i++) {{",
        f"int r = y * {window.stride[0]} - {window.padding[0]} + i * {window.dilation[0]};",
        f"rows[i] = r < 0 || r >= {height} ? (const int8_t *)0 : {name}_in + r * {width * channels}; }}",
        f"{call} out += {one.wanted.shape[1] * one.wanted.shape[2]}; }}",
    ]


def _depthwise_rows(one: Case, name: str) -> list[str]:
    assert isinstance(one.layer, Depthwise)
    window, (height, width, channels) = one.layer.window, one.image.shape
    line = one.layer.line_bytes(one.network)
    (call,) = one.layer.row(one.network, name, OneRow(line=line))
    return [
        f"int8_t planar[{height * channels * line}];",
        f"memset(planar, {one.layer.input_zero_point}, sizeof planar);",
        f"for (int y = 0; y < {height}; y++) for (int x = 0; x < {width}; x++) for (int c = 0; c < {channels}; c++)",
        f"planar[(y * {channels} + c) * {line} + {window.padding[2]} + x] = {name}_in[(y * {width} + x) * {channels} + c];",
        f"const int8_t *rows[{window.kernel[0]}];",
        f"for (int y = 0; y < {one.wanted.shape[0]}; y++) {{",
        f"for (int i = 0; i < {window.kernel[0]}; i++) {{",
        f"int r = y * {window.stride[0]} - {window.padding[0]} + i * {window.dilation[0]};",
        f"rows[i] = r < 0 || r >= {height} ? (const int8_t *)0 : planar + r * {channels * line}; }}",
        f"{call} out += {one.wanted.shape[1] * one.wanted.shape[2]}; }}",
    ]


def _depthwise_in_place(one: Case, name: str) -> list[str]:
    """Over its own input, output rows at the starts of input rows where they are shorter, then compacted."""
    assert isinstance(one.layer, Depthwise)
    height, row = one.wanted.shape[0], one.wanted.shape[1] * one.wanted.shape[2]
    in_row = one.image.shape[1] * one.image.shape[2]
    if row > in_row or height > one.image.shape[0]:  # then it does not fit in its own input
        return [f"memcpy(out, out - {2 * one.wanted.size}, {one.wanted.size}); out += {one.wanted.size};"]
    call = f"nw_depthwise_all(&{name}_depthwise, tensor, tensor, scratch, {in_row});"
    return [
        f"int8_t tensor[{one.image.size}];",
        f"memcpy(tensor, {name}_in, {one.image.size}); {call}",
        f"for (int y = 0; y < {height}; y++, out += {row}) memcpy(out, tensor + y * {in_row}, {row});",
    ]
