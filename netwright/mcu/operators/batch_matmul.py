"""Products of two activations as matrices: layer, lowering rule, C."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netwright.graph.graph import Op
from netwright.graph.integers.conv import product_multiplier
from netwright.mcu.code import LayerData, struct
from netwright.mcu.layer import ONE_PIXEL, Layer, Network, NetworkValue, Requantize
from netwright.mcu.operators.conv import Conv
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.products import requantization, weights_of


@dataclass(frozen=True, eq=False)
class BatchMatmul(Layer):
    """Products of matrices, the last two dimensions of two values; leading ones broadcast, `turned` swaps those two.

    sum of (a - zero) x (b - zero), times one multiplier, plus the output's zero point (batch_matmul.h).
    """

    turned: tuple[bool, bool]
    zero_points: tuple[int, int, int]
    multiplier: int
    shift: int

    def macs(self, values: Sequence[NetworkValue]) -> int:
        """Return the products of values."""
        return values[self.output].bytes * values[self.inputs[0]].shape[-2 if self.turned[0] else -1]

    def data(self, network: Network, name: str) -> LayerData:
        """Return the kernel's constants."""
        (rows_a, columns_a), (_, columns_b) = (network.values[value].shape[-2:] for value in self.inputs)
        a_row, a_step = (1, columns_a) if self.turned[0] else (columns_a, 1)
        b_step, b_column = (1, columns_b) if self.turned[1] else (columns_b, 1)
        rows, columns = network.values[self.output].shape[-2:]
        fields = [
            *(("rows", rows), ("columns", columns), ("depth", rows_a if self.turned[0] else columns_a)),
            *(("a_row", a_row), ("a_step", a_step), ("b_step", b_step), ("b_column", b_column)),
            *zip(("zero_a", "zero_b", "zero_out"), self.zero_points, strict=True),
            *(("factor", self.multiplier), ("shift", self.shift)),
        ]
        return LayerData(struct("nw_batch_matmul_constants", f"{name}_constants", fields), frozenset({"batch_matmul"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on each pair of matrices."""
        del scratch
        made = network.values[self.output].shape
        pointers, head = [*inputs, out], ""
        shapes = [*(network.values[value].shape for value in self.inputs), made]
        for depth, count in enumerate(made[:-2]):
            head += f"for (int32_t i{depth} = 0; i{depth} < {count}; i{depth}++) "
            for place, shape in enumerate(shapes):
                axis = depth - (len(made) - len(shape))
                if axis >= 0 and shape[axis] != 1:
                    pointers[place] += f" + i{depth} * {math.prod(shape[axis + 1 :])}"
        return head + f"nw_batch_matmul({', '.join(pointers)}, &{name}_constants);"


def lower(work: Lowering, op: Op) -> None:
    """BATCH_MATMUL; a constant second matrix makes it a pointwise convolution, whose rounding is the same."""
    tensors = work.operands(op)
    if (
        len(tensors) != 2
        or None in tensors
        or op.arguments["adj_x"] not in (0, 1)
        or op.arguments["adj_y"] not in (0, 1)
    ):
        raise work.refuse(op, "it has no two operands", "Convert the model again.")
    first, second = (tensor for tensor in tensors if tensor is not None)
    zero_points = tuple(work.quantization(op, tensor)[1] for tensor in (first, second, op.outputs[0]))
    mantissa, shift = product_multiplier(work.call(op))
    source = work.value(op, first)
    if work.constant(second) is not None:
        _constant_matmul(work, op, source, second)
        return
    other = work.value(op, second)
    turned = bool(op.arguments["adj_x"]), bool(op.arguments["adj_y"])
    shapes = [work.values[value].shape for value in (source, other)]
    wanted = work.shape(op.outputs[0])
    sides = [
        (*shape[:-2], *(shape[-2:][::-1] if turn else shape[-2:])) for shape, turn in zip(shapes, turned, strict=True)
    ]
    try:
        leading = np.broadcast_shapes(sides[0][:-2], sides[1][:-2])
    except ValueError:
        leading = (-1,)
    fits = min(len(side) for side in sides) >= 2 and sides[0][-1] == sides[1][-2]
    if not fits or wanted != (*leading, sides[0][-2], sides[1][-1]) or len(wanted) > 4 or 0 in wanted:
        raise work.refuse(op, f"{shapes[0]} times {shapes[1]} does not make {wanted}", "Convert the model again.")
    if sides[0][-1] > 1 << 15 or shift > 14:
        raise work.refuse(op, "its sums may leave 32 bits", "At most 32,768 products are added.")
    output = work.make(op, op.outputs[0])
    work.layers.append(
        BatchMatmul(
            (source, other), output, op.path, turned, (zero_points[0], zero_points[1], zero_points[2]), mantissa, shift
        )
    )


def _constant_matmul(work: Lowering, op: Op, source: int, second: int) -> None:
    """Rows of the first matrix are pixels, columns of the second one filters."""
    matrix = weights_of(work, op, second, len(work.model.graph.tensors[second].shape))
    given = work.values[source]
    if matrix.size != int(np.prod(matrix.shape[-2:])) or op.arguments["adj_x"]:
        raise work.refuse(
            op, "one operand is a constant of several matrices, or the other is turned", "One matrix is compiled."
        )
    filters = np.ascontiguousarray(
        matrix.reshape(matrix.shape[-2:]) if op.arguments["adj_y"] else matrix.reshape(matrix.shape[-2:]).T
    )
    outputs, depth = filters.shape
    rows = given.bytes // depth
    if given.shape[-1] != depth or rows * outputs != work.model.graph.tensors[op.outputs[0]].elements:
        raise work.refuse(
            op, f"{given.shape} times {matrix.shape} does not make its output", "Convert the model again."
        )
    pixels = work.new((1, rows, depth), f"{given.name} as pixels", given.scale, given.zero_point, alias=source)
    folded = requantization(work, op, filters, None)
    mantissa, shift = product_multiplier(work.call(op))
    requantize = Requantize(
        folded.bias, np.full(outputs, mantissa, np.int32), np.full(outputs, shift, np.int32),
        folded.zero_point, -128, 127,
    )  # fmt: skip
    scale, zero_point = work.quantization(op, op.outputs[0])
    made = work.new((1, rows, outputs), f"{op.path} as pixels", scale, zero_point)
    kernel = filters.reshape(outputs, 1, 1, depth)
    work.layers.append(Conv((pixels,), made, op.path, ONE_PIXEL, kernel, given.zero_point, requantize))
    work.make(op, op.outputs[0], alias=made)


OPERATOR = Operator(("BATCH_MATMUL",), lower, BatchMatmul)
