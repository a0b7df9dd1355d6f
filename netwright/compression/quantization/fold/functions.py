"""Sums, products and functions of single values as integer operations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.fx import Node

from netwright.compression.quantization.building import quantized
from netwright.compression.quantization.exported import argument, kind, where
from netwright.compression.quantization.fold.folding import Folding, Value, last_order
from netwright.compression.quantization.fold.layers import Fused

_SUMS = {"add": "ADD", "sub": "SUB", "mul": "MUL"}


def arithmetic(folding: Folding, node: Node, fused: Fused) -> Value:
    """ADD, SUB or MUL of two values, or of one and a constant."""
    if node.kwargs.get("alpha", 1) != 1 or len(node.args) > 2:
        raise folding.refuse(node, "with alpha has no integer form here. Multiply first.")
    operands: tuple[Any, Any] = node.args[:2]  # pyright: ignore[reportAssignmentType]
    constants = [folding.numbers(operand) for operand in operands]
    read = [operand for operand, known in zip(operands, constants, strict=True) if known is None]
    if not read:
        raise folding.refuse(node, "reads constants only. Compute it beforehand.")
    shape, path = folding.shape(node), where(node)
    ranks = {len(folding.shape(operand)) for operand in read}
    images = len(shape) == 4 and ranks == {4} and any(folding.value(operand, node).last for operand in read)
    tensors = []
    for operand, known in zip(operands, constants, strict=True):
        if known is None:
            tensors.append((folding.last if images else folding.plain)(operand, node).tensor)
        else:
            tensors.append(_constant(folding, known, path, images))
    if images:
        shape = [shape[place] for place in last_order(4)]
    options = {"fused_activation_function": fused.activation}
    step = folding.building.step(_SUMS[kind(node)], tensors, shape, fused.quantization, path, **options)
    return Value(step, images)


def _constant(folding: Folding, real: NDArray[np.float64], path: str, images: bool) -> int:
    """Return a constant operand as int8, symmetric, with the scale at which its largest value is 127."""
    if images and real.ndim:
        real = real.reshape((1,) * (4 - real.ndim) + real.shape).transpose(last_order(4))
    scale = float(np.abs(real).max(initial=0)) / 127 or 1.0
    stored = np.rint(real / scale).astype(np.int8).reshape(real.shape or (1,))
    return folding.building.constant(stored, f"{path}.constant", quantized(scale))


def function(folding: Folding, node: Node, fused: Fused) -> Value:
    """HARD_SWISH, LOGISTIC, TANH, LEAKY_RELU, RELU, RELU6; other clamps are a QUANTIZE of the same range."""
    source: Any = node.args[0]
    value = folding.value(source, node)
    name, options = kind(node), {}
    if name == "leaky_relu":
        options["alpha"] = float(argument(node, "negative_slope", 0.01))
    if name in ("relu", "hardtanh"):
        operator = fused.activation if fused.activation != "NONE" else "QUANTIZE"
    else:
        names = {"hardswish": "HARD_SWISH", "sigmoid": "LOGISTIC", "tanh": "TANH", "leaky_relu": "LEAKY_RELU"}
        operator = names[name]
    shape = folding.layout(value)
    step = folding.building.step(operator, (value.tensor,), shape, fused.quantization, where(node), **options)
    return Value(step, value.last, value.flat)


def prelu(folding: Folding, node: Node, fused: Fused) -> Value:
    """PRELU with a slope a channel, or one for all."""
    x, slopes = folding.last(node.args[0], node), folding.numbers(node.args[1])  # pyright: ignore[reportArgumentType]
    if slopes is None:
        raise folding.refuse(node, "has slopes that are computed. Only constant ones become integers.")
    shape = folding.layout(x)
    every = np.broadcast_to(slopes.reshape(1, 1, -1), (1, 1, shape[3]))
    alpha = _constant(folding, every, where(node), False)
    return Value(folding.building.step("PRELU", (x.tensor, alpha), shape, fused.quantization, where(node)), True)


def softmax(folding: Folding, node: Node, fused: Fused) -> Value:
    """SOFTMAX over the dimension that lies last."""
    source: Any = node.args[0]
    value = folding.value(source, node)
    rank = len(folding.shape(source))
    axis = argument(node, "dim") % rank
    if value.flat or (value.last and last_order(rank)[-1] != axis):
        value = folding.plain(source, node)
    if (last_order(rank)[-1] if value.last else rank - 1) != axis:
        raise folding.refuse(
            node, f"over dimension {axis} of {rank} has no integer form here; the last one, or channels, has."
        )
    shape = folding.layout(value)
    return Value(folding.building.step("SOFTMAX", (value.tensor,), shape, fused.quantization, where(node)), value.last)


def matrix_product(folding: Folding, node: Node, fused: Fused) -> Value:
    """BATCH_MATMUL of two values."""
    tensors = [folding.plain(operand, node).tensor for operand in node.args[:2]]  # pyright: ignore[reportArgumentType]
    shape = folding.shape(node)
    return Value(folding.building.step("BATCH_MATMUL", tensors, shape, fused.quantization, where(node)))
