"""Bytes that operations move."""

from __future__ import annotations

from collections.abc import Iterable

from netwright.graph.dtypes import bytes_of
from netwright.graph.graph import Graph, Op


def tensor_bytes(graph: Graph, index: int) -> int:
    """Return the bytes of a tensor: its elements, or its whole storage where expanding repeats that."""
    tensor = graph.tensors[index]
    return min(bytes_of(tensor.shape, tensor.dtype), graph.storages[tensor.storage].bytes)


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
    traits = graph.traits(op)
    written = _distinct(graph, op.outputs) if traits.writes else 0
    if traits.reads == "nothing":
        return written
    if traits.reads == "result" and op.inputs:
        return written + min(written, tensor_bytes(graph, op.inputs[0])) + _distinct(graph, op.inputs[1:])
    return written + _distinct(graph, op.inputs)


def _distinct(graph: Graph, tensors: Iterable[int]) -> int:
    """Return the bytes of tensors, each once, and of one storage never more than it has."""
    by_storage: dict[int, int] = {}
    for index in dict.fromkeys(tensors):
        number = graph.tensors[index].storage
        by_storage[number] = by_storage.get(number, 0) + tensor_bytes(graph, index)
    return sum(min(count, graph.storages[number].bytes) for number, count in by_storage.items())
