"""Product of two values, element by element: layer, lowering rule, C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.fixed import quantize_multiplier
from netwright.mcu.code import LayerData, struct
from netwright.mcu.layer import Network
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.elementwise import PairLayer, constant_array, two_operands
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.tables import becomes_table


@dataclass(frozen=True, eq=False)
class Multiply(PairLayer):
    """Elementwise product of two values, of one and a constant, or broadcast; `zero_points` of (first, second, output)."""

    zero_points: tuple[int, int, int]
    multiplier: int
    shift: int
    low: int
    high: int
    constant: NDArray[np.int8] | None = None

    def data(self, network: Network, name: str) -> LayerData:
        """Return the kernel's constants, and a constant operand."""
        del network
        zeros = zip(("zero_a", "zero_b", "zero_out"), self.zero_points, strict=True)
        fields = [*zeros, ("factor", self.multiplier), ("shift", self.shift), ("low", self.low), ("high", self.high)]
        text = struct("nw_mul_constants", f"{name}_constants", fields) + constant_array(self.constant, name)
        return LayerData(text, frozenset({"mul"}))

    def kernel(self, name: str, first: str, second: str, step: int, out: str, count: str) -> str:
        """Return the call on a run of elements."""
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
