"""Product of two values, element by element: layer, lowering rule, C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.fixed import quantize_multiplier
from netwright.mcu.code import LayerData, RowPlace, struct
from netwright.mcu.layer import Layer, Network
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.elementwise import broadcast_call, constant_array, of_one_shape, two_operands
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.tables import becomes_table


@dataclass(frozen=True, eq=False)
class Multiply(Layer):
    """Elementwise product of two values, of one and a constant, or broadcast; `zero_points` of (first, second, output)."""

    zero_points: tuple[int, int, int]
    multiplier: int
    shift: int
    low: int
    high: int
    constant: NDArray[np.int8] | None = None

    elementwise: ClassVar[bool] = True

    def streams(self, network: Network) -> bool:
        """Return whether rows are made of rows."""
        return of_one_shape(self, network, self.constant)

    def clamped(self, low: int, high: int) -> Layer:
        """Return it with its results clamped once more."""
        return replace(self, low=min(max(self.low, low), high), high=min(max(self.high, low), high))

    def data(self, network: Network, name: str) -> LayerData:
        """Return the kernel's constants, and a constant operand."""
        del network
        zeros = zip(("zero_a", "zero_b", "zero_out"), self.zero_points, strict=True)
        fields = [*zeros, ("factor", self.multiplier), ("shift", self.shift), ("low", self.low), ("high", self.high)]
        text = struct("nw_mul_constants", f"{name}_constants", fields) + constant_array(self.constant, name)
        return LayerData(text, frozenset({"mul"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on all elements, in loops where the second operand broadcasts."""
        del scratch

        def run(first: str, second: str, step: int, result: str, count: str) -> str:
            return self._run(name, first, second, step, result, count)

        return broadcast_call(self, network, self.constant, name, inputs, out, run)

    def row(self, network: Network, name: str, place: RowPlace) -> list[str]:
        """Return the call on the elements of a row."""
        del network
        first, second = place.inputs()
        return [self._run(name, first, second, 1, place.out, place.elements())]

    def _run(self, name: str, first: str, second: str, step: int, out: str, count: str) -> str:
        return f"nw_mul({first}, {second}, {step}, {out}, {count}, &{name}_constants);"


def lower(work: Lowering, op: Op) -> None:
    """MUL; its multiplier is computed in float32, as the reference does."""
    if becomes_table(work, op):
        return
    call = work.call(op)
    inputs, constant, turned = two_operands(work, op)
    (first, zero_1), (second, zero_2), (output_scale, zero_out) = call.of(0), call.of(1), call.out()
    multiplier, shift = quantize_multiplier(float(first * second / output_scale))
    if shift > 14:
        raise work.refuse(op, f"it multiplies by {first * second / output_scale:g}", "Quantize the model again.")
    low, high = work.clamp(op, op.outputs[0])
    zero_points = (zero_2, zero_1, zero_out) if turned else (zero_1, zero_2, zero_out)
    output = work.make(op, op.outputs[0])
    work.layers.append(Multiply(inputs, output, op.path, zero_points, multiplier, shift, low, high, constant))


OPERATOR = Operator(("MUL",), lower, Multiply)
