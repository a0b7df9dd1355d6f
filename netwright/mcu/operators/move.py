"""Operators that only move elements: their lowering rule, which makes copies of blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.call import Call
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.copies import Copy
from netwright.mcu.operators.shared.lowering import LARGEST_ELEMENTS, Lowering


def lower(work: Lowering, op: Op) -> None:
    """Operators that only move elements: what the interpreter does to their indices says where each comes from."""
    name = op.kind.removeprefix("tflite.")
    check_size(work, op, name)
    sources: list[int] = []
    arrays: list[NDArray[Any] | None] = []
    start = 0
    for tensor in work.operands(op):  # one that is given twice is counted twice: each has its place in the result
        constant = work.constant(tensor)
        if tensor is None or (constant is not None and constant.dtype != np.int8) or (name == "PADV2" and arrays):
            arrays.append(constant)
            continue
        sources.append(work.value(op, tensor))
        given = work.model.graph.tensors[tensor]
        arrays.append(np.arange(start, start + given.elements, dtype=np.int32).reshape(given.shape))
        start += work.values[sources[-1]].bytes
    try:
        made = work.arithmetic[name](Call(work.model, op, tuple(arrays)))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise work.refuse(op, f"its options do not fit its operands ({error})", "Convert the model again.") from error
    made = made if isinstance(made, tuple) else (made,)
    for tensor, index in zip(op.outputs, made, strict=False):
        if index.shape != work.model.graph.tensors[tensor].shape or len(made) != len(op.outputs):
            raise work.refuse(
                op, f"it makes the shape {index.shape}, the model says another", "Convert the model again."
            )
        work.gather(op, tensor, sources, index, work.model.names[tensor])


def check_size(work: Lowering, op: Op, name: str) -> None:
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
    elif name == "GATHER" and len(tensors) > 1 and tensors[0] is not None:
        picked, axis = len(work.integers(op, tensors[1], "choice")), op.arguments["axis"]
        given = graph.tensors[tensors[0]]
        if not -len(given.shape) <= axis < len(given.shape):
            raise work.refuse(op, f"its axis {axis} is none of {len(given.shape)} dimensions", "Convert it again.")
        made = picked * (given.elements // max(1, given.shape[axis]))
    elif name == "TILE":
        times = work.integers(op, tensors[1] if len(tensors) > 1 else None, "repetition")
        made = math.prod(map(abs, times)) * math.prod(sides[: len(times)])
    elif name == "BROADCAST_TO":
        made = math.prod(map(abs, work.integers(op, tensors[1] if len(tensors) > 1 else None, "shape")))
    elif name == "SPACE_TO_BATCH_ND":
        widths = work.integers(op, tensors[2] if len(tensors) > 2 else None, "padding")
        padded = [0, 0, *widths, *(0 for _ in range(2 * len(sides)))]
        shape = graph.tensors[tensors[0]].shape if tensors[0] is not None else ()
        made = math.prod(side + low + high for side, low, high in zip(shape, padded[::2], padded[1::2], strict=False))
    if largest > LARGEST_ELEMENTS or made > largest:
        raise work.refuse(
            op,
            f"its result of {max(made, largest):,} elements is too large or not as the model says",
            "Convert it again.",
        )


OPERATOR = Operator(
    (
        "BATCH_TO_SPACE_ND",
        "BROADCAST_TO",
        "CONCATENATION",
        "DEPTH_TO_SPACE",
        "GATHER",
        "MIRROR_PAD",
        "PACK",
        "REVERSE_V2",
        "SLICE",
        "SPACE_TO_BATCH_ND",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SPLIT_V",
        "STRIDED_SLICE",
        "TILE",
        "UNPACK",
    ),
    lower,
    Copy,
)
