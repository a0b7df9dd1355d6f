"""C constants and calls of all layers but convolutions: sums, products, pools, means, tables, softmax, copies.

`data` gives the definitions of a layer's constants, `simple_call` the statement that runs it on whole tensors,
`run_call` one on so many contiguous elements, for layers whose elements do not depend on each other. Pointers are C
expressions of type (const) int8_t *.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from netwright.mcu.emit.code import Data, array, struct
from netwright.mcu.lower.copies import dense_strides
from netwright.mcu.lower.sums import linear
from netwright.mcu.network import (
    Add,
    BatchMatmul,
    Copy,
    Lookup,
    Mean,
    Multiply,
    Network,
    Part,
    Pool,
    Prelu,
    Resize,
    Softmax,
    TransposeConv,
)

Simple = Add | Multiply | Prelu | Pool | Mean | Lookup | Softmax | Resize | BatchMatmul | TransposeConv | Copy
Elementwise = Add | Multiply | Lookup


def data(network: Network, layer: Simple, name: str) -> Data:
    """Return the constants of a layer, named after it, and the kernels that it calls."""
    match layer:
        case Add():
            return Data(_add_data(network, layer, name) + _constant(layer, name), frozenset({"add"}))
        case Multiply():
            return Data(_multiply_data(layer, name) + _constant(layer, name), frozenset({"mul"}))
        case Lookup():
            # The kernel's index is the value as an unsigned byte: 0 to 127, then -128 to -1.
            return Data(array(f"{name}_table", np.roll(layer.table, -128)), frozenset({"lookup"}))
        case Pool():
            return Data(_pool_data(network, layer, name), frozenset({"pool"}))
        case Mean():
            return Data(_mean_data(network, layer, name), frozenset({"mean"}))
        case Softmax():
            return Data("", frozenset({"softmax"}))
        case Prelu():
            return Data(_prelu_data(layer, name) + _constant(layer, name), frozenset({"prelu"}))
        case Resize():
            tables = array(f"{name}_rows", layer.rows) + array(f"{name}_columns", layer.columns)
            return Data(tables, frozenset({"resize"}))
        case BatchMatmul():
            return Data(_matmul_data(network, layer, name), frozenset({"batch_matmul"}))
        case TransposeConv():
            return Data(_transpose_conv_data(network, layer, name), frozenset({"transpose_conv"}))
        case Copy():
            text = "".join(_part_data(part, f"{name}_part{number}") for number, part in enumerate(layer.parts))
            return Data(text, frozenset({"copy"}))


def simple_call(layer: Simple, network: Network, name: str, inputs: Sequence[str], out: str) -> str:
    """Return the statement that runs a layer on whole tensors."""
    given, made = network.values[layer.inputs[0]], network.values[layer.output]
    match layer:
        case Add() | Multiply() | Prelu():
            return _broadcast_call(layer, network, name, inputs, out)
        case Lookup():
            return run_call(layer, network, name, inputs, out, str(made.bytes))
        case Pool():
            return f"nw_{layer.kind}_pool({inputs[0]}, {out}, &{name}_constants);"
        case Mean():
            return f"nw_mean({inputs[0]}, {out}, &{name}_constants);"
        case Softmax():
            width = given.shape[-1]
            numbers = f"{given.bytes // width}, {width}, {layer.multiplier}, {layer.left_shift}, {layer.diff_min}"
            return f"nw_softmax({inputs[0]}, {out}, {numbers});"
        case Resize():
            height, width, channels = made.shape
            sides = f"{given.shape[1]}, {channels}, {out}, {height}, {width}"
            return f"nw_resize({inputs[0]}, {sides}, {name}_rows, {name}_columns);"
        case BatchMatmul():
            return _matmul_call(layer, network, name, inputs, out)
        case TransposeConv():
            arrays = f"{name}_weights, {name}_bias, {name}_factors, {name}_shifts"
            return f"nw_transpose_conv({inputs[0]}, {out}, &{name}_constants, {arrays});"
        case Copy():
            return _copy_call(layer, made.bytes, name, inputs, out)


def run_call(layer: Elementwise, network: Network, name: str, inputs: Sequence[str], out: str, count: str) -> str:
    """Return the statement that runs a layer on `count` contiguous elements of each operand.

    A constant operand is read from its start, so `count` elements of it must belong to them.
    """
    if isinstance(layer, Lookup):
        return f"nw_lookup({inputs[0]}, {out}, {count}, {name}_table);"
    second = inputs[1] if len(inputs) > 1 else f"{name}_constant"
    return _run(layer, network, name, inputs[0], second, 1, out, count)


def pool_row_call(layer: Pool, name: str, in_: str, rows: str, row_stride: str, out: str) -> str:
    """Return the statement that makes one output row from `rows` input rows, `row_stride` bytes apart."""
    return f"nw_{layer.kind}_pool_row({in_}, {rows}, {row_stride}, {out}, &{name}_constants);"


def _run(
    layer: Add | Multiply | Prelu, network: Network, name: str, first: str, second: str, step: int, out: str, count: str
) -> str:
    if isinstance(layer, Multiply):
        return f"nw_mul({first}, {second}, {step}, {out}, {count}, &{name}_constants);"
    if isinstance(layer, Prelu):
        return f"nw_prelu({first}, {second}, {step}, {out}, {count}, &{name}_constants);"
    if step == 1 and linear(layer):
        return f"nw_add_linear({first}, {second}, {out}, {count}, &{name}_constants);"
    return f"nw_add({first}, {second}, {step}, {out}, {count}, &{name}_constants);"


def _add_data(network: Network, layer: Add, name: str) -> str:
    found = linear(layer) if _runs(layer, network)[-1][2] == 1 else None
    if found:
        parts = [(number >> 15, number & 0x7FFF) for number in (found.first, found.second, found.constant)]
        fields = [
            *zip(("a_high", "b_high", "high"), (high for high, _ in parts), strict=True),
            *zip(("a_low", "b_low", "low"), (low for _, low in parts), strict=True),
            *(("least", layer.low), ("most", layer.high)),
        ]
        return struct("nw_add_linear_constants", f"{name}_constants", fields)
    fields = [
        (f"{what}_{end}", number)
        for what, numbers in (("zero", layer.zero_points), ("factor", layer.multipliers), ("shift", layer.shifts))
        for end, number in zip(("a", "b", "out"), numbers, strict=True)
    ]
    fields += [("left", layer.left_shift), ("low", layer.low), ("high", layer.high), ("sign", layer.sign)]
    return struct("nw_add_constants", f"{name}_constants", fields)


def _multiply_data(layer: Multiply, name: str) -> str:
    zeros = zip(("zero_a", "zero_b", "zero_out"), layer.zero_points, strict=True)
    fields = [*zeros, ("factor", layer.multiplier), ("shift", layer.shift), ("low", layer.low), ("high", layer.high)]
    return struct("nw_mul_constants", f"{name}_constants", fields)


def _prelu_data(layer: Prelu, name: str) -> str:
    fields = [
        *zip(("zero_in", "zero_slope", "zero_out"), layer.zero_points, strict=True),
        *zip(("factor_above", "factor_below"), layer.multipliers, strict=True),
        *zip(("shift_above", "shift_below"), layer.shifts, strict=True),
    ]
    return struct("nw_prelu_constants", f"{name}_constants", fields)


def _matmul_sides(network: Network, layer: BatchMatmul) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Return the strides of the first matrix (row, depth), those of the second (depth, column), and the depth."""
    (rows_a, columns_a), (_, columns_b) = (network.values[value].shape[-2:] for value in layer.inputs)
    first, second = (columns_a, 1), (columns_b, 1)
    depth = rows_a if layer.turned[0] else columns_a
    first = (first[1], first[0]) if layer.turned[0] else first
    return first, (second[1], second[0]) if layer.turned[1] else second, depth


