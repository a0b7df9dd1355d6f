"""Softmax: layer, lowering rule, C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netwright.graph.graph import Op
from netwright.graph.integers.functions import softmax_constants
from netwright.mcu.code import LayerData
from netwright.mcu.layer import Layer, Network
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering


@dataclass(frozen=True, eq=False)
class Softmax(Layer):
    """Softmax over the last dimension, in the reference kernels' fixed point (softmax.h)."""

    multiplier: int
    left_shift: int
    diff_min: int

    def data(self, network: Network, name: str) -> LayerData:
        """Return the header; the numbers are arguments of the call."""
        del network, name
        return LayerData("", frozenset({"softmax"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on every row of the last dimension."""
        del name, scratch
        given = network.values[self.inputs[0]]
        width = given.shape[-1]
        numbers = f"{given.bytes // width}, {width}, {self.multiplier}, {self.left_shift}, {self.diff_min}"
        return f"nw_softmax({inputs[0]}, {out}, {numbers});"


def lower(work: Lowering, op: Op) -> None:
    """SOFTMAX over the last dimension, to the scale 1/256 that its reference kernel has."""
    (given, *_) = work.operands(op)
    source = work.value(op, given)
    scale, _ = work.quantization(op, given)  # pyright: ignore[reportArgumentType]
    if work.quantization(op, op.outputs[0]) != (1 / 256, -128):
        raise work.refuse(op, "its output is not of scale 1/256 and zero point -128", "Convert the model again.")
    beta = float(op.arguments["beta"])
    shape = work.values[source].shape
    if not 0 < beta < 1e6 or shape != work.shape(op.outputs[0]) or not 1 <= shape[-1] < 4096:
        raise work.refuse(
            op, f"beta {beta} on {shape}", "beta is positive; 1 to 4,095 values are in the last dimension."
        )
    multiplier, left_shift, diff_min = softmax_constants(beta, scale)
    if not 0 <= left_shift <= 30:
        raise work.refuse(op, f"the scale {scale:g} is out of its arithmetic's range", "Quantize the model again.")
    output = work.make(op, op.outputs[0])
    work.layers.append(Softmax((source,), output, op.path, multiplier, left_shift, diff_min))


OPERATOR = Operator(("SOFTMAX",), lower, Softmax)
