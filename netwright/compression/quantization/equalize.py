"""Cross-layer equalization: even ranges of weights from channel to channel.

Nagel et al. 2019, arXiv:1906.04721, section 4.1.

Between two layers with nothing but a ReLU, a channel may be made larger in the first and smaller in the second. ReLU6
stops that where it clips: a channel that reaches 6 on the calibration images is left as it is, and no other is made to
reach it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from netwright.compression.quantization.absorb import replace_weights
from netwright.compression.quantization.nodes import argument, constant, kind

_LARGEST_FACTOR = 1e4  # beyond it a channel is dead on one side


def equalize(graph_module: GraphModule, data: list[tuple[Tensor, ...]], rounds: int = 4) -> int:
    """Even out the weights of a tidied graph, in place; return how many pairs of layers were.

    Args:
        data: batches of inputs, on which clipped channels are found.
        rounds: passes over all pairs; chains of layers need some to settle.
    """
    pairs = _pairs(graph_module)
    clips = [clamp for _, clamp, _ in pairs if clamp is not None and kind(clamp) == "hardtanh"]
    largest = _largest(graph_module, clips, data) if clips else {}
    for _ in range(rounds if pairs else 0):
        for first, clamp, second in pairs:
            limit = argument(clamp, "max_val", 1.0) if clamp in largest else None
            factor_C = _even(graph_module, first, second, largest.get(clamp), limit)  # pyright: ignore[reportArgumentType]
            if clamp in largest:
                largest[clamp] = largest[clamp] / factor_C
    graph_module.recompile()
    return len(pairs)


def _pairs(graph_module: GraphModule) -> list[tuple[Node, Node | None, Node]]:
    """Return (layer, clamp or None, layer) wherever the second alone reads what the first makes."""
    found = []
    for second in graph_module.graph.nodes:
        if kind(second) not in ("conv2d", "linear"):
            continue
        clamp: Any = second.args[0]
        first = clamp
        if kind(clamp) in ("relu", "hardtanh"):
            first = clamp.args[0]
        if kind(first) != kind(second) or len(first.users) != 1 or len(clamp.users) != 1:
            continue
        if kind(clamp) == "hardtanh" and argument(clamp, "min_val", -1.0) != 0:
            continue
        ends = [_channels(graph_module, node) for node in (first, second)]
        if kind(second) == "linear" or (all(ends) and _grouping(second) in ("one", "depthwise")):
            found.append((first, clamp if clamp is not first else None, second))
    return found


def _channels(graph_module: GraphModule, node: Node) -> bool:
    return constant(graph_module, node.args[1]) is not None


def _grouping(node: Node) -> str:
    groups = argument(node, "groups", 1) if kind(node) == "conv2d" else 1
    shape = node.args[1].meta["val"].shape  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    if groups == 1:
        return "one"
    return "depthwise" if groups == shape[0] and shape[1] == 1 else "several"


@torch.no_grad()
def _even(
    graph_module: GraphModule, first: Node, second: Node, largest_C: Tensor | None, limit: float | None
) -> Tensor:
    """Divide the first layer's outputs by a factor a channel, multiply the second's weights by it; return factors."""
    weights = [constant(graph_module, node.args[1]) for node in (first, second)]
    one, other = (weight for weight in weights if weight is not None)
    bias_C = constant(graph_module, argument(first, "bias"))
    depthwise = _grouping(second) == "depthwise"
    ranges_1 = one.abs().flatten(1).amax(1)
    ranges_2 = (other if depthwise else other.transpose(0, 1)).abs().flatten(1).amax(1)
    factor_C = (ranges_1 / (ranges_1 * ranges_2).sqrt()).nan_to_num(1.0, 1.0, 1.0)
    factor_C = torch.where((ranges_1 > 0) & (ranges_2 > 0), factor_C, 1.0)
    factor_C = factor_C.clamp(1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
    if largest_C is not None and limit is not None:
        factor_C = torch.maximum(factor_C, largest_C / (0.999 * limit))  # nothing is made to reach the clip
        factor_C = torch.where(largest_C >= limit, 1.0, factor_C)
    wide = factor_C.reshape(-1, *[1] * (one.dim() - 1))
    replace_weights(graph_module, first, one / wide, None if bias_C is None else bias_C / factor_C)
    back = factor_C.reshape(*((-1, 1) if depthwise else (1, -1)), *[1] * (other.dim() - 2))
    replace_weights(graph_module, second, other * back, constant(graph_module, argument(second, "bias")))
    return factor_C


class _Watching(Interpreter):
    """Runs a graph and keeps the largest value a channel of some nodes."""

    def __init__(self, module: GraphModule, nodes: list[Node]):
        super().__init__(module)
        self.largest: dict[Node, Tensor] = {}
        self._nodes = set(nodes)

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n in self._nodes:
            axis = result.dim() - 1 if kind(n.args[0]) == "linear" else 1
            now_C = result.transpose(0, axis).flatten(1).amax(1)
            self.largest[n] = torch.maximum(self.largest[n], now_C) if n in self.largest else now_C
        return result


@torch.no_grad()
def _largest(graph_module: GraphModule, nodes: list[Node], data: list[tuple[Tensor, ...]]) -> dict[Node, Tensor]:
    watching = _Watching(graph_module, nodes)
    for inputs in data:
        watching.run(*inputs)
    return watching.largest
