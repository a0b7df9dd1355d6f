"""Fold a graph that PT2E has converted into true integer arithmetic.

PT2E leaves float operations between dequantize and quantize. Each such operation, with the activation behind it,
becomes one integer operation of TensorFlow Lite: int8 weights, int32 bias, fixed-point multipliers (Jacob et al. 2018,
arXiv:1712.05877).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from netwright.compression.quantization.exported import takes_any_batch
from netwright.compression.quantization.fold import functions, layers, moves
from netwright.compression.quantization.fold.folding import Folding, Int8Tensor, channels_last_order
from netwright.compression.quantization.fold.layers import Fused
from netwright.compression.quantization.nodes import argument, kind, where
from netwright.compression.quantization.operations import CLAMPS, PRODUCTS
from netwright.core.errors import NetwrightError
from netwright.graph.integers.builder import quantization
from netwright.graph.integers.quantized import Origin, Quantization, QuantizedGraph

EMITTERS: dict[str, Callable[[Folding, Node, Fused], Int8Tensor]] = {
    "add": functions.arithmetic,
    "adaptive_avg_pool2d": layers.average_pool,
    "amax": moves.greatest,
    "avg_pool2d": layers.average_pool,
    "bmm": functions.matrix_product,
    "cat": moves.concatenate,
    "conv2d": layers.conv,
    "conv_transpose2d": layers.transposed_conv,
    "flatten": moves.reshape,
    "getitem": moves.cut,
    "hardswish": functions.function,
    "hardtanh": functions.function,
    "leaky_relu": functions.function,
    "linear": layers.linear,
    "matmul": functions.matrix_product,
    "max_pool2d": layers.max_pool,
    "mean": moves.mean,
    "mul": functions.arithmetic,
    "pad": moves.pad,
    "permute": moves.transpose,
    "prelu": functions.prelu,
    "relu": functions.function,
    "reshape": moves.reshape,
    "select": moves.cut,
    "sigmoid": functions.function,
    "slice": moves.cut,
    "softmax": functions.softmax,
    "squeeze": moves.reshape,
    "sub": functions.arithmetic,
    "tanh": functions.function,
    "transpose": moves.transpose,
    "unsqueeze": moves.reshape,
    "upsample_bilinear2d": moves.resize,
    "upsample_nearest2d": moves.resize,
}


def fold(converted: GraphModule, example: tuple[Tensor, ...], description: str = "") -> QuantizedGraph:
    """Return the integers of a graph that `convert_pt2e` made, for one image.

    Args:
        converted: its activations int8 with one scale a tensor, its weights int8, symmetric.
        example: inputs of the graph, whose first dimension is the batch.
        description: a line that the graph keeps.

    Raises:
        NetwrightError: an operation has no integer form, or reads what is not quantized.
    """
    folding = Folding(converted, _shapes(converted, example), description)
    outputs = []
    for node in converted.graph.nodes:
        name = kind(node)
        if name == "quantize_per_tensor":
            source: Any = node.args[0]
            if not 0 < float(node.args[1]) < math.inf:
                raise NetwrightError(
                    f"{where(source)}: its values reach no finite range. "
                    "Look for NaN and infinity in the images and weights."
                )
            found = quantization(node.args[1], node.args[2])
            if source.op == "placeholder":
                folding.values[node] = _input(folding, source, found)
            elif source.op == "get_attr":
                raise NetwrightError(
                    f"{where(node)}: a constant is quantized on its own, which has no integer form here."
                )
            else:
                folding.values[node] = _emit(folding, source, found)
        elif name == "dequantize_per_tensor" and node.args[0] in folding.values:
            folding.values[node] = folding.values[node.args[0]]
        elif name == "output":
            outputs = [_output(folding, value, node) for value in _flat(node.args[0])]
    return folding.builder.build(
        [value.index for value in outputs],
        origins=_origins(folding),
        channels_last=[value.channels_last for value in outputs],
    )


def _origins(folding: Folding) -> list[Origin]:
    """Return which node of the graph each tensor holds the value of."""
    return [
        Origin(value.index, node.args[0].name, where(node.args[0]), value.channels_last, value.flattened)
        for node, value in folding.values.items()
        if kind(node) == "quantize_per_tensor" and isinstance(node.args[0], Node)
    ]


def _input(folding: Folding, node: Node, quantized: Quantization) -> Int8Tensor:
    shape = folding.shape(node)
    image = len(shape) == 4
    stored = [shape[place] for place in channels_last_order(4)] if image else shape
    return Int8Tensor(folding.builder.input(str(node.target), stored, quantized), image)


def _output(folding: Folding, value: Any, node: Node) -> Int8Tensor:
    if not isinstance(value, Node) or value not in folding.values:
        raise NetwrightError(f"The module's output {value} is not quantized: nothing but int8 tensors can be returned.")
    if folding.values[value].flattened:
        return folding.torch_order(value, node)
    return folding.values[value]


def _flat(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [part for entry in value.values() for part in _flat(entry)]
    return [part for entry in value for part in _flat(entry)] if isinstance(value, (list, tuple)) else [value]


def _emit(folding: Folding, node: Node, quantized: Quantization) -> Int8Tensor:
    """Add the operation whose result a quantize node reads; through an activation, the one before it."""
    name = kind(node)
    if name == "dequantize_per_tensor":  # one quantization after another
        return folding.requantize(folding.value(node, node), quantized, where(node))
    activation, layer = "NONE", node
    if name in CLAMPS:
        activation = _activation(node, quantized)
        before: Any = node.args[0]
        if kind(before) in PRODUCTS or kind(before) in ("add", "sub", "mul"):
            layer = before
    if kind(layer) not in EMITTERS:
        raise folding.refuse(layer, f"has no integer form here. Known are: {', '.join(sorted(EMITTERS))}.")
    return EMITTERS[kind(layer)](folding, layer, Fused(quantized, activation))


def _activation(node: Node, quantized: Quantization) -> str:
    """Return the fused activation that clamps as a node does; NONE where int8 itself ends there."""
    if kind(node) == "relu":
        return "RELU"
    low, high = argument(node, "min_val", -1.0), argument(node, "max_val", 1.0)
    known = {(0, 6): "RELU6", (-1, 1): "RELU_N1_TO_1"}.get((low, high))
    scale, zero_point = float(quantized.scale[0]), int(quantized.zero_point[0])
    ends = scale * (-128 - zero_point), scale * (127 - zero_point)
    if ends[0] >= low - scale / 2 and ends[1] <= high + scale / 2 and known is None:
        return "NONE"
    if known is None:
        raise NetwrightError(f"{where(node)}: a clamp to {low}..{high} must be quantized to just that range.")
    return known


class _Shapes(Interpreter):
    """Runs a graph and notes the shape of every value."""

    def __init__(self, module: GraphModule):
        super().__init__(module)
        self.found: dict[Node, Any] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.found[n] = tuple(int(side) for side in result.shape)
        elif isinstance(result, (list, tuple)) and all(isinstance(part, Tensor) for part in result):
            self.found[n] = tuple(tuple(int(side) for side in part.shape) for part in result)
        return result


@torch.no_grad()
def _shapes(module: GraphModule, example: tuple[Tensor, ...]) -> dict[Node, Any]:
    """Return the shapes for a batch of one; of a graph that takes one size of batch only, with that replaced by one."""
    size, free = len(example[0]), takes_any_batch(module)
    runner = _Shapes(module)
    runner.run(*(tensor[:1] for tensor in example) if free else example)
    if free or size == 1:
        return runner.found

    def single(shape: Any) -> Any:
        if shape and isinstance(shape[0], tuple):
            return tuple(single(part) for part in shape)
        return (1, *shape[1:]) if shape and shape[0] == size else shape

    activations = {node: single(shape) for node, shape in runner.found.items() if node.op != "get_attr"}
    return runner.found | activations
