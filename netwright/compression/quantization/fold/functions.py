"""Sums, products and functions of single values as integer operations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.fx import Node

from netwright.compression.quantization.fold.folding import Folding, Int8Tensor, channels_last_order
from netwright.compression.quantization.fold.layers import Fused
from netwright.compression.quantization.nodes import argument, kind, where
from netwright.graph.integers.builder import quantization

_SUMS = {"add": "ADD", "sub": "SUB", "mul": "MUL"}


def arithmetic(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """ADD, SUB or MUL of two values, or of one and a constant."""
    operands: tuple[Any, Any] = node.args[:2]  # pyright: ignore[reportAssignmentType]
    constants = [folding.numbers(operand) for operand in operands]
    read = [operand for operand, known in zip(operands, constants, strict=True) if known is None]
    if not read:
        raise folding.refuse(node, "reads constants only. Compute it beforehand.")
    shape, path = folding.shape(node), where(node)
    ranks = {len(folding.shape(operand)) for operand in read}
    images = len(shape) == 4 and ranks == {4} and any(folding.value(operand, node).channels_last for operand in read)
    tensors = []
    for operand, known in zip(operands, constants, strict=True):
        if known is None:
            tensors.append((folding.channels_last if images else folding.torch_order)(operand, node).index)
        else:
            tensors.append(_constant(folding, known, path, images))
    if images:
        shape = [shape[place] for place in channels_last_order(4)]
    options = {"fused_activation_function": fused.activation}
    step = folding.op(_SUMS[kind(node)], tensors, shape, fused.quantization, path, **options)
    return Int8Tensor(step, images)


def _constant(folding: Folding, real: NDArray[np.float64], path: str, images: bool) -> int:
    """Return a constant operand as int8, symmetric, with the scale at which its largest value is 127."""
    if images and real.ndim:
        real = real.reshape((1,) * (4 - real.ndim) + real.shape).transpose(channels_last_order(4))
    scale = float(np.abs(real).max(initial=0)) / 127 or 1.0
    stored = np.rint(real / scale).astype(np.int8).reshape(real.shape or (1,))
    return folding.builder.constant(f"{path}.constant", stored, quantization(scale))


def function(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
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
    shape = folding.stored_shape(value)
    step = folding.op(operator, (value.index,), shape, fused.quantization, where(node), **options)
    return Int8Tensor(step, value.channels_last, value.flattened)


def prelu(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """PRELU with a slope a channel, or one for all."""
    x, slopes = folding.channels_last(node.args[0], node), folding.numbers(node.args[1])  # pyright: ignore[reportArgumentType]
    if slopes is None:
        raise folding.refuse(node, "has slopes that are computed. Only constant ones become integers.")
    shape = folding.stored_shape(x)
    every = np.broadcast_to(slopes.reshape(1, 1, -1), (1, 1, shape[3]))
    alpha = _constant(folding, every, where(node), False)
    return Int8Tensor(folding.op("PRELU", (x.index, alpha), shape, fused.quantization, where(node)), True)


def softmax(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """SOFTMAX over the last dimension in memory."""
    source: Any = node.args[0]
    value = folding.value(source, node)
    rank = len(folding.shape(source))
    axis = argument(node, "dim") % rank
    if value.flattened or (value.channels_last and channels_last_order(rank)[-1] != axis):
        value = folding.torch_order(source, node)
    if (channels_last_order(rank)[-1] if value.channels_last else rank - 1) != axis:
        raise folding.refuse(
            node, f"over dimension {axis} of {rank} has no integer form here; the last one, or channels, has."
        )
    shape = folding.stored_shape(value)
    return Int8Tensor(
        folding.op("SOFTMAX", (value.index,), shape, fused.quantization, where(node), beta=1.0), value.channels_last
    )


def matrix_product(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """BATCH_MATMUL of two values."""
    tensors = [folding.torch_order(operand, node).index for operand in node.args[:2]]  # pyright: ignore[reportArgumentType]
    shape = folding.shape(node)
    return Int8Tensor(folding.op("BATCH_MATMUL", tensors, shape, fused.quantization, where(node)))
