"""Bias correction: after rounding, every layer's outputs keep the mean they had.

Nagel et al. 2019, arXiv:1906.04721, section 4.2.

Layer by layer in the order in which they run, so that a layer is corrected for what rounding did to it and to all
before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from netwright.compression.quantization.absorb import replace_weights
from netwright.compression.quantization.nodes import argument, constant, kind
from netwright.compression.quantization.operations import PRODUCTS

IMAGES = 64  # run at once: all of them are in memory, layer by layer


@torch.no_grad()
def means_of_layers(graph_module: GraphModule, data: list[tuple[Tensor, ...]]) -> dict[str, Tensor]:
    """Return the mean output per channel of every convolution and linear layer, by the name of its node."""
    runner = _Means(graph_module, None)
    runner.run(*_some(data))
    return runner.found


@torch.no_grad()
def correct_biases(converted: GraphModule, means: Mapping[str, Tensor], data: list[tuple[Tensor, ...]]) -> None:
    """Shift the biases of a converted graph, in place, so that its layers have the means of the float graph.

    Args:
        means: what `means_of_layers` found on the graph before it was prepared; layers are matched by name.
        data: the same batches.
    """
    for node in converted.graph.nodes:
        if node.name in means and constant(converted, argument(node, "bias")) is None:
            replace_weights(converted, node, None, torch.zeros_like(means[node.name]))
    converted.recompile()
    _Means(converted, means).run(*_some(data))


def _some(data: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Return the first images as one batch."""
    if len(data[0][0]) >= IMAGES or len(data) == 1:
        return data[0]
    return tuple(torch.cat(parts)[:IMAGES] for parts in zip(*data, strict=True))


class _Means(Interpreter):
    """Runs a graph, noting the mean output of each layer per channel; with `wanted` means, moves the biases to them."""

    def __init__(self, module: GraphModule, wanted: Mapping[str, Tensor] | None):
        super().__init__(module)
        self.found: dict[str, Tensor] = {}
        self._wanted = wanted

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if kind(n) not in PRODUCTS:
            return result
        axis = result.dim() - 1 if kind(n) == "linear" else 1
        mean_C = result.transpose(0, axis).flatten(1).mean(1)
        self.found[n.name] = mean_C
        if self._wanted is None or n.name not in self._wanted:
            return result
        shift_C = self._wanted[n.name] - mean_C
        bias_C = constant(self.module, argument(n, "bias"))  # pyright: ignore[reportArgumentType]
        assert bias_C is not None  # every layer was given one
        bias_C.add_(shift_C)
        return result + shift_C.reshape(-1, *[1] * (result.dim() - 1 - axis))