def _matmul_data(network: Network, layer: BatchMatmul, name: str) -> str:
    (a_row, a_step), (b_step, b_column), depth = _matmul_sides(network, layer)
    rows, columns = network.values[layer.output].shape[-2:]
    fields = [
        *(("rows", rows), ("columns", columns), ("depth", depth)),
        *(("a_row", a_row), ("a_step", a_step), ("b_step", b_step), ("b_column", b_column)),
        *zip(("zero_a", "zero_b", "zero_out"), layer.zero_points, strict=True),
        *(("factor", layer.multiplier), ("shift", layer.shift)),
    ]
    return struct("nw_batch_matmul_constants", f"{name}_constants", fields)


def _matmul_call(layer: BatchMatmul, network: Network, name: str, inputs: Sequence[str], out: str) -> str:
    made = network.values[layer.output].shape
    pointers, head = [*inputs, out], ""
    shapes = [*(network.values[value].shape for value in layer.inputs), made]
    for depth, count in enumerate(made[:-2]):
        head += f"for (int32_t i{depth} = 0; i{depth} < {count}; i{depth}++) "
        for place, shape in enumerate(shapes):
            axis = depth - (len(made) - len(shape))
            if axis >= 0 and shape[axis] != 1:
                pointers[place] += f" + i{depth} * {math.prod(shape[axis + 1 :])}"
    return head + f"nw_batch_matmul({', '.join(pointers)}, &{name}_constants);"


