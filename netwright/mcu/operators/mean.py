"""Mean over dimensions: layer, lowering rule, C."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from netwright.graph.graph import Op
from netwright.graph.integers.reduce import mean_constants
from netwright.mcu.code import LayerData, struct
from netwright.mcu.layer import Layer, Network, Work
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering, Permuted, without_batch


@dataclass(frozen=True, eq=False)
class Mean(Layer):
    """Mean over the dimensions `axes`, requantized with one multiplier (reduce.h of the reference kernels)."""

    axes: tuple[int, ...]
    input_zero_point: int
    multiplier: int
    shift: int
    zero_point: int

    def work(self, network: Network, by_rows: bool) -> Work:
        """Return elements made and read."""
        del by_rows
        given, made = (network.values[index].shape for index in (self.inputs[0], self.output))
        return self.type_name, (math.prod(made), math.prod(given))

    def data(self, network: Network, name: str) -> LayerData:
        """Return the kernel's constants."""
        sides = five_sides(network.values[self.inputs[0]].shape, self.axes)
        count = sides[1] * sides[3]
        fields = [
            *zip(("outer", "across", "middle", "down", "inner"), sides, strict=True),
            *(("factor", self.multiplier), ("offset", self.input_zero_point * count)),
            *(("shift", self.shift), ("zero_out", self.zero_point)),
        ]
        return LayerData(struct("nw_mean_constants", f"{name}_constants", fields), frozenset({"mean"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on a whole tensor."""
        del network, scratch
        return f"nw_mean({inputs[0]}, {out}, &{name}_constants);"


def five_sides(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, int, int, int, int]:
    """Return a shape merged to (outer, reduced, middle, reduced, inner); sides of 1 join any.

    Raises:
        ValueError: the axes form more than two groups.
    """
    runs: list[tuple[bool, int]] = []
    for axis, side in enumerate(shape):
        if side == 1:
            continue
        reduced = axis in axes
        if runs and runs[-1][0] == reduced:
            runs[-1] = (reduced, runs[-1][1] * side)
        else:
            runs.append((reduced, side))
    sides = [1, 1, 1, 1, 1]
    place = 4
    for reduced, side in reversed(runs):
        if (place % 2 == 1) != reduced:
            place -= 1
        if place < 0:
            raise ValueError(f"the axes {axes} of {shape} form more than two groups")
        sides[place] = side
        place -= 1
    outer, across, middle, down, inner = sides
    return outer, across, middle, down, inner


def lower(work: Lowering, op: Op) -> None:
    """MEAN over any dimensions; a transposition before it stays one behind it, of what is left."""
    tensors = work.operands(op)
    given = tensors[0]
    full = work.model.graph.tensors[given].shape if given is not None else ()
    axes = work.integers(op, tensors[1] if len(tensors) > 1 else None, "axes")
    if any(not -len(full) <= axis < len(full) for axis in axes):
        raise work.refuse(op, f"its axes {axes} are not among {len(full)} dimensions", "Convert the model again.")
    waiting = work.permuted(given) if given is not None else None
    cut = len(full) - len(without_batch(full))
    if waiting and (op.arguments["keep_dims"] or len(waiting.order) != len(full) - cut):
        waiting = None
    source = waiting.source if waiting else work.value(op, given)
    given_value = work.values[source]
    reduced = sorted({axis % len(full) - cut for axis in axes} - ({-1} if cut else set()))
    order = waiting.order if waiting else tuple(range(len(given_value.shape)))
    own = tuple(sorted(order[axis] for axis in reduced))
    _, zero_point = work.quantization(op, given)  # pyright: ignore[reportArgumentType]
    _, output_zero_point = work.quantization(op, op.outputs[0])
    count = math.prod(given_value.shape[axis] for axis in own)
    if not 1 <= count <= 1 << 22:
        raise work.refuse(op, f"it takes the mean of {count} values", "1 to 4,194,304 are possible.")
    try:
        five_sides(given_value.shape, own)
    except ValueError as error:
        raise work.refuse(op, str(error), "Take the means one after the other.") from None
    multiplier, shift = mean_constants(work.call(op), count)
    kept = [axis for axis in range(len(order)) if axis not in own]
    wanted = [axis for axis in order if axis not in own]
    if math.prod(given_value.shape[axis] for axis in kept) != work.model.graph.tensors[op.outputs[0]].elements:
        raise work.refuse(op, "its output is of another shape than the model says", "Convert the model again.")
    straight = kept == wanted
    shape = None if straight else tuple(given_value.shape[axis] for axis in kept)
    output = work.make(op, op.outputs[0], shape=shape)
    work.layers.append(Mean((source,), output, op.path, own, zero_point, multiplier, shift, output_zero_point))
    if not straight:
        work.waits(op.outputs[0], Permuted(output, tuple(kept.index(axis) for axis in wanted)), op.path)


OPERATOR = Operator(("MEAN",), lower, Mean)
