"""What is known before a network runs is computed once: shapes, and operations on constants alone.

The constants are computed by the interpreter's own kernels, or, where they are plain numbers, by those of `numbers`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.graph import Op
from netwright.graph.integers import elementwise, moves
from netwright.graph.integers.call import Call
from netwright.graph.integers.numbers import NUMBERS
from netwright.graph.integers.quantized import QuantizedGraph

LARGEST_FOLDED = 1 << 22  # elements of what is made: a file may state any size
# What moves, joins or computes element by element: none makes more than its operands and its output state.
_MOVES: Mapping[str, Callable[[Call], Any]] = {
    "BROADCAST_TO": moves.broadcast_to,
    "CONCATENATION": moves.concatenate,
    "EXPAND_DIMS": moves.reshape,
    "GATHER": moves.gather,
    "PACK": moves.pack,
    "RESHAPE": moves.reshape,
    "REVERSE_V2": moves.reverse,
    "SLICE": moves.take_slice,
    "SPLIT": moves.split,
    "SPLIT_V": moves.split_sizes,
    "SQUEEZE": moves.reshape,
    "STRIDED_SLICE": moves.strided_slice,
    "TILE": moves.tile,
    "TRANSPOSE": moves.transpose,
    "UNPACK": moves.unpack,
}
_QUANTIZED: Mapping[str, Callable[[Call], Any]] = {
    "ADD": elementwise.add,
    "DEQUANTIZE": elementwise.dequantize,
    "MUL": elementwise.multiply,
    "QUANTIZE": elementwise.quantize,
    "SUB": elementwise.subtract,
}


def folded(model: QuantizedGraph, leave: Collection[str] = ()) -> QuantizedGraph:
    """Return a graph whose operations all depend on its inputs; the numbers of its tensors stay as they are.

    What cannot be computed here stays an operation.

    Args:
        model: the graph, of one batch.
        leave: operators, by name, that stay whatever they read: those whose arithmetic is another than usual.
    """
    values = dict(model.values)
    kept: list[Op] = []
    for op in model.graph.ops:
        made = None if op.writes or _name(op) in leave else _computed(model, op, values)
        if made is None:
            kept.append(op)
            continue
        for tensor, array in zip(op.outputs, made, strict=True):
            array.flags.writeable = False
            values[tensor] = array
    if len(kept) == len(model.graph.ops):
        return model
    return replace(model, graph=replace(model.graph, ops=tuple(kept)), values=values)


def _name(op: Op) -> str:
    return op.kind.removeprefix("tflite.")


def _computed(model: QuantizedGraph, op: Op, values: Mapping[int, NDArray[Any]]) -> list[NDArray[Any]] | None:
    """Return an operation's outputs, None where they depend on what the network is given or cannot be computed here."""
    graph = model.graph
    if _name(op) in ("SHAPE", "RANK") and len(op.inputs) == len(op.outputs) == 1:
        shape = graph.tensors[op.inputs[0]].shape
        dtype = graph.tensors[op.outputs[0]].dtype
        if dtype not in ("int32", "int64"):
            return None
        return [np.array(shape if _name(op) == "SHAPE" else len(shape), dtype)]
    operands = op.arguments.get("inputs", ())
    if not op.inputs or not all(index in values for index in op.inputs):
        return None
    elements = sum(graph.tensors[index].elements for index in (*op.inputs, *op.outputs))
    if elements > LARGEST_FOLDED or any(values[index].shape != graph.tensors[index].shape for index in op.inputs):
        return None
    call = Call(model, op, tuple(None if one is None else values[one.tensor] for one in operands))
    try:
        with np.errstate(all="ignore"):
            made = _kernel(call)
    except (NetwrightError, ArithmeticError, LookupError, TypeError, ValueError):
        return None
    stated = [(graph.tensors[index].shape, graph.tensors[index].dtype) for index in op.outputs]
    if made is None or [(array.shape, array.dtype.name) for array in made] != stated:
        return None
    return made


def _kernel(call: Call) -> list[NDArray[Any]] | None:
    name, (first, *_) = _name(call.op), call.op.inputs
    if name in _MOVES:
        kernels = _MOVES
    elif name == "QUANTIZE" or call.model.quantization[first] is not None:
        kernels = _QUANTIZED
    else:
        kernels = NUMBERS
    if name not in kernels or not _stays_small(call, name):
        return None
    made = kernels[name](call)
    return [
        np.ascontiguousarray(array).reshape(np.shape(array)) for array in (made if isinstance(made, tuple) else (made,))
    ]


def _stays_small(call: Call, name: str) -> bool:
    """Return whether an operation makes no more than the graph states, before it is done."""
    stated = int(np.prod(call.out_shape(), dtype=object))
    if name == "GATHER":
        side = call.array(0).shape[call.option("axis")]
        return call.array(1).size * call.array(0).size == stated * side
    if name in ("ADD", "MUL", "SUB"):
        return np.broadcast_shapes(call.array(0).shape, call.array(1).shape) == call.out_shape()
    if name == "TILE":
        return (
            int(
                np.prod(
                    [side * times for side, times in zip(call.array(0).shape, call.whole(1), strict=True)], dtype=object
                )
            )
            == stated
        )
    if name == "BROADCAST_TO":
        return tuple(call.whole(1)) == call.out_shape()
    return True
