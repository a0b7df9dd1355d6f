"""Mean and sum over dimensions: layer, lowering rule, C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netwright.graph.graph import Op
from netwright.graph.integers.reduce import mean_constants, sum_multiplier
from netwright.mcu.code import LayerData, struct
from netwright.mcu.layer import Network
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.reductions import ReducingLayer, make_reduced, reduction


@dataclass(frozen=True, eq=False)
class Mean(ReducingLayer):
    """Mean or sum over the dimensions `axes`, requantized with one multiplier (reduce.h of the reference kernels)."""

    axes: tuple[int, ...]
    input_zero_point: int
    multiplier: int
    shift: int
    zero_point: int

    def data(self, network: Network, name: str) -> LayerData:
        """Return the kernel's constants."""
        sides = self.sides(network)
        count = sides["across"] * sides["down"]
        fields = [
            *sides.items(),
            *(("factor", self.multiplier), ("offset", self.input_zero_point * count)),
            *(("shift", self.shift), ("zero_out", self.zero_point)),
        ]
        return LayerData(struct("nw_mean_constants", f"{name}_constants", fields), frozenset({"mean"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on a whole tensor."""
        del network, scratch
        return f"nw_mean({inputs[0]}, {out}, &{name}_constants);"


def lower(work: Lowering, op: Op) -> None:
    """MEAN and SUM over any dimensions; a transposition before it stays one behind it, of what is left."""
    name = op.kind.removeprefix("tflite.")
    found = reduction(work, op, name.lower())
    _, zero_point = work.quantization(op, op.inputs[0])
    _, output_zero_point = work.quantization(op, op.outputs[0])
    call = work.call(op)
    multiplier, shift = mean_constants(call, found.count) if name == "MEAN" else sum_multiplier(call)
    if name == "SUM" and 255 * found.count << max(shift, 0) >= 1 << 30:
        raise work.refuse(op, f"its sum of {found.count} values may leave 30 bits", "Quantize the model again.")
    output = make_reduced(work, op, found)
    work.layers.append(
        Mean((found.source,), output, op.path, found.axes, zero_point, multiplier, shift, output_zero_point)
    )


OPERATOR = Operator(("MEAN", "SUM"), lower, Mean)
