"""Elementwise operators as layers: sums, products, and functions of one value as tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.call import Call
from netwright.graph.integers.elementwise import sum_constants
from netwright.graph.integers.fixed import quantize_multiplier
from netwright.graph.integers.interpret import KERNELS
from netwright.mcu.lower.lowering import Lowering, without_batch
from netwright.mcu.network import Add, Lookup, Multiply, Prelu

_IDENTITY = np.arange(-128, 128, dtype=np.int8)


def border(work: Lowering, tensor: int, named: int) -> int:
    """Return the value of a network's input: the tensor that is int8, under the name of the input."""
    op = Op("tflite.INPUT", (), (tensor,), {"inputs": []})
    scale, zero_point = work.quantization(op, tensor)
    value = work.new(work.shape(tensor), work.model.names[named], scale, zero_point)
    work.stands[tensor] = value
    return value


def add(work: Lowering, op: Op) -> None:
    """ADD and SUB."""
    if _table_of(work, op):
        return
    sign = 1 if op.kind == "tflite.ADD" else -1
    constants = sum_constants(work.call(op))
    inputs, constant, turned = _operands(work, op)
    order = (1, 0, 2) if turned else (0, 1, 2)
    zero_points, multipliers, shifts = (
        (numbers[order[0]], numbers[order[1]], numbers[2])
        for numbers in (constants.zero_points, constants.multipliers, constants.shifts)
    )
    if turned and sign < 0:
        raise work.refuse(op, "it subtracts from a constant", "Let the converter negate and add.")
    output = work.make(op, op.outputs[0])
    work.layers.append(
        Add(
            inputs, output, op.path, sign, constants.left_shift, zero_points, multipliers, shifts,
            constants.low, constants.high, constant,
        )
    )  # fmt: skip


def multiply(work: Lowering, op: Op) -> None:
    """MUL; its multiplier is computed in float32, as the reference does."""
    if _table_of(work, op):
        return
    call = work.call(op)
    inputs, constant, turned = _operands(work, op)
    (first, zero_1), (second, zero_2), (output_scale, zero_out) = call.of(0), call.of(1), call.out()
    multiplier, shift = quantize_multiplier(float(first * second / output_scale))
    if shift > 14:
        raise work.refuse(op, f"it multiplies by {first * second / output_scale:g}", "Quantize the model again.")
    low, high = work.clamp(op, op.outputs[0])
    zero_points = (zero_2, zero_1, zero_out) if turned else (zero_1, zero_2, zero_out)
    output = work.make(op, op.outputs[0])
    work.layers.append(Multiply(inputs, output, op.path, zero_points, multiplier, shift, low, high, constant))


def _operands(work: Lowering, op: Op) -> tuple[tuple[int, ...], NDArray[np.int8] | None, bool]:
    """Return the values, the constant if one is, and whether the constant or the smaller one stood first."""
    tensors = work.operands(op)
    if len(tensors) != 2 or None in tensors:
        raise work.refuse(op, f"it has {len(tensors)} operands", "Two are needed.")
    for tensor in (*tensors, op.outputs[0]):
        work.quantization(op, tensor)  # pyright: ignore[reportArgumentType]
    given = [work.constant(tensor) for tensor in tensors]
    made = work.model.graph.tensors[op.outputs[0]].shape
    shapes = [work.model.graph.tensors[tensor].shape for tensor in tensors if tensor is not None]
    try:
        fits = np.broadcast_shapes(*shapes) == made
    except ValueError:
        fits = False
    if not fits:
        raise work.refuse(op, f"{shapes[0]} and {shapes[1]} do not make {made}", "Convert the model again.")
    if all(values is not None for values in given):
        raise work.refuse(op, "both operands are constants", "Fold constants before converting.")
    turned = given[0] is not None or (given[1] is None and shapes[0] != made)
    if turned:
        tensors.reverse()
        given.reverse()
        shapes.reverse()
    if shapes[0] != made:
        raise work.refuse(
            op, f"{shapes[0]} and {shapes[1]} both are smaller than {made}", "One must be of the result's shape."
        )
    if given[1] is None:
        return (work.value(op, tensors[0]), work.value(op, tensors[1])), None, turned
    return (work.value(op, tensors[0]),), given[1].reshape(without_batch(given[1].shape)), turned


