"""Largest and smallest value over dimensions, such as global max pooling: layer, lowering rule, C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netwright.graph.graph import Op
from netwright.mcu.code import LayerData, struct
from netwright.mcu.layer import Network
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.reductions import ReducingLayer, make_reduced, reduction


@dataclass(frozen=True, eq=False)
class ReduceExtreme(ReducingLayer):
    """The largest value over the dimensions `axes`, or (`least`) the smallest."""

    axes: tuple[int, ...]
    least: bool

    def data(self, network: Network, name: str) -> LayerData:
        """Return the kernel's constants."""
        sides = self.sides(network)
        fields = [*sides.items(), ("flip", -int(self.least))]
        return LayerData(struct("nw_reduce_constants", f"{name}_constants", fields), frozenset({"reduce"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on a whole tensor."""
        del network, scratch
        return f"nw_reduce_max({inputs[0]}, {out}, &{name}_constants);"


def lower(work: Lowering, op: Op) -> None:
    """REDUCE_MAX and REDUCE_MIN over any dimensions."""
    found = reduction(work, op, "extreme")
    if work.quantization(op, op.inputs[0]) != work.quantization(op, op.outputs[0]):
        raise work.refuse(op, "its output has another scale or zero point than its input", "Convert the model again.")
    output = make_reduced(work, op, found)
    least = op.kind == "tflite.REDUCE_MIN"
    work.layers.append(ReduceExtreme((found.source,), output, op.path, found.axes, least))


OPERATOR = Operator(("REDUCE_MAX", "REDUCE_MIN"), lower, ReduceExtreme)
