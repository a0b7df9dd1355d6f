"""Which tensors become integers: a quantizer for torchao's PT2E whose every value has the form a microcontroller holds.

Activations: int8, one scale and zero point a tensor, observed behind the fused activation. Weights: int8, symmetric, a
scale a channel. Operations that only move values share the quantization of what they move.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.fx import GraphModule, Node

from netwright.compression.quantization.nodes import argument, constant, kind, where
from netwright.compression.quantization.observers import ACTIVATIONS, WEIGHTS, PerChannelNow
from netwright.compression.quantization.operations import CLAMPS, MOVES, PRODUCTS, SPLITS, SUMS, check, makes_tensors
from netwright.compression.quantization.pt2e import (
    FakeQuantize,
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)
from netwright.core.errors import NetwrightError, unknown

# What the reference kernels demand of the outputs: scale and zero point.
FIXED = {"sigmoid": (1 / 256, -128), "softmax": (1 / 256, -128), "tanh": (1 / 128, 0)}


class Int8Quantizer(Quantizer):
    """Annotates a tidied graph (`exported.tidy`).

    Args:
        observer: of the activations and weights, by name in `observers`.
        trained: with fake quantization, through which gradients pass, instead of observers.
    """

    def __init__(self, observer: str = "minmax", *, trained: bool = False):
        if observer not in ACTIVATIONS:
            raise unknown("Observer", observer, ACTIVATIONS)
        activation, weight = ACTIVATIONS[observer], PerChannelNow if trained else WEIGHTS[observer]
        if trained:
            activation = FakeQuantize.with_args(observer=activation)
            weight = FakeQuantize.with_args(observer=weight, ch_axis=0)
        limits: dict[str, Any] = {"dtype": torch.int8, "quant_max": 127}
        self._activation = QuantizationSpec(
            **limits, quant_min=-128, observer_or_fake_quant_ctr=activation, qscheme=torch.per_tensor_affine
        )
        self._weight = QuantizationSpec(
            **limits, quant_min=-127, observer_or_fake_quant_ctr=weight, qscheme=torch.per_channel_symmetric, ch_axis=0
        )

    def annotate(self, model: GraphModule) -> GraphModule:
        """Write into every node how its output is quantized.

        Raises:
            NetwrightError: the graph holds an operation that has no integer form here.
        """
        values = [node for node in model.graph.nodes if self._is_value(node)]
        kept = [node for node in values if fused_into(node) is None]
        group = _groups(kept)
        for node in values:
            weights = self._weights(model, node)
            output = None
            if node in group:
                first = group[node]
                output = self._own(first) if first is node else SharedQuantizationSpec(first)
            node.meta["quantization_annotation"] = QuantizationAnnotation(weights, output, _annotated=True)
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing is left to check: `annotate` refuses what it does not know."""

    def _own(self, node: Node) -> Any:
        limits = fixed_range(node)
        if limits is None:
            return self._activation
        scale, zero_point = limits
        return FixedQParamsQuantizationSpec(torch.int8, scale, zero_point, -128, 127, torch.per_tensor_affine)

    def _weights(self, model: GraphModule, node: Node) -> dict[Node, Any]:
        if kind(node) not in PRODUCTS:
            return {}
        weight: Any = node.args[1]
        if constant(model, weight) is None:
            raise NetwrightError(f"{where(node)}: its weights are computed, and only constant weights become integers.")
        bias = argument(node, "bias")
        if bias is not None and constant(model, bias) is None:
            raise NetwrightError(f"{where(node)}: its bias is computed, and only a constant bias becomes integers.")
        spec = self._weight
        if kind(node) == "conv_transpose2d":
            spec = QuantizationSpec(**{**_fields(spec), "ch_axis": 1})
        return {weight: spec}

    def _is_value(self, node: Node) -> bool:
        """Whether a node makes a tensor of the network."""
        if kind(node) == "placeholder":
            return True
        if node.op != "call_function" or not makes_tensors(node):
            return False
        check(node)
        return kind(node) not in SPLITS


def _fields(spec: QuantizationSpec) -> Mapping[str, Any]:
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}


def fused_into(node: Node) -> Node | None:
    """Return the activation that a layer's output goes through and nothing else, if the layer can carry it out."""
    if kind(node) not in {**PRODUCTS, **SUMS} or len(node.users) != 1:
        return None
    (user,) = node.users
    return user if kind(user) in CLAMPS and fusible(user) else None


def fusible(node: Node) -> bool:
    """Whether an activation is a clamp to stored values: one that has zero within its limits."""
    return kind(node) == "relu" or (argument(node, "min_val", -1.0) <= 0 <= argument(node, "max_val", 1.0))


def fixed_range(node: Node) -> tuple[float, int] | None:
    """Return scale and zero point of an output whose range is known beforehand."""
    name = kind(node)
    if name in FIXED:
        return FIXED[name]
    if name != "hardtanh":
        return None
    low, high = argument(node, "min_val", -1.0), argument(node, "max_val", 1.0)
    if (low, high) == (0, 6):
        return None  # ReLU6 has an integer form of its own, and seldom uses the whole range
    scale = (high - low) / 255
    return scale, max(-128, min(127, round(-128 - low / scale)))


def _groups(nodes: list[Node]) -> dict[Node, Node]:
    """Return for every node the first of those that must share its quantization, itself where it has its own."""
    first: dict[Node, Node] = {}
    known = set(nodes)

    def root(node: Node) -> Node:
        while first.get(node, node) is not node:
            node = first[node]
        return node

    for node in nodes:
        first[node] = node
        if kind(node) not in {*MOVES, "getitem"}:
            continue
        for source in _moved(node):
            source = source.args[0] if kind(source) in SPLITS else source
            if source not in known:
                continue
            mine, other = root(node), root(source)
            # What has a range of its own is requantized before it is joined with others.
            if mine is not other and not (kind(node) == "cat" and fixed_range(other)):
                first[mine] = other
    order = {node: place for place, node in enumerate(nodes)}
    leaders: dict[Node, Node] = {}
    for node in nodes:
        top = root(node)
        leaders[top] = min(leaders.get(top, node), node, key=order.__getitem__)
    return {node: leaders[root(node)] for node in nodes}


def _moved(node: Node) -> list[Node]:
    """Return the tensors whose values a moving operation passes on."""
    sources = node.args[0] if isinstance(node.args[0], (list, tuple)) else [node.args[0]]
    return [source for source in sources if isinstance(source, Node)]