def prelu(work: Lowering, op: Op) -> None:
    """PRELU with constant slopes."""
    if _table_of(work, op):
        return
    inputs, constant, turned = _operands(work, op)
    if constant is None or turned:
        raise work.refuse(op, "its slopes are no constant that broadcasts", "Constant slopes are compiled.")
    call = work.call(op)
    (scale, zero_point), (slope, zero_slope), (output_scale, zero_out) = call.of(0), call.of(1), call.out()
    above = quantize_multiplier(float(scale / output_scale))
    below = quantize_multiplier(float(scale * slope / output_scale))
    if max(above[1], below[1]) > 14:
        raise work.refuse(op, f"its scale {output_scale:g} is too small", "Quantize the model again.")
    output = work.make(op, op.outputs[0])
    numbers = ((zero_point, zero_slope, zero_out), (above[0], below[0]), (above[1], below[1]))
    work.layers.append(Prelu(inputs, output, op.path, *numbers, constant))


def quantize(work: Lowering, op: Op) -> None:
    """QUANTIZE: at a network's border nothing is left of it; from int8 to int8 it is a table."""
    source, made = work.operands(op)[0], op.outputs[0]
    if made in work.stands:
        return
    if source is not None and work.dtype(made) == "uint8" and shifted_by_128(work, made, source) and _ends(work, made):
        work.stands[made] = work.value(op, source)
        work.notes.append(f"the output {work.model.names[made]!r} is uint8 in the model: its values less 128 are given")
    else:
        lookup(work, op)


def shifted_by_128(work: Lowering, wide: int, stored: int) -> bool:
    """Whether a uint8 tensor holds an int8 tensor's values plus 128, and means the same."""
    found = [work.model.quantization[tensor] for tensor in (wide, stored)]
    if found[0] is None or found[1] is None or work.dtype(wide) != "uint8" or work.dtype(stored) != "int8":
        return False
    same = len(found[0].scale) == len(found[1].scale) == 1 and found[0].scale[0] == found[1].scale[0]
    return same and int(found[0].zero_point[0]) == int(found[1].zero_point[0]) + 128


def _ends(work: Lowering, tensor: int) -> bool:
    """Whether a tensor is an output of the network that nothing reads."""
    return tensor in work.model.graph.outputs and not any(tensor in op.inputs for op in work.model.graph.ops)


def dequantize(work: Lowering, op: Op) -> None:
    """DEQUANTIZE at the end: the output is given as int8."""
    source, made = work.operands(op)[0], op.outputs[0]
    if source is None or work.dtype(source) != "int8" or not _ends(work, made):
        raise work.refuse(
            op, "its float values are computed with", "Quantize the model fully; DEQUANTIZE may only end it."
        )
    if work.model.graph.tensors[source].shape != work.model.graph.tensors[made].shape:
        raise work.refuse(op, "its input is of another shape", "The model is damaged: convert it again.")
    work.stands[made] = work.value(op, source)
    work.notes.append(
        f"the output {work.model.names[made]!r} is float32 in the model: int8 is given, as the header says"
    )


def lookup(work: Lowering, op: Op) -> None:
    """Any function of one int8 value, and of constants that are a single number."""
    if not _table_of(work, op):
        raise work.refuse(
            op, "it is no function of one value", "Sums, products and functions of one value are compiled."
        )


def _table_of(work: Lowering, op: Op) -> bool:
    """Make an operation a table if it computes each element from one element of one value; return whether it does.

    What is itself a table of that value counts: x x relu6(x + 3) / 6 of several operations becomes one table. The
    interpreter fills it, so that every rounding between stays.
    """
    arrays: list[NDArray[Any]] = []
    base, found = -1, None
    for tensor in work.operands(op):
        constant = work.constant(tensor)
        if constant is not None and constant.size == 1:
            arrays.append(constant.reshape(()))
            continue
        if constant is not None or tensor is None:
            return False
        work.quantization(op, tensor)
        value = work.value(op, tensor)
        source, table = work.functions.get(value, (value, _IDENTITY))
        if base not in (-1, source) or work.shape(tensor) != work.shape(op.outputs[0]):
            return False
        base = source
        found = tensor
        arrays.append(table)
    if found is None:
        return False
    work.quantization(op, op.outputs[0])
    kernel = KERNELS.get(op.kind.removeprefix("tflite."))
    if kernel is None:
        raise work.refuse(op, "its arithmetic is not known here", f"Known: {', '.join(sorted(KERNELS))}.")
    # A batch of 1 with 256 elements in a row: every kernel of this sort takes it.
    table = kernel(Call(work.model, op, tuple(array.reshape(1, -1) for array in arrays))).reshape(256)
    if np.array_equal(table, _IDENTITY):
        work.make(op, op.outputs[0], alias=base)
        return True
    output = work.make(op, op.outputs[0])
    work.functions[output] = base, table
    work.layers.append(Lookup((base,), output, op.path, table))
    return True
