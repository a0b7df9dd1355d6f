"""Operators that make no layer of their own: views, and padding and transposition, which wait for what reads them."""

from __future__ import annotations

from netwright.graph.graph import Op
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering, Padded, Permuted, without_batch


def lower_view(work: Lowering, op: Op) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the same bytes under another shape; of a padded value, if only sides of 1 come and go."""
    if _of_padded(work, op):
        return
    source = work.value(op, work.operands(op)[0])
    shape = work.shape(op.outputs[0])
    output = work.make(op, op.outputs[0], alias=source)
    if work.values[output].bytes != work.values[source].bytes:
        raise work.refuse(op, f"{work.values[source].shape} cannot be seen as {shape}", "Convert the model again.")


def _of_padded(work: Lowering, op: Op) -> bool:
    """Let a padding that waits go on waiting behind a view that only adds or drops sides of 1; return whether it does."""
    given = work.operands(op)[0]
    waiting = work.padded(given) if given is not None else None
    if waiting is None:
        return False
    source, wanted = work.values[waiting.source], work.shape(op.outputs[0])
    sides = [*zip(source.shape, waiting.before, waiting.after, strict=True)]
    left = iter([side for side in sides if sum(side) != 1])
    seen = [next(left, (0, 0, 0)) if side != 1 else (1, 0, 0) for side in wanted]
    if tuple(map(sum, seen)) != wanted or next(left, None) is not None:
        return False
    shape, before, after = zip(*seen, strict=True)
    view = work.new(shape, source.name, source.scale, source.zero_point, alias=waiting.source)
    work.waits(op.outputs[0], Padded(view, before, after, waiting.fill), op.path)
    return True


def lower_pad(work: Lowering, op: Op) -> None:
    """PAD with the zero point or PADV2 with a value; waits for what reads it."""
    tensors = work.operands(op)
    given = tensors[0]
    full = work.model.graph.tensors[given].shape if given is not None else ()
    widths = work.integers(op, tensors[1] if len(tensors) > 1 else None, "padding")
    before, after = tuple(widths[::2]), tuple(widths[1::2])
    wanted = tuple(low + size + high for low, size, high in zip(before, full, after, strict=False))
    if (
        len(widths) != 2 * len(full)
        or min(widths, default=0) < 0
        or wanted != work.model.graph.tensors[op.outputs[0]].shape
    ):
        raise work.refuse(
            op, f"its padding {widths} does not lead from {full} to its output", "Convert the model again."
        )
    cut = len(full) - len(without_batch(full))
    if any(before[:cut]) or any(after[:cut]):
        raise work.refuse(op, "it pads the batch", "Networks of batch 1 are compiled.")
    _, fill = work.quantization(op, op.outputs[0])
    if len(tensors) > 2:
        (fill,) = work.integers(op, tensors[2], "padding value")[:1] or [fill]
    low, high = before[cut:], after[cut:]
    inner = work.padded(given) if given is not None else None
    if inner is not None and inner.fill == fill:
        source = inner.source
        low, high = (tuple(map(sum, zip(*both, strict=True))) for both in ((inner.before, low), (inner.after, high)))
    else:
        source = work.value(op, given)
    work.waits(op.outputs[0], Padded(source, low, high, fill), op.path)


def lower_transpose(work: Lowering, op: Op) -> None:
    """TRANSPOSE; free where only sides of 1 move, else it waits: a mean takes it in."""
    tensors = work.operands(op)
    source = work.value(op, tensors[0])
    full = work.model.graph.tensors[tensors[0]].shape if tensors[0] is not None else ()
    order = work.integers(op, tensors[1] if len(tensors) > 1 else None, "order")
    wanted = work.model.graph.tensors[op.outputs[0]].shape
    if sorted(order) != list(range(len(full))) or tuple(full[axis] for axis in order) != wanted:
        raise work.refuse(op, f"the order {order} does not lead from {full} to {wanted}", "Convert the model again.")
    moved = [axis for axis in order if full[axis] != 1]
    if moved == sorted(moved):
        work.make(op, op.outputs[0], alias=source)
        return
    cut = len(full) - len(without_batch(full))
    if cut and order[0] != 0:  # the batch of 1 moves inwards: the order of the rest, on a value without its sides of 1
        sides = tuple(size for size in full if size != 1)
        given = work.values[source]
        source = work.new(sides, f"{given.name} squeezed", given.scale, given.zero_point, alias=source)
        ranks = {axis: number for number, axis in enumerate(axis for axis in range(len(full)) if full[axis] != 1)}
        work.waits(op.outputs[0], Permuted(source, tuple(ranks[axis] for axis in moved)), op.path)
        return
    work.waits(op.outputs[0], Permuted(source, tuple(axis - cut for axis in order[cut:])), op.path)


VIEW = Operator(("EXPAND_DIMS", "RESHAPE", "SQUEEZE"), lower_view)
PAD = Operator(("PAD", "PADV2"), lower_pad)
TRANSPOSE = Operator(("TRANSPOSE",), lower_transpose)
