"""The larger and the smaller of two values, element by element: layer, lowering rule, C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.mcu.code import LayerData
from netwright.mcu.layer import Network
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.elementwise import PairLayer, constant_array, two_operands
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.tables import becomes_table


@dataclass(frozen=True, eq=False)
class Extreme(PairLayer):
    """The larger (`kind` "max") or smaller ("min") of two values that are quantized alike, of one and a constant, or broadcast."""

    kind: str
    low: int
    high: int
    constant: NDArray[np.int8] | None = None

    def data(self, network: Network, name: str) -> LayerData:
        """Return a constant operand."""
        del network
        return LayerData(constant_array(self.constant, name), frozenset({"extreme"}))

    def kernel(self, name: str, first: str, second: str, step: int, out: str, count: str) -> str:
        """Return the call on a run of elements."""
        del name
        return f"nw_elementwise_{self.kind}({first}, {second}, {step}, {out}, {count}, {self.low}, {self.high});"


def lower(work: Lowering, op: Op) -> None:
    """MAXIMUM and MINIMUM; with one number, a table."""
    if becomes_table(work, op):
        return
    inputs, constant, _ = two_operands(work, op)
    made = work.quantization(op, op.outputs[0])
    if any(work.quantization(op, tensor) != made for tensor in op.inputs):
        raise work.refuse(op, "its tensors have different scales or zero points", "Requantize its operands first.")
    kind = "max" if op.kind == "tflite.MAXIMUM" else "min"
    work.layers.append(Extreme(inputs, work.make(op, op.outputs[0]), op.path, kind, -128, 127, constant))


OPERATOR = Operator(("MAXIMUM", "MINIMUM"), lower, Extreme)
