"""Bytes that operations move."""

from __future__ import annotations

from collections.abc import Iterable

from netwright.graph.graph import Graph, Op

_BITS = {
    "float64": 64,
    "int64": 64,
    "complex64": 64,
    "complex128": 128,
    "float32": 32,
    "int32": 32,
    "float16": 16,
    "bfloat16": 16,
    "int16": 16,
    "int4": 4,
    "uint4": 4,
}

# What is made without reading the tensor it is modelled on, and what is not even written.
_NOT_READ = ("_like", "new_zeros", "new_ones", "new_full", "fill", "fill_", "zero_")
_NOT_WRITTEN = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")
# What reads only as much of its first operand as it returns.
_GATHERS = ("embedding", "index", "index_select", "gather", "select_copy", "slice_copy")


def bits(dtype: str) -> int:
    """Return the bits of one element of a type; 8 for the one-byte types and those that are not listed."""
    return _BITS.get(dtype, 8)


def tensor_bytes(graph: Graph, index: int) -> int:
    """Return the bytes of a tensor: its elements, or its whole storage where expanding repeats that."""
    tensor = graph.tensors[index]
    return min(-(-tensor.elements * bits(tensor.dtype) // 8), graph.storages[tensor.storage].bytes)


def moved_bytes(graph: Graph) -> tuple[int, ...]:
    """Return the bytes that each operation reads and writes: every input and every output once, parameters included.

    Views move nothing. What a gather does not return is not read; what is only allocated is not written. Caches and
    kernels that read an operand more than once are not in this: it is the least that an operation alone can do.
    """
    return tuple(_moved(graph, op) for op in graph.ops)


def compulsory_bytes(graph: Graph) -> int:
    """Return the bytes that any way of running a graph must move: parameters, buffers and inputs that something reads,
    and the outputs, each storage once.
    """
    used = {graph.tensors[index].storage for op in graph.ops if not op.view for index in op.inputs}
    given = sum(graph.storages[number].bytes for number in used if graph.storages[number].role != "activation")
    return given + _distinct(graph, graph.outputs)


def _moved(graph: Graph, op: Op) -> int:
    if op.view:
        return 0
    name = op.kind.partition(".")[2]
    written = 0 if name in _NOT_WRITTEN else _distinct(graph, op.outputs)
    if name in _NOT_WRITTEN or name.endswith(_NOT_READ) or name in _NOT_READ:
        return written
    if name in _GATHERS and op.inputs:
        return written + min(written, tensor_bytes(graph, op.inputs[0])) + _distinct(graph, op.inputs[1:])
    return written + _distinct(graph, op.inputs)


def _distinct(graph: Graph, tensors: Iterable[int]) -> int:
    """Return the bytes of tensors, each once, and of one storage never more than it has."""
    by_storage: dict[int, int] = {}
    for index in dict.fromkeys(tensors):
        number = graph.tensors[index].storage
        by_storage[number] = by_storage.get(number, 0) + tensor_bytes(graph, index)
    return sum(min(count, graph.storages[number].bytes) for number, count in by_storage.items())
