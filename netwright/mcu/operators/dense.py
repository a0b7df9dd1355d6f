"""Fully connected layer: layer, lowering rule, C."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.mcu.code import LayerData, array, struct
from netwright.mcu.layer import Layer, Network, NetworkValue, Requantize, Work
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.pack import pack_matrix
from netwright.mcu.operators.shared.products import (
    bias_of,
    check_fields,
    clamp_once_more,
    limit_fields,
    matrix_fields,
    requantization,
    weights_of,
)


@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """Fully connected layer, applied to every row of the last dimension; `weights` as (out, in).

    Its products are rounded once, ties away from zero, unlike a convolution's: acc x multiplier / 2**(31 - shift) in 64
    bits. LiteRT 2 computes them in float64; lowering proves both equal (graph/integers/fixed.py: multipliers_once), or
    leaves them in float64 (`Requantize.reals`).
    """

    weights: NDArray[np.int8]
    input_zero_point: int
    requantize: Requantize

    def macs(self, values: Sequence[NetworkValue]) -> int:
        """Return the weights' multiplications."""
        return values[self.inputs[0]].bytes * len(self.weights)

    def clamped(self, low: int, high: int) -> Layer:
        """Return it with its results clamped once more."""
        return replace(self, requantize=clamp_once_more(self.requantize, low, high))

    def estimate(self, network: Network, rows: int) -> float:
        """Return instructions by outputs and products."""
        made = network.values[self.output]
        outputs = made.bytes * (rows / made.shape[0] if rows else 1.0)
        return outputs * (1.3 * self.weights.shape[1] + 12)

    def work(self, network: Network, by_rows: bool) -> Work:
        """Return outputs and products."""
        del by_rows
        outputs = math.prod(network.values[self.output].shape)
        return self.type_name, (outputs, outputs * network.values[self.inputs[0]].shape[-1])

    def flash(self) -> tuple[Work, str]:
        """Return channels and weights."""
        return (f"constants {self.type_name}", (1, len(self.requantize.multiplier), self.weights.size)), self.type_name

    def data(self, network: Network, name: str) -> LayerData:
        """Return the packed weights and the kernel's struct."""
        if self.requantize.reals is not None:
            return self._real_data(self.requantize.reals, name)
        packed = pack_matrix(self.weights, self.requantize, pixels=self._rows(network), once=True)
        check_fields(self, depth=packed.depth, outputs=len(self.weights))
        limits = limit_fields(self.requantize, self.input_zero_point)
        fields = matrix_fields(packed, len(self.weights), limits, name)
        text = array(f"{name}_weights", packed.stream) + struct("nw_matrix", f"{name}_matrix", fields.items())
        return LayerData(text, frozenset(["pointwise"]))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call that applies it to every row of its input."""
        del scratch
        (outputs, depth), rows = self.weights.shape, self._rows(network)
        if self.requantize.reals is not None:
            return f"nw_dense_real_all(&{name}_dense, {inputs[0]}, {out}, {rows});"
        return f"nw_pointwise(&{name}_matrix, {inputs[0]}, {out}, {rows}, {depth}, {outputs}, 1);"

    def _rows(self, network: Network) -> int:
        return network.values[self.inputs[0]].bytes // self.weights.shape[1]

    def _real_data(self, reals: NDArray[np.float64], name: str) -> LayerData:
        requantize, (outputs, depth) = self.requantize, self.weights.shape
        scales = ", ".join(value.hex() for value in reals.tolist())
        fields = {
            "weights": f"{name}_weights",
            "bias": f"{name}_bias",
            "scales": f"{name}_scales",
            "depth": depth,
            "outputs": outputs,
            "zero_point": requantize.zero_point,
            "low": requantize.low,
            "high": requantize.high,
        }
        text = array(f"{name}_weights", self.weights) + array(f"{name}_bias", requantize.bias)
        text += f"static const double {name}_scales[{outputs}] = {{{scales}}};\n"
        return LayerData(text + struct("nw_dense_real", f"{name}_dense", fields.items()), frozenset({"dense_real"}))


def lower(work: Lowering, op: Op) -> None:
    """FULLY_CONNECTED, on as many rows as its input holds."""
    tensors = work.operands(op)
    weights = weights_of(work, op, tensors[1], 2)
    outputs, depth = weights.shape
    source = work.value(op, tensors[0])
    given = work.values[source]
    rows = given.bytes // depth if depth else 0
    if rows * depth != given.bytes or rows * outputs != work.model.graph.tensors[op.outputs[0]].elements or not rows:
        raise work.refuse(
            op,
            f"weights of shape {weights.shape} do not fit an input of shape {given.shape}",
            "Convert the model again.",
        )
    if given.shape[-1:] != (depth,):
        name = f"{given.name} flattened"
        source = work.new((depth,) if rows == 1 else (rows, depth), name, given.scale, given.zero_point, alias=source)
    requantize = requantization(work, op, weights, bias_of(work, op), once=True)
    _, zero_point = work.quantization(op, tensors[0])  # pyright: ignore[reportArgumentType]
    output = work.make(op, op.outputs[0])
    work.layers.append(Dense((source,), output, op.path, weights, zero_point, requantize))


OPERATOR = Operator(("FULLY_CONNECTED",), lower, Dense)
