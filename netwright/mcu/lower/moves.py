"""Operators that move elements: views, padding, transposition, joins, slices, resizing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.call import Call
from netwright.graph.integers.interpret import KERNELS
from netwright.graph.integers.moves import nearest_indices
from netwright.graph.integers.reduce import bilinear_places
from netwright.mcu.lower.lowering import LARGEST_ELEMENTS, Lowering, Padded, Permuted, without_batch
from netwright.mcu.network import Resize


def view(work: Lowering, op: Op) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the same bytes under another shape."""
    source = work.value(op, work.operands(op)[0])
    shape = work.shape(op.outputs[0])
    output = work.make(op, op.outputs[0], alias=source)
    if work.values[output].bytes != work.values[source].bytes:
        raise work.refuse(op, f"{work.values[source].shape} cannot be seen as {shape}", "Convert the model again.")


def pad(work: Lowering, op: Op) -> None:
    """PAD with the zero point or PADV2 with a value; waits for what reads it."""
    tensors = work.operands(op)
    given = tensors[0]
    source = work.value(op, given)
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
    work.waits(op.outputs[0], Padded(source, before[cut:], after[cut:], fill), op.path)


def transpose(work: Lowering, op: Op) -> None:
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


def move(work: Lowering, op: Op) -> None:
    """Operators that only move elements: what the interpreter does to their indices says where each comes from."""
    name = op.kind.removeprefix("tflite.")
    _check_size(work, op, name)
    sources: list[int] = []
    arrays: list[NDArray[Any] | None] = []
    start = 0
    for tensor in work.operands(op):  # one that stands twice is counted twice: each has its place in the result
        constant = work.constant(tensor)
        if tensor is None or constant is not None:
            if constant is not None and constant.dtype == np.int8:
                raise work.refuse(op, "one of what it moves is a constant", "Fold constants before converting.")
            arrays.append(constant)
            continue
        sources.append(work.value(op, tensor))
        given = work.model.graph.tensors[tensor]
        arrays.append(np.arange(start, start + given.elements, dtype=np.int32).reshape(given.shape))
        start += work.values[sources[-1]].bytes
    try:
        made = KERNELS[name](Call(work.model, op, tuple(arrays)))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise work.refuse(op, f"its options do not fit its operands ({error})", "Convert the model again.") from error
    made = made if isinstance(made, tuple) else (made,)
    for tensor, index in zip(op.outputs, made, strict=False):
        if index.shape != work.model.graph.tensors[tensor].shape or len(made) != len(op.outputs):
            raise work.refuse(
                op, f"it makes the shape {index.shape}, the model says another", "Convert the model again."
            )
        work.lay(op, tensor, sources, index, work.model.names[tensor])


def _check_size(work: Lowering, op: Op, name: str) -> None:
    """Refuse what would make more than the model says, before anything of that size is made."""
    tensors, graph = work.operands(op), work.model.graph
    declared = [graph.tensors[tensor] for tensor in op.outputs]
    largest = max(tensor.elements for tensor in declared)
    sides = [side for tensor in tensors if tensor is not None for side in graph.tensors[tensor].shape]
    made = 0
    if name in ("CONCATENATION", "PACK"):
        made = sum(graph.tensors[tensor].elements for tensor in tensors if tensor is not None)
    elif name == "MIRROR_PAD":
        widths = work.integers(op, tensors[1] if len(tensors) > 1 else None, "padding")
        made = math.prod(side + low + high for side, low, high in zip(sides, widths[::2], widths[1::2], strict=False))
    elif name in ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"):
        height, width, *_ = [*work.integers(op, tensors[1] if len(tensors) > 1 else None, "size"), 0, 0]
        made = height * width * sides[3] if len(declared[0].shape) == 4 and len(sides) >= 4 else largest + 1
    elif name == "GATHER" and len(tensors) > 1:
        picked, axis = len(work.integers(op, tensors[1], "choice")), op.arguments["axis"]
        side = sides[axis] if 0 <= axis < len(sides) else 1
        made = picked * (graph.tensors[tensors[0]].elements // max(1, side)) if tensors[0] is not None else 0
    if largest > LARGEST_ELEMENTS or made > largest:
        raise work.refuse(
            op,
            f"its result of {max(made, largest):,} elements is too large or not as the model says",
            "Convert it again.",
        )


def resize(work: Lowering, op: Op) -> None:
    """RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR; whole factors of the latter are copies."""
    nearest = op.kind == "tflite.RESIZE_NEAREST_NEIGHBOR"
    _check_size(work, op, op.kind.removeprefix("tflite."))
    tensors = work.operands(op)
    source = work.value(op, tensors[0])
    shape, made = work.values[source].shape, work.shape(op.outputs[0])
    sizes = work.integers(op, tensors[1] if len(tensors) > 1 else None, "size")
    if (
        len(shape) != 3
        or len(made) != 3
        or (*sizes, shape[2]) != made
        or max(*shape, *made) > 1 << 14
        or 0 in (*shape, *made)
    ):
        raise work.refuse(op, f"it makes {made} of {shape}", "One image is resized, of sides from 1 to 16,384.")
    options = {"align": bool(op.arguments["align_corners"]), "half": bool(op.arguments["half_pixel_centers"])}
    if (
        nearest
        and all(side <= other and other % side == 0 for side, other in zip(shape, made, strict=True))
        and not options["align"]
    ):
        move(work, op)
        return
    tables = []
    for side, other in zip(shape[:2], made[:2], strict=True):
        if nearest:
            index = nearest_indices(side, other, **options)
            table = np.stack([index, index, np.zeros_like(index)], axis=1)
        else:
            table = np.stack(bilinear_places(side, other, **options), axis=1)
        tables.append(table.astype(np.int16))
    work.layers.append(Resize((source,), work.make(op, op.outputs[0]), op.path, *tables))
