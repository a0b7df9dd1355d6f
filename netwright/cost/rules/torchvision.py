"""Prices of torchvision's own operations, by name."""

from __future__ import annotations

from math import prod

from netwright.cost.rules.work import Rule, Work, in_elements, out_elements, products, shape
from netwright.graph.graph import Graph, Op

_SAMPLE = 8  # weights, products and sums of four neighbours


def _aligned(graph: Graph, op: Op) -> Work:
    """Every output is the mean of a grid of samples between pixels (He et al. 2017); 4 of them where the grid is adaptive."""
    ratio = op.arguments.get("sampling_ratio") or 0
    return Work("norm", 0, _SAMPLE * (ratio**2 if ratio > 0 else 4) * out_elements(graph, op))


def _pooled(graph: Graph, op: Op) -> Work:
    return Work("norm", 0, in_elements(graph, op) + out_elements(graph, op))


def _suppression(graph: Graph, op: Op) -> Work:
    """Every box against every later one, ten operations for each overlap: an upper bound."""
    boxes = shape(graph, op, "dets")[0]
    return Work("elementwise", 0, 5 * boxes * max(0, boxes - 1))


def _deformable(graph: Graph, op: Op) -> Work:
    """A convolution whose inputs are first sampled between pixels (Dai et al. 2017)."""
    weights, out = shape(graph, op, "weight"), out_elements(graph, op)
    samples = out // max(1, weights[0]) * prod(weights[1:])
    return products(out * prod(weights[1:]), _SAMPLE * samples)


FORMULAS: dict[str, Rule] = {
    "aligned": _aligned,
    "deformable": _deformable,
    "pooled": _pooled,
    "suppression": _suppression,
}