def _transpose_conv_data(network: Network, layer: TransposeConv, name: str) -> str:
    sides = (*network.values[layer.inputs[0]].shape, *network.values[layer.output].shape)
    window, requantize = layer.window, layer.requantize
    fields = [
        *zip(("height", "width", "channels", "out_height", "out_width", "out_channels"), sides, strict=True),
        *zip(("kernel_h", "kernel_w", "stride_h", "stride_w"), (*window.kernel, *window.stride), strict=True),
        *(("top", window.padding[0]), ("left", window.padding[2]), ("zero_in", layer.input_zero_point)),
        *(("zero_out", requantize.zero_point), ("low", requantize.low), ("high", requantize.high)),
    ]
    arrays = {
        "weights": layer.weights, "bias": requantize.bias, "factors": requantize.multiplier,
        "shifts": requantize.shift.astype(np.int8),
    }  # fmt: skip
    text = "".join(array(f"{name}_{what}", values) for what, values in arrays.items())
    return text + struct("nw_transpose_conv_constants", f"{name}_constants", fields)


def _constant(layer: Add | Multiply | Prelu, name: str) -> str:
    return "" if layer.constant is None else array(f"{name}_constant", layer.constant)


def _pool_data(network: Network, layer: Pool, name: str) -> str:
    (height, width, channels), made = network.values[layer.inputs[0]].shape, network.values[layer.output].shape
    window = layer.window
    fields = [
        *(("height", height), ("width", width), ("channels", channels)),
        *(("out_height", made[0]), ("out_width", made[1])),
        *(("kernel_h", window.kernel[0]), ("kernel_w", window.kernel[1])),
        *(("stride_h", window.stride[0]), ("stride_w", window.stride[1])),
        *(("top", window.padding[0]), ("left", window.padding[2]), ("low", layer.low), ("high", layer.high)),
    ]
    return struct("nw_pool_constants", f"{name}_constants", fields)


def _mean_data(network: Network, layer: Mean, name: str) -> str:
    sides = mean_sides(network.values[layer.inputs[0]].shape, layer.axes)
    count = sides[1] * sides[3]
    fields = [
        *zip(("outer", "across", "middle", "down", "inner"), sides, strict=True),
        *(("factor", layer.multiplier), ("offset", layer.input_zero_point * count)),
        *(("shift", layer.shift), ("zero_out", layer.zero_point)),
    ]
    return struct("nw_mean_constants", f"{name}_constants", fields)


