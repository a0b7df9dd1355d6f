"""Normalization and scaling by constants on their way into the layer before them, or into a layer of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from netwright.compression.quantization.nodes import argument, constant, kind, where
from netwright.compression.quantization.operations import PRODUCTS
from netwright.core.errors import NetwrightError

aten = torch.ops.aten


def call(graph_module: GraphModule, origin: Node, target: Any, *args: Any) -> Node:
    """Insert a node in place of another, with where that came from and a stand-in of its shape."""
    made = graph_module.graph.call_function(target, args)
    made.meta["nn_module_stack"] = origin.meta.get("nn_module_stack")
    made.meta["val"] = origin.meta.get("val")  # the same shape in every rewriting
    return made


@dataclass(frozen=True)
class Affine:
    """y = x * scale + shift. `axis`: the dimension of x along which they change, None where they are numbers."""

    source: Node
    scale: Any
    shift: Any
    axis: int | None


def absorb(graph_module: GraphModule, node: Node) -> None:
    """Carry out y = x * scale + shift in the layer that makes x; else normalization in a layer of its own."""
    name = kind(node)
    affine = _normalization(graph_module, node) if name == "batch_norm" else _scaling(graph_module, node)
    if affine is None:
        return
    source, axis = affine.source, affine.axis
    product = source if kind(source) in PRODUCTS and len(source.users) == 1 else None
    if product is not None and axis is not None and axis != _channel_axis(product):
        product = None
    if product is None:
        if name not in ("batch_norm", "hardsigmoid"):
            return  # an operation of its own
        if _rank(source) == 4:
            product = _identity(graph_module, node, source)
    if product is None:
        result = _two_operations(graph_module, node, affine)
    else:
        scale_layer(graph_module, product, affine.scale, affine.shift)
        result = product
    if name == "hardsigmoid":
        with graph_module.graph.inserting_before(node):
            result = call(graph_module, node, aten.hardtanh.default, result, 0.0, 1.0)
    node.replace_all_uses_with(result)
    graph_module.graph.erase_node(node)


def _rank(node: Node) -> int:
    return len(node.meta["val"].shape)


def _side(node: Node, place: int) -> Any:
    return node.meta["val"].shape[place]


def _channel_axis(product: Node) -> int:
    """Return the dimension of a layer's output on which it has its channels."""
    return _rank(product) - 1 if kind(product) == "linear" else 1


def _normalization(graph_module: GraphModule, node: Node) -> Affine | None:
    """Return what a BatchNorm computes, along dimension 1, if its numbers are constants and not the batch's."""
    read: Any = [argument(node, name) for name in ("input", "weight", "bias", "running_mean", "running_var")]
    weight, bias, mean, variance = (constant(graph_module, value) for value in read[1:])
    left_out = any(value is not None and constant(graph_module, value) is None for value in read[1:])
    if left_out or mean is None or variance is None or argument(node, "training"):
        return None
    scale = (variance + argument(node, "eps", 1e-5)).rsqrt() * (1 if weight is None else weight)
    return Affine(read[0], scale, (0 if bias is None else bias) - mean * scale, 1)


def _scaling(graph_module: GraphModule, node: Node) -> Affine | None:
    """Return what multiplies or adds constants."""
    name = kind(node)
    if name == "hardsigmoid":
        return Affine(node.args[0], 1 / 6, 0.5, None)  # pyright: ignore[reportArgumentType]
    if name not in ("mul", "add", "sub") or len(node.args) != 2 or node.kwargs:
        return None
    source, other = node.args
    turned = not (isinstance(source, Node) and source.op != "get_attr")
    if turned:
        source, other = other, source
    value = other if isinstance(other, (int, float)) else constant(graph_module, other)
    if value is None or not isinstance(source, Node) or source.op == "get_attr":
        return None
    axis = None
    if isinstance(value, Tensor):
        sides = [1] * (_rank(source) - value.dim()) + list(value.shape)
        wide = [place for place, side in enumerate(sides) if side != 1]
        if len(sides) != _rank(source) or len(wide) > 1 or any(_side(source, place) != sides[place] for place in wide):
            return None
        axis, value = (wide[0] if wide else None), value.reshape(-1)
    if name == "mul":
        return Affine(source, value, 0.0, axis)
    if name == "add":
        return Affine(source, 1.0, value, axis)
    return Affine(source, -1.0, value, axis) if turned else Affine(source, 1.0, -value, axis)


