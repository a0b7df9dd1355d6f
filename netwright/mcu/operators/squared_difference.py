"""Square of the difference of two values, element by element: layer, lowering rule, C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.elementwise import square_constants
from netwright.mcu.code import LayerData, struct
from netwright.mcu.layer import Network
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.elementwise import PairLayer, as_read, constant_array, scaled_fields, two_operands
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.tables import becomes_table


@dataclass(frozen=True, eq=False)
class SquaredDifference(PairLayer):
    """Squares of differences in a common scale (squared_difference.cc); numbers are of (first, second, output)."""

    zero_points: tuple[int, int, int]
    multipliers: tuple[int, int, int]
    shifts: tuple[int, int, int]
    low: int
    high: int
    constant: NDArray[np.int8] | None = None

    def data(self, network: Network, name: str) -> LayerData:
        """Return the kernel's constants, and a constant operand."""
        del network
        fields = scaled_fields(self.zero_points, self.multipliers, self.shifts)
        fields += [("low", self.low), ("high", self.high)]
        text = struct("nw_squared_difference_constants", f"{name}_constants", fields)
        return LayerData(text + constant_array(self.constant, name), frozenset({"squared_difference"}))

    def kernel(self, name: str, first: str, second: str, step: int, out: str, count: str) -> str:
        """Return the call on a run of elements."""
        return f"nw_squared_difference({first}, {second}, {step}, {out}, {count}, &{name}_constants);"


def lower(work: Lowering, op: Op) -> None:
    """SQUARED_DIFFERENCE; of one value and one number, a table."""
    if becomes_table(work, op):
        return
    found = square_constants(work.call(op))
    inputs, constant, turned = two_operands(work, op)
    zero_points, multipliers, shifts = (
        as_read(numbers, turned) for numbers in (found.zero_points, found.multipliers, found.shifts)
    )
    output = work.make(op, op.outputs[0])
    work.layers.append(
        SquaredDifference(inputs, output, op.path, zero_points, multipliers, shifts, found.low, found.high, constant)
    )


OPERATOR = Operator(("SQUARED_DIFFERENCE",), lower, SquaredDifference)