def mean_sides(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, int, int, int, int]:
    """Return a shape merged to (outer, reduced, middle, reduced, inner); sides of 1 join any.

    Raises:
        ValueError: the axes form more than two groups.
    """
    runs: list[tuple[bool, int]] = []
    for axis, side in enumerate(shape):
        if side == 1:
            continue
        reduced = axis in axes
        if runs and runs[-1][0] == reduced:
            runs[-1] = (reduced, runs[-1][1] * side)
        else:
            runs.append((reduced, side))
    sides = [1, 1, 1, 1, 1]
    place = 4
    for reduced, side in reversed(runs):
        if (place % 2 == 1) != reduced:
            place -= 1
        if place < 0:
            raise ValueError(f"the axes {axes} of {shape} form more than two groups")
        sides[place] = side
        place -= 1
    outer, across, middle, down, inner = sides
    return outer, across, middle, down, inner


def _part_data(part: Part, name: str) -> str:
    return struct("nw_copy_constants", name, [(field, _four(part, field)) for field in ("size", "from", "to")])


def _four(part: Part, field: str) -> str:
    """Return the innermost four entries of a part's sizes or strides, as an initializer."""
    numbers = {"size": part.shape, "from": part.from_strides, "to": part.to_strides}[field][-4:]
    padded = (*((1 if field == "size" else 0,) * (4 - len(numbers))), *numbers)
    return "{" + ", ".join(str(number) for number in padded) + "}"


def _copy_call(layer: Copy, size: int, name: str, inputs: Sequence[str], out: str) -> str:
    calls = [] if layer.fill is None else [f"nw_fill({out}, {size}, {layer.fill});"]
    for number, part in enumerate(layer.parts):
        outer = len(part.shape) - 4
        read, write = f"{inputs[part.source]} + {part.from_offset}", f"{out} + {part.to_offset}"
        if outer <= 0:
            calls.append(f"nw_copy({read}, {write}, &{name}_part{number});")
        else:
            loops = [(part.shape[i], part.from_strides[i], part.to_strides[i]) for i in range(outer)]
            calls.append(_loops(loops, lambda r, w, n=number: f"nw_copy({r}, {w}, &{name}_part{n});", read, write))
    return "\n  ".join(calls)


def _loops(loops: Sequence[tuple[int, int, int]], call, read: str, write: str) -> str:
    """Return nested loops of (count, stride read, stride written) around a call."""
    head = ""
    for depth, (count, from_stride, to_stride) in enumerate(loops):
        index = f"i{depth}"
        head += f"for (int32_t {index} = 0; {index} < {count}; {index}++) "
        read, write = f"{read} + {index} * {from_stride}", f"{write} + {index} * {to_stride}"
    return head + call(read, write)


def _broadcast_call(layer: Add | Multiply | Prelu, network: Network, name: str, inputs: Sequence[str], out: str) -> str:
    """Return a sum or product whose second operand may be smaller: loops around runs of one element or all of them."""
    second = inputs[1] if layer.constant is None else f"{name}_constant"
    *loops, (count, _, step) = _runs(layer, network)
    head, first, result = "", inputs[0], out
    for depth, (size, own, stride) in enumerate(loops):
        index = f"i{depth}"
        head += f"for (int32_t {index} = 0; {index} < {size}; {index}++) "
        first, result = f"{first} + {index} * {own}", f"{result} + {index} * {own}"
        second = f"{second} + {index} * {stride}" if stride else second
    return head + _run(layer, network, name, first, second, step, result, str(count))


def _runs(layer: Add | Multiply | Prelu, network: Network) -> list[tuple[int, int, int]]:
    """Return (count, stride, stride of the second operand) of the merged dimensions of two operands, innermost last."""
    shape = network.values[layer.output].shape
    other = network.values[layer.inputs[1]].shape if layer.constant is None else layer.constant.shape
    other = (1,) * (len(shape) - len(other)) + tuple(other)
    strides = [0 if size == 1 else stride for size, stride in zip(other, dense_strides(other), strict=True)]
    merged: list[tuple[int, int, int]] = []
    for size, own, stride in zip(shape, dense_strides(shape), strides, strict=True):
        if size == 1:
            continue
        if merged and merged[-1][2] == size * stride:
            merged[-1] = (merged[-1][0] * size, own, stride)
        else:
            merged.append((size, own, stride))
    return merged or [(math.prod(shape), 1, 1)]
