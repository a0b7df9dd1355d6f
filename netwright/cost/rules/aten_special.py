"""Prices of torch's operations that make no products, where a number of operations an element does not say it.

Normalization follows fvcore's convention: five operations an element with affine parameters, four without; two or one
where the statistics are given.
"""

from __future__ import annotations

import math

from netwright.cost.rules.work import MOVE, Rule, Work, argument, in_elements, out_elements, shape
from netwright.graph.graph import Graph, Op


def norm_steps(op: Op) -> int:
    """Return the operations an element of a normalization."""
    affine = op.arguments.get("weight") is not None
    training = op.arguments.get("training", op.arguments.get("train", op.arguments.get("use_input_stats", True)))
    if op.kind.endswith("no_training") or not training:
        return 2 if affine else 1
    return 5 if affine else 4


def _norm(graph: Graph, op: Op) -> Work:
    return Work("norm", 0, norm_steps(op) * in_elements(graph, op))


def _norm_backward(graph: Graph, op: Op) -> Work:
    """Input gradient: twice the forward pass; affine parameters: a product and two sums an element."""
    wanted = op.arguments.get("output_mask", (True, True, True))
    each = 2 * norm_steps(op) * int(wanted[0]) + 2 * int(wanted[1]) + int(wanted[-1])
    return Work("norm", 0, each * in_elements(graph, op))


def _window(graph: Graph, op: Op) -> Work:
    """Pooling by a window: an operation for each of its positions, for every element of the smaller side."""
    pooled = shape(graph, op, "grad_output") if "grad_output" in op.arguments else None
    elements = math.prod(pooled) if pooled is not None else out_elements(graph, op)
    sides = op.arguments["kernel_size"]
    rank = int(op.kind[op.kind.index("pool") + 4])
    size = math.prod(sides) if len(sides) == rank else sides[0] ** rank
    return Work("norm", 0, size * elements)


def _fft(factor: float) -> Rule:
    """5 N log2 N for a complex transform of N values (Cooley and Tukey 1965), half of that for a real one."""

    def rule(graph: Graph, op: Op) -> Work:
        longer = max((graph.tensors[index] for index in (*op.inputs[:1], *op.outputs[:1])), key=lambda t: t.elements)
        sides = [longer.shape[dim] for dim in op.arguments["dim"]]
        return Work("elementwise", 0, round(factor * longer.elements * math.log2(max(2, math.prod(sides)))))

    return rule


def _sort(graph: Graph, op: Op) -> Work:
    """N log2 n comparisons; for the k largest n log2 k."""
    source = argument(graph, op, "self")
    if source is None or not source.shape:
        return MOVE
    dim = op.arguments.get("dim", -1)
    depth = op.arguments.get("k") or source.shape[-1 if dim is None else dim]
    return Work("elementwise", 0, source.elements * math.ceil(math.log2(max(2, int(depth)))))


def _embedding_bag(graph: Graph, op: Op) -> Work:
    """Every row looked up is added once."""
    return Work("norm", 0, math.prod(shape(graph, op, "indices")) * shape(graph, op, "weight")[-1])


def _distances(graph: Graph, op: Op) -> Work:
    """A difference, its square and a sum for every side of every pair."""
    (points,) = graph.traits(op).operands
    return Work("elementwise", 0, graph.traits(op).each * out_elements(graph, op) * shape(graph, op, points)[-1])


FORMULAS: dict[str, Rule] = {
    "distances": _distances,
    "embedding_bag": _embedding_bag,
    "fft": _fft(5.0),
    "norm": _norm,
    "norm_backward": _norm_backward,
    "real_fft": _fft(2.5),
    "sort": _sort,
    "window": _window,
}
