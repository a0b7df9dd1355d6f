"""Run an integer network in NumPy with the arithmetic of TensorFlow Lite's reference kernels, bit for bit.

This is the oracle that generated C is held against. It is written from the kernels' definitions, one function an operator,
and held itself against LiteRT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, unknown
from netwright.graph.graph import Op
from netwright.graph.integers import activations, elementwise, functions, moves, reduce
from netwright.graph.integers import conv as convs
from netwright.graph.integers.batches import batches, rowwise
from netwright.graph.integers.call import Call
from netwright.graph.integers.fold import folded
from netwright.graph.integers.quantized import QuantizedGraph

KERNELS: dict[str, Callable[[Call], Any]] = {
    "ADD": elementwise.add,
    "AVERAGE_POOL_2D": reduce.average_pool,
    "BATCH_MATMUL": convs.batch_matmul,
    "BATCH_TO_SPACE_ND": moves.batch_to_space,
    "BROADCAST_TO": moves.broadcast_to,
    "CONCATENATION": moves.concatenate,
    "CONV_2D": convs.conv,
    "DEPTHWISE_CONV_2D": convs.depthwise,
    "DEPTH_TO_SPACE": moves.depth_to_space,
    "DEQUANTIZE": elementwise.dequantize,
    "EXPAND_DIMS": moves.reshape,
    "FULLY_CONNECTED": convs.fully_connected,
    "GATHER": moves.gather,
    "HARD_SWISH": activations.hard_swish,
    "LEAKY_RELU": activations.leaky_relu,
    "LOGISTIC": functions.logistic,
    "MAXIMUM": elementwise.maximum,
    "MAX_POOL_2D": reduce.max_pool,
    "MEAN": reduce.mean,
    "MINIMUM": elementwise.minimum,
    "MIRROR_PAD": moves.mirror_pad,
    "MUL": elementwise.multiply,
    "PACK": moves.pack,
    "PAD": moves.pad,
    "PADV2": moves.pad,
    "PRELU": activations.prelu,
    "QUANTIZE": elementwise.quantize,
    "RELU": activations.relu,
    "RELU6": activations.relu,
    "RELU_N1_TO_1": activations.relu,
    "RESHAPE": moves.reshape,
    "RESIZE_BILINEAR": reduce.resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": moves.resize_nearest,
    "REVERSE_V2": moves.reverse,
    "SLICE": moves.take_slice,
    "SOFTMAX": functions.softmax,
    "SPACE_TO_BATCH_ND": moves.space_to_batch,
    "SPACE_TO_DEPTH": moves.space_to_depth,
    "SPLIT": moves.split,
    "SPLIT_V": moves.split_sizes,
    "SQUEEZE": moves.reshape,
    "STRIDED_SLICE": moves.strided_slice,
    "SUB": elementwise.subtract,
    "TANH": functions.tanh,
    "TILE": moves.tile,
    "TRANSPOSE": moves.transpose,
    "TRANSPOSE_CONV": convs.transpose_conv,
    "UNPACK": moves.unpack,
}


# Values of the largest tensor that are worked on at a time: more would not stay in a cache.
_WORKING = 1 << 20


def interpret(
    model: QuantizedGraph,
    inputs: Sequence[NDArray[Any]],
    *,
    keep: bool = False,
    kernels: Mapping[str, Callable[[Call], Any]] | None = None,
) -> list[Any]:
    """Return a network's outputs for inputs, or every tensor by index (None where nothing was made) with `keep`.

    Args:
        model: of "tflite.*" operations.
        inputs: one array an input of the graph, of its type; the first dimension may be any multiple of the graph's.
            Results of more than one batch lie behind one another along the first dimension.
        keep: return every tensor.
        kernels: functions of operators of one's own, by name, instead of `KERNELS` or besides them; where the network has
            one of these, batches are computed one after another.

    Raises:
        NetwrightError: inputs that do not fit, an operator that is not known, or numbers that no kernel takes.
    """
    own = dict(kernels or {})
    model = folded(model, leave=own)
    graph = model.graph
    times = batches(model, inputs)
    whole = not any(_name(op) in own for op in graph.ops) and rowwise(model)
    largest = max((graph.tensors[index].elements for op in graph.ops for index in op.outputs), default=1)
    step = max(1, _WORKING // max(1, largest)) if whole else 1
    results = []
    for first in range(0, times, step):
        last = min(times, first + step)
        part = [
            values[first * len(values) // times : last * len(values) // times] if values.ndim and times > 1 else values
            for values in inputs
        ]
        results.append(_run_all(model, part, KERNELS | own))
    wanted = range(len(graph.tensors)) if keep else graph.outputs
    if len(results) == 1:
        return [results[0][index] for index in wanted]
    return [
        results[0][index] if index in model.values or results[0][index] is None else _joined(results, index)
        for index in wanted
    ]


def _joined(results: list[list[Any]], index: int) -> NDArray[Any]:
    return np.concatenate([np.atleast_1d(tensors[index]) for tensors in results])


def _name(op: Op) -> str:
    return op.kind.removeprefix("tflite.")


def _run_all(
    model: QuantizedGraph, inputs: Sequence[NDArray[Any]], kernels: Mapping[str, Callable[[Call], Any]]
) -> list[NDArray[Any] | None]:
    tensors: list[NDArray[Any] | None] = [None] * len(model.graph.tensors)
    for index, values in (*model.values.items(), *zip(model.graph.inputs, inputs, strict=True)):
        tensors[index] = values
    for op in model.graph.ops:
        _run(model, op, tensors, kernels)
    return tensors


def _run(
    model: QuantizedGraph,
    op: Op,
    tensors: list[NDArray[Any] | None],
    kernels: Mapping[str, Callable[[Call], Any]],
) -> None:
    name = _name(op)
    if name not in kernels:
        raise unknown("operator of the integer interpreter", name, kernels)
    operands = tuple(None if operand is None else tensors[operand.tensor] for operand in op.arguments["inputs"])
    call = Call(model, op, operands)
    try:
        made = kernels[name](call)
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
        raise NetwrightError(f"{call.where} cannot be computed: {error}. Its shapes or options do not fit.") from error
    for index, values in zip(op.outputs, made if isinstance(made, tuple) else (made,), strict=True):
        tensors[index] = values