def _two_operations(graph_module: GraphModule, node: Node, affine: Affine) -> Node:
    """Multiply and add, where no layer can."""
    operands = []
    with graph_module.graph.inserting_before(node):
        for word, value in (("scale", affine.scale), ("shift", affine.shift)):
            numbers = torch.as_tensor(value, dtype=torch.float32).reshape(-1)
            sides = [1] * _rank(affine.source)
            if affine.axis is not None:
                sides[affine.axis] = len(numbers)
            operands.append(attribute(graph_module, f"{node.name}_{word}", numbers.reshape(sides)))
        scaled = call(graph_module, node, aten.mul.Tensor, affine.source, operands[0])
        return call(graph_module, node, aten.add.Tensor, scaled, operands[1])


def _identity(graph_module: GraphModule, node: Node, source: Node) -> Node:
    channels = source.meta["val"].shape[1]
    with graph_module.graph.inserting_before(node):
        weight = attribute(graph_module, f"{node.name}_weight", torch.ones(channels, 1, 1, 1))
        return call(
            graph_module, node, aten.conv2d.default, source, weight, None, [1, 1], [0, 0], [1, 1], int(channels)
        )


def attribute(graph_module: GraphModule, name: str, value: Tensor) -> Node:
    """Add a parameter to the graph module and return a node that reads it, at the graph's point of insertion."""
    name = f"_nw_{name}"
    graph_module.register_parameter(name, nn.Parameter(value.detach().clone()))
    made = graph_module.graph.get_attr(name)
    made.meta["val"] = value
    return made


def scale_layer(graph_module: GraphModule, product: Node, scale: Any, shift: Any) -> None:
    """Let a convolution or linear layer compute scale * y + shift instead of y, per output channel."""
    weight = constant(graph_module, product.args[1])
    if weight is None:
        raise NetwrightError(f"{where(product)}: its weights are computed, and only constant weights become integers.")
    bias = constant(graph_module, argument(product, "bias"))
    groups = argument(product, "groups", 1) if kind(product) == "conv_transpose2d" else 1
    outputs = weight.shape[1] * groups if kind(product) == "conv_transpose2d" else weight.shape[0]
    scales = torch.as_tensor(scale, dtype=weight.dtype).expand(outputs)
    shifts = torch.as_tensor(shift, dtype=weight.dtype).expand(outputs)
    if kind(product) == "conv_transpose2d":
        per_input = scales.reshape(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1)
        new_weight = weight * per_input.reshape(weight.shape[0], -1)[:, :, None, None]
    else:
        new_weight = weight * scales.reshape(-1, *[1] * (weight.dim() - 1))
    new_bias = shifts if bias is None else bias * scales + shifts
    replace_weights(graph_module, product, new_weight, new_bias)


def replace_weights(graph_module: GraphModule, product: Node, weight: Tensor | None, bias: Tensor | None) -> None:
    """Give a layer tensors of its own, as others may read the ones it had; without `weight`, only a bias."""
    nodes: list[Any] = [product.args[1], None]
    with graph_module.graph.inserting_before(product):
        if weight is not None:
            nodes[0] = attribute(graph_module, f"{product.name}_weight", weight)
        if bias is not None:
            nodes[1] = attribute(graph_module, f"{product.name}_bias", bias)
    rest = list(product.args[3:]) if len(product.args) > 2 else []
    keywords = {name: value for name, value in product.kwargs.items() if name not in ("weight", "bias")}
    product.args = (product.all_input_nodes[0], *nodes, *rest)
    product.kwargs = keywords
