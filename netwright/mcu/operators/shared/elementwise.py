"""What sums, products and PReLU share: two operands that broadcast."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.mcu.code import RowPlace, array
from netwright.mcu.layer import Layer, Network
from netwright.mcu.operators.shared.copies import dense_strides
from netwright.mcu.operators.shared.lowering import Lowering, without_batch

_Run = Callable[[str, str, int, str, str], str]  # first, second, its step, out, count -> call


def two_operands(work: Lowering, op: Op) -> tuple[tuple[int, ...], NDArray[np.int8] | None, bool]:
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


Numbers = tuple[int, int, int]  # of the first operand, the second, and the result


def scaled_fields(zero_points: Numbers, multipliers: Numbers, shifts: Numbers) -> list[tuple[str, int]]:
    """Return the fields of a kernel's constants that scale two operands and a result."""
    return [
        (f"{what}_{end}", number)
        for what, numbers in (("zero", zero_points), ("factor", multipliers), ("shift", shifts))
        for end, number in zip(("a", "b", "out"), numbers, strict=True)
    ]


def as_read(numbers: Numbers, turned: bool) -> Numbers:
    """Return numbers of the operands in the order in which the layer reads them (`two_operands`)."""
    first, second, out = numbers
    return (second, first, out) if turned else (first, second, out)


def of_one_shape(layer: Layer, network: Network, constant: NDArray[np.int8] | None) -> bool:
    """Return whether a layer reads values of its result's shape and no constant, so that rows are made of rows."""
    shape = network.values[layer.output].shape
    return constant is None and all(network.values[value].shape == shape for value in layer.inputs)


def constant_array(constant: NDArray[np.int8] | None, name: str) -> str:
    """Return the C array of a constant operand, nothing where there is none."""
    return "" if constant is None else array(f"{name}_constant", constant)


def broadcast_call(
    layer: Layer,
    network: Network,
    constant: NDArray[np.int8] | None,
    name: str,
    inputs: Sequence[str],
    out: str,
    run: _Run,
) -> str:
    """Return the C of two operands of which the second may be smaller: loops around runs of one or all its elements."""
    second = inputs[1] if constant is None else f"{name}_constant"
    *loops, (count, _, step) = merged_runs(layer, network, constant)
    head, first, result = "", inputs[0], out
    for depth, (size, own, stride) in enumerate(loops):
        index = f"i{depth}"
        head += f"for (int32_t {index} = 0; {index} < {size}; {index}++) "
        first, result = f"{first} + {index} * {own}", f"{result} + {index} * {own}"
        second = f"{second} + {index} * {stride}" if stride else second
    return head + run(first, second, step, result, str(count))


def merged_runs(layer: Layer, network: Network, constant: NDArray[np.int8] | None) -> list[tuple[int, int, int]]:
    """Return (count, stride, stride of the second operand) of the merged dimensions of two operands, innermost last."""
    shape = network.values[layer.output].shape
    other = network.values[layer.inputs[1]].shape if constant is None else constant.shape
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


class PairLayer(Layer):
    """A layer of two operands, the second of which may be a constant or broadcast; its dataclasses have these fields."""

    low: int
    high: int
    constant: NDArray[np.int8] | None

    elementwise: ClassVar[bool] = True

    @abstractmethod
    def kernel(self, name: str, first: str, second: str, step: int, out: str, count: str) -> str:
        """Return the call on a run of elements, the second operand's read at every `step`."""

    def streams(self, network: Network) -> bool:
        """Return whether rows are made of rows."""
        return of_one_shape(self, network, self.constant)

    def clamped(self, low: int, high: int) -> Self:
        """Return it with its results clamped once more."""
        return replace(self, low=min(max(self.low, low), high), high=min(max(self.high, low), high))  # type: ignore[call-arg]

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on all elements, in loops where the second operand broadcasts."""
        del scratch

        def run(first: str, second: str, step: int, result: str, count: str) -> str:
            return self.kernel(name, first, second, step, result, count)

        return broadcast_call(self, network, self.constant, name, inputs, out, run)

    def row(self, network: Network, name: str, place: RowPlace) -> list[str]:
        """Return the call on the elements of a row."""
        del network
        first, second = place.inputs()
        return [self.kernel(name, first, second, 1, place.out, place.elements())]
