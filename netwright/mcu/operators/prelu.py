"""PReLU: layer, lowering rule, C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.fixed import quantize_multiplier
from netwright.mcu.code import LayerData, struct
from netwright.mcu.layer import Layer, Network
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.elementwise import broadcast_call, constant_array, two_operands
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.tables import becomes_table


@dataclass(frozen=True, eq=False)
class Prelu(Layer):
    """x where x >= 0, else x times a slope of a constant that broadcasts (prelu.h of the reference kernels).

    `zero_points` are of (input, slope, output); multipliers and shifts of (x, x times slope).
    """

    zero_points: tuple[int, int, int]
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    constant: NDArray[np.int8]

    def data(self, network: Network, name: str) -> LayerData:
        """Return the kernel's constants and the slopes."""
        del network
        fields = [
            *zip(("zero_in", "zero_slope", "zero_out"), self.zero_points, strict=True),
            *zip(("factor_above", "factor_below"), self.multipliers, strict=True),
            *zip(("shift_above", "shift_below"), self.shifts, strict=True),
        ]
        text = struct("nw_prelu_constants", f"{name}_constants", fields) + constant_array(self.constant, name)
        return LayerData(text, frozenset({"prelu"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on all elements, in loops where the slopes broadcast."""
        del scratch

        def run(first: str, second: str, step: int, result: str, count: str) -> str:
            return f"nw_prelu({first}, {second}, {step}, {result}, {count}, &{name}_constants);"

        return broadcast_call(self, network, self.constant, name, inputs, out, run)


def lower(work: Lowering, op: Op) -> None:
    """PRELU with constant slopes."""
    if becomes_table(work, op):
        return
    inputs, constant, turned = two_operands(work, op)
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


OPERATOR = Operator(("PRELU",), lower, Prelu)
