"""Sum and difference: layer, lowering rule, C.

The reference scales each term, rounds, adds, scales, rounds. What comes of it is nearly always the floor of one linear
function; where that holds for all 65,536 pairs of values, the kernel computes that function in two multiplications.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.elementwise import sum_constants
from netwright.graph.integers.fixed import rescale
from netwright.mcu.code import LayerData, struct
from netwright.mcu.layer import Network
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.elementwise import (
    PairLayer,
    as_read,
    constant_array,
    merged_runs,
    scaled_fields,
    two_operands,
)
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.tables import becomes_table

BITS = 28  # behind the point: 13 in the high halves of the numbers, 15 in the low ones
_NEAR = (0, 1, -1, 4, -4, 16, -16)  # changes of the factors that are tried
_OPEN = 1 << 60


@dataclass(frozen=True, slots=True)
class Linear:
    """clamp(floor((a x first + b x second + constant) / 2**28))."""

    first: int
    second: int
    constant: int


@dataclass(frozen=True, eq=False)
class Add(PairLayer):
    """Elementwise sum or difference (`sign` -1) of two values of one shape, or of one and a constant, or broadcast.

    Each input: (stored - zero_point) << left_shift, times its multiplier; the sum times the output's (add.h of the
    reference kernels). Multipliers and shifts are (first, second, output), shifts > 0 to the left. `constant`: the
    second operand, where it is no value.
    """

    sign: int
    left_shift: int
    zero_points: tuple[int, int, int]
    multipliers: tuple[int, int, int]
    shifts: tuple[int, int, int]
    low: int
    high: int
    constant: NDArray[np.int8] | None = None

    def data(self, network: Network, name: str) -> LayerData:
        """Return the constants of the kernel that `call` takes, and a constant operand."""
        text = self._constants(network, f"{name}_constants") + constant_array(self.constant, name)
        return LayerData(text, frozenset({"add"}))

    def reference(self) -> NDArray[np.int64]:
        """Return what it makes of every pair of values: entry [a + 128, b + 128]."""
        values = np.arange(-128, 128, dtype=np.int64)
        first, second = (
            rescale((values - self.zero_points[place]) << self.left_shift, self.multipliers[place], self.shifts[place])
            for place in (0, 1)
        )
        total = rescale(first[:, None] + self.sign * second, self.multipliers[2], self.shifts[2])
        return np.clip(total + self.zero_points[2], self.low, self.high)

    @cached_property
    def linear(self) -> Linear | None:
        """The linear function that equals the layer on every pair of values, None if none is found."""
        scales = [
            multiplier * 2.0 ** (shift - 31) for multiplier, shift in zip(self.multipliers, self.shifts, strict=True)
        ]
        factors = [scales[place] * scales[2] * 2.0 ** (self.left_shift + BITS) for place in (0, 1)]
        if max(factors) >= (1 << (BITS + 2)) - (1 << 15):  # 13 + 2 bits and a sign fill the high half
            return None
        wanted = self.reference()
        values = np.arange(-128, 128, dtype=np.int64)
        for near, other in itertools.product(_NEAR, repeat=2):
            first, second = round(factors[0]) + near, self.sign * (round(factors[1]) + other)
            sums = values[:, None] * first + values * second
            # Which constants give what is wanted of each pair; the ends of the range take all beyond them.
            least = np.where(wanted > self.low, (wanted << BITS) - sums, -_OPEN).max()
            most = np.where(wanted < self.high, ((wanted + 1) << BITS) - 1 - sums, _OPEN).min()
            if least <= most and max(-least, most) < _OPEN:
                return Linear(first, second, int(least + most) // 2)
        return None

    def kernel(self, name: str, first: str, second: str, step: int, out: str, count: str) -> str:
        """Return the call on a run of elements."""
        if step == 1 and self.linear:
            return f"nw_add_linear({first}, {second}, {out}, {count}, &{name}_constants);"
        return f"nw_add({first}, {second}, {step}, {out}, {count}, &{name}_constants);"

    def _constants(self, network: Network, name: str) -> str:
        found = self.linear if merged_runs(self, network, self.constant)[-1][2] == 1 else None
        if found:
            parts = [(number >> 15, number & 0x7FFF) for number in (found.first, found.second, found.constant)]
            fields = [
                *zip(("a_high", "b_high", "high"), (high for high, _ in parts), strict=True),
                *zip(("a_low", "b_low", "low"), (low for _, low in parts), strict=True),
                *(("least", self.low), ("most", self.high)),
            ]
            return struct("nw_add_linear_constants", name, fields)
        fields = scaled_fields(self.zero_points, self.multipliers, self.shifts)
        fields += [("left", self.left_shift), ("low", self.low), ("high", self.high), ("sign", self.sign)]
        return struct("nw_add_constants", name, fields)


def lower(work: Lowering, op: Op) -> None:
    """ADD and SUB."""
    if becomes_table(work, op):
        return
    sign = 1 if op.kind == "tflite.ADD" else -1
    constants = sum_constants(work.call(op))
    inputs, constant, turned = two_operands(work, op)
    zero_points, multipliers, shifts = (
        as_read(numbers, turned) for numbers in (constants.zero_points, constants.multipliers, constants.shifts)
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


OPERATOR = Operator(("ADD", "SUB"), lower, Add)
