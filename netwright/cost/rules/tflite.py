"""Prices of TensorFlow Lite's operations, by name. Layouts are NHWC; weights of convolutions are stored OHWI.

Integer networks are priced by the same steps as float ones: rescaling to the output's scale is not counted.
"""

from __future__ import annotations

from math import ceil, log2, prod

from netwright.cost.rules.work import Rule, Work, in_elements, out_elements, products, rules_of
from netwright.graph.graph import Graph, Op, Ref, Tensor
from netwright.graph.operations.tflite import TRAITS

# A fused activation's operations for every element of the output.
_ACTIVATIONS = {"RELU": 1, "RELU6": 2, "RELU_N1_TO_1": 2, "TANH": 1, "SIGN_BIT": 1}


def _operand(graph: Graph, op: Op, place: int, rank: int | None = None) -> Tensor | None:
    """Return an operand by place; None where there is none, or one of another rank than the operation takes."""
    operands = op.arguments["inputs"]
    value = operands[place] if place < len(operands) else None
    tensor = graph.tensors[value.tensor] if isinstance(value, Ref) else None
    return tensor if tensor and (rank is None or len(tensor.shape) == rank) else None


def _activation(graph: Graph, op: Op) -> int:
    return _ACTIVATIONS.get(op.arguments.get("fused_activation_function", "NONE"), 0) * out_elements(graph, op)


def _convolution(summed: slice, rank: int) -> Rule:
    """Every output element is a sum over these sides of the weights."""

    def rule(graph: Graph, op: Op) -> Work | None:
        weights = _operand(graph, op, 1, rank)
        if weights is None:
            return None
        return products(out_elements(graph, op) * prod(weights.shape[summed]), _activation(graph, op))

    return rule


def _transposed(rank: int) -> Rule:
    """Every input position meets every weight. Operands: output shape, weights, input."""

    def rule(graph: Graph, op: Op) -> Work | None:
        weights, x = _operand(graph, op, 1, rank), _operand(graph, op, 2, rank)
        if weights is None or x is None:
            return None
        return products(prod(x.shape[:-1]) * weights.elements, _activation(graph, op))

    return rule


def _batch_matmul(graph: Graph, op: Op) -> Work | None:
    left = _operand(graph, op, 0)
    if left is None or len(left.shape) < 2:
        return None
    return products(out_elements(graph, op) * left.shape[-2 if op.arguments["adj_x"] else -1])


def _dot_general(graph: Graph, op: Op) -> Work | None:
    left, summed = _operand(graph, op, 0), op.arguments["lhs_contracting_dimensions"]
    if left is None or any(not 0 <= side < len(left.shape) for side in summed):
        return None
    return products(out_elements(graph, op) * prod(left.shape[side] for side in summed))


def _stablehlo_convolution(graph: Graph, op: Op) -> Work | None:
    weights, out = _operand(graph, op, 1), op.arguments["kernel_output_feature_dimension"]
    if weights is None or not 0 <= out < len(weights.shape):
        return None
    return products(out_elements(graph, op) * prod(weights.shape[:out] + weights.shape[out + 1 :]))


def _recurrent(graph: Graph, op: Op) -> Work | None:
    """All matrices are applied at every step: the sides of the input before its last one. Gates for every output."""
    x = _operand(graph, op, 0)
    if x is None:
        return None
    weights = [graph.tensors[index] for index in dict.fromkeys(op.inputs[1:])]
    kept = [tensor for tensor in weights if graph.storages[tensor.storage].role == "parameter"]
    each = sum(tensor.elements for tensor in kept if len(tensor.shape) == 2)
    outputs = sum(graph.tensors[index].elements for index in op.outputs)
    return products(prod(x.shape[:-1]) * each, graph.traits(op).each * outputs)


def _pool(graph: Graph, op: Op) -> Work:
    window = op.arguments["filter_height"] * op.arguments["filter_width"]
    return Work("norm", 0, graph.traits(op).each * window * out_elements(graph, op) + _activation(graph, op))


def _reduce_window(graph: Graph, op: Op) -> Work | None:
    sides = op.arguments.get("window_dimensions")
    return Work("norm", 0, prod(sides) * out_elements(graph, op)) if sides else None


def _local_response(graph: Graph, op: Op) -> Work:
    window = 2 * op.arguments["radius"] + 1
    return Work("norm", 0, (2 * window + 3) * out_elements(graph, op))


def _with_activation(graph: Graph, op: Op) -> Work:
    return Work("elementwise", 0, graph.traits(op).each * out_elements(graph, op) + _activation(graph, op))


def _sort(graph: Graph, op: Op) -> Work:
    """N log2 n comparisons; for the k largest n log2 k."""
    longest = max(graph.tensors[op.inputs[0]].shape[-1:], default=1) if op.inputs else 1
    depth = max(graph.tensors[op.outputs[0]].shape[-1:], default=1) if op.kind.endswith("TOPK_V2") else longest
    return Work("elementwise", 0, in_elements(graph, op) * ceil(log2(max(2, depth))))


def _suppression(graph: Graph, op: Op) -> Work:
    """Every box against every box that is kept, ten operations for each overlap: an upper bound."""
    kept = graph.tensors[op.outputs[0]].elements if op.outputs else 0
    return Work("elementwise", 0, 10 * in_elements(graph, op) // 4 * kept)


FORMULAS: dict[str, Rule] = {
    "batch_matmul": _batch_matmul,
    "conv_2d": _convolution(slice(1, None), 4),
    "conv_3d": _convolution(slice(0, 4), 5),
    "depthwise_conv_2d": _convolution(slice(1, 3), 4),
    "dot_general": _dot_general,
    "fully_connected": _convolution(slice(1, None), 2),
    "local_response": _local_response,
    "pool": _pool,
    "recurrent": _recurrent,
    "reduce_window": _reduce_window,
    "sort": _sort,
    "stablehlo_convolution": _stablehlo_convolution,
    "suppression": _suppression,
    "transposed_2d": _transposed(4),
    "transposed_3d": _transposed(5),
    "with_activation": _with_activation,
}

RULES: dict[str, Rule] = rules_of(TRAITS, FORMULAS)
