"""Functions of one int8 value as tables, and which operations are such functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.call import Call
from netwright.mcu.code import LayerData, RowPlace, array
from netwright.mcu.layer import Layer, Network
from netwright.mcu.operators.shared.lowering import Lowering

_IDENTITY = np.arange(-128, 128, dtype=np.int8)


@dataclass(frozen=True, eq=False)
class Lookup(Layer):
    """A function of one int8 value: table[stored + 128]. Logistic, tanh, hard-swish, ReLUs, requantization."""

    table: NDArray[np.int8]

    elementwise: ClassVar[bool] = True

    def streams(self, network: Network) -> bool:
        """Every table makes rows."""
        del network
        return True

    def data(self, network: Network, name: str) -> LayerData:
        """Return the table in the order of the kernel's index, the value as an unsigned byte: 0 to 127, -128 to -1."""
        del network
        return LayerData(array(f"{name}_table", np.roll(self.table, -128)), frozenset({"lookup"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on all elements."""
        del scratch
        return self._run(name, inputs[0], out, str(network.values[self.output].bytes))

    def row(self, network: Network, name: str, place: RowPlace) -> list[str]:
        """Return the call on the elements of a row."""
        del network
        return [self._run(name, place.inputs()[0], place.out, place.elements())]

    def _run(self, name: str, given: str, out: str, count: str) -> str:
        return f"nw_lookup({given}, {out}, {count}, {name}_table);"


def becomes_table(work: Lowering, op: Op) -> bool:
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
    kernel = work.arithmetic[op.kind.removeprefix("tflite.")]
    # A batch of 1 with 256 elements in a row: every kernel of this sort takes it.
    table = kernel(Call(work.model, op, tuple(array.reshape(1, -1) for array in arrays))).reshape(256)
    if np.array_equal(table, _IDENTITY):
        work.make(op, op.outputs[0], alias=base)
        return True
    output = work.make(op, op.outputs[0])
    work.functions[output] = base, table
    work.layers.append(Lookup((base,), output, op.path, table))
    return True
