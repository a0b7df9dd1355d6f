"""What reductions share: the sides their kernels loop over, and which axes of which value an operation reduces."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netwright.graph.graph import Op
from netwright.mcu.layer import Layer, Network, Work
from netwright.mcu.operators.shared.lowering import Lowering, Permuted, without_batch


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


class ReducingLayer(Layer):
    """A layer that reduces dimensions of a tensor, on whole tensors; its dataclasses have this field."""

    axes: tuple[int, ...]

    def work(self, network: Network, by_rows: bool) -> Work:
        """Return elements made and read."""
        del by_rows
        given, made = (network.values[index].shape for index in (self.inputs[0], self.output))
        return self.type_name, (math.prod(made), math.prod(given))

    def sides(self, network: Network) -> dict[str, int]:
        """Return the sides that the kernel loops over, by the names of its constants."""
        sides = five_sides(network.values[self.inputs[0]].shape, self.axes)
        return dict(zip(("outer", "across", "middle", "down", "inner"), sides, strict=True))


@dataclass(frozen=True)
class Reduction:
    """The value that an operation reduces, over which of its axes, and the order in which the operation's result has the others."""

    source: int
    axes: tuple[int, ...]
    count: int
    order: tuple[int, ...]


def reduction(work: Lowering, op: Op, what: str) -> Reduction:
    """Return what an operation reduces; a transposition before it is read through. `what`: it takes, for messages.

    Raises:
        NetwrightError: axes that are not constant or not there, too many values, or more than two groups of axes.
    """
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
    shape = work.values[source].shape
    reduced = sorted({axis % len(full) - cut for axis in axes} - ({-1} if cut else set()))
    order = waiting.order if waiting else tuple(range(len(shape)))
    own = tuple(sorted(order[axis] for axis in reduced))
    count = math.prod(shape[axis] for axis in own)
    if not 1 <= count <= 1 << 22:
        raise work.refuse(op, f"it takes the {what} of {count} values", "1 to 4,194,304 are possible.")
    try:
        five_sides(shape, own)
    except ValueError as error:
        raise work.refuse(op, str(error), f"Take the {what} over one group after the other.") from None
    return Reduction(source, own, count, order)


def make_reduced(work: Lowering, op: Op, found: Reduction) -> int:
    """Return the value of a reduction's result; a transposition before it stays one behind it, of what is left."""
    given = work.values[found.source]
    kept = [axis for axis in range(len(found.order)) if axis not in found.axes]
    wanted = [axis for axis in found.order if axis not in found.axes]
    if math.prod(given.shape[axis] for axis in kept) != work.model.graph.tensors[op.outputs[0]].elements:
        raise work.refuse(op, "its output is of another shape than the model says", "Convert the model again.")
    if kept == wanted:
        return work.make(op, op.outputs[0])
    output = work.make(op, op.outputs[0], shape=tuple(given.shape[axis] for axis in kept))
    work.waits(op.outputs[0], Permuted(output, tuple(kept.index(axis) for axis in wanted)), op.path)
    return output
