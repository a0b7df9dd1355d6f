"""Operations that may write their result over an input: each element is read before it is written, and never again."""

from __future__ import annotations

from netwright.graph.graph import Graph, Op
from netwright.graph.memory.fold import uses_running_statistics


def is_elementwise(graph: Graph, op: Op) -> bool:
    """Say whether every element of the result depends on the same element of the inputs, and on constants."""
    return graph.traits(op).in_place or uses_running_statistics(graph, op)


def overwritable(graph: Graph, op: Op) -> tuple[int, ...]:
    """Return the input tensors, of the shape of the result, whose memory an elementwise operation may take over."""
    if not is_elementwise(graph, op) or not op.outputs:
        return ()
    shape = graph.tensors[op.outputs[0]].shape
    return tuple(index for index in op.inputs if graph.tensors[index].shape == shape)


def nothing_overwritable(_graph: Graph, _op: Op) -> tuple[int, ...]:
    """Return no input: for engines that never work in place."""
    return ()
