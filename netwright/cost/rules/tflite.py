"""Prices of TensorFlow Lite's operations, by name. Layouts are NHWC; weights of convolutions are stored OHWI.

Integer networks are priced by the same steps as float ones: rescaling to the output's scale is not counted.
"""

from __future__ import annotations

from math import ceil, log2, prod

from netwright.cost.rules.work import MOVE, Rule, Work, in_elements, out_elements, per_input, per_output, products
from netwright.graph.graph import Graph, Op, Ref, Tensor

# Operations for every element of the output; comparisons and calls of a function count one.
_POINTWISE = {
    1: """ABS ADD_N ATAN2 BITWISE_XOR CEIL COS CUMSUM DEQUANTIZE ELU EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD GREATER
        GREATER_EQUAL LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC MAXIMUM MINIMUM
        MULTINOMIAL NEG NOT_EQUAL POW PRELU RANDOM_STANDARD_NORMAL RANDOM_UNIFORM RELU RIGHT_SHIFT ROUND RSQRT SELECT
        SELECT_V2 SIGN SIN SQRT SQUARE STABLEHLO_ABS STABLEHLO_ADD STABLEHLO_AND STABLEHLO_CBRT STABLEHLO_COMPARE
        STABLEHLO_COSINE STABLEHLO_DIVIDE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_LOGISTIC
        STABLEHLO_MAXIMUM STABLEHLO_MINIMUM STABLEHLO_MULTIPLY STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER
        STABLEHLO_REMAINDER STABLEHLO_RNG_BIT_GENERATOR STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SHIFT_LEFT
        STABLEHLO_SUBTRACT STABLEHLO_TANH TANH ADD DIV MUL SUB""",
    2: "RELU6 RELU_0_TO_1 RELU_N1_TO_1 SQUARED_DIFFERENCE STABLEHLO_CLAMP",
    3: "COMPLEX_ABS",
    4: "FAKE_QUANT GELU HARD_SWISH QUANTIZE",
    5: "LOG_SOFTMAX SOFTMAX",
}
# Operations for every element of the first input.
_REDUCTIONS = {
    1: """ARG_MAX ARG_MIN MEAN REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD SEGMENT_SUM STABLEHLO_REDUCE
        SUM UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_MIN UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_SUM""",
    4: "L2_NORMALIZATION",
}
# Copies, gathers, fills, questions: nothing is computed.
_MOVES = """ASSIGN_VARIABLE BATCH_TO_SPACE_ND BITCAST BROADCAST_ARGS BROADCAST_TO CAST CONCATENATION CONCAT_EMBEDDINGS DENSIFY
    DEPTH_TO_SPACE DILATE DYNAMIC_UPDATE_SLICE EMBEDDING_LOOKUP EXPAND_DIMS FILL GATHER GATHER_ND HASHTABLE
    HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_LOOKUP HASHTABLE_SIZE IMAG MATRIX_DIAG MATRIX_SET_DIAG MIRROR_PAD ONE_HOT
    PACK PAD PADV2 RANGE RANK READ_VARIABLE REAL RESHAPE RESIZE_NEAREST_NEIGHBOR REVERSE_SEQUENCE REVERSE_V2 SCATTER_ND
    SHAPE SLICE SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPARSE_TO_DENSE SPLIT SPLIT_V SQUEEZE STABLEHLO_BROADCAST_IN_DIM
    STABLEHLO_CONCATENATE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_GATHER
    STABLEHLO_IOTA STABLEHLO_PAD STABLEHLO_RESHAPE STABLEHLO_SCATTER STABLEHLO_SLICE STABLEHLO_TRANSPOSE STRIDED_SLICE
    TILE TRANSPOSE UNPACK VAR_HANDLE WHERE ZEROS_LIKE"""
# A fused activation's operations for every element of the output.
_ACTIVATIONS = {"RELU": 1, "RELU6": 2, "RELU_N1_TO_1": 2, "TANH": 1, "SIGN_BIT": 1}
# Recurrent layers: operations for every element of the output besides the products (gates and state).
_RECURRENT = {
    "LSTM": 9,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 9,
    "BIDIRECTIONAL_SEQUENCE_LSTM": 9,
    "RNN": 1,
    "UNIDIRECTIONAL_SEQUENCE_RNN": 1,
    "BIDIRECTIONAL_SEQUENCE_RNN": 1,
    "SVDF": 1,
}


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


def _recurrent(steps_each: int) -> Rule:
    """All matrices are applied at every step: the sides of the input before its last one."""

    def rule(graph: Graph, op: Op) -> Work | None:
        x = _operand(graph, op, 0)
        if x is None:
            return None
        weights = [graph.tensors[index] for index in dict.fromkeys(op.inputs[1:])]
        kept = [tensor for tensor in weights if graph.storages[tensor.storage].role == "parameter"]
        each = sum(tensor.elements for tensor in kept if len(tensor.shape) == 2)
        outputs = sum(graph.tensors[index].elements for index in op.outputs)
        return products(prod(x.shape[:-1]) * each, steps_each * outputs)

    return rule


def _pool(each: int) -> Rule:
    def rule(graph: Graph, op: Op) -> Work:
        window = op.arguments["filter_height"] * op.arguments["filter_width"]
        return Work("norm", 0, each * window * out_elements(graph, op) + _activation(graph, op))

    return rule


def _reduce_window(graph: Graph, op: Op) -> Work | None:
    sides = op.arguments.get("window_dimensions")
    return Work("norm", 0, prod(sides) * out_elements(graph, op)) if sides else None


def _local_response(graph: Graph, op: Op) -> Work:
    window = 2 * op.arguments["radius"] + 1
    return Work("norm", 0, (2 * window + 3) * out_elements(graph, op))


def _with_activation(rule: Rule) -> Rule:
    def both(graph: Graph, op: Op) -> Work | None:
        work = rule(graph, op)
        return Work(work.group, work.macs, work.flops + _activation(graph, op)) if work else None

    return both


def _sort(graph: Graph, op: Op) -> Work:
    """N log2 n comparisons; for the k largest n log2 k."""
    longest = max(graph.tensors[op.inputs[0]].shape[-1:], default=1) if op.inputs else 1
    depth = max(graph.tensors[op.outputs[0]].shape[-1:], default=1) if op.kind.endswith("TOPK_V2") else longest
    return Work("elementwise", 0, in_elements(graph, op) * ceil(log2(max(2, depth))))


def _suppression(graph: Graph, op: Op) -> Work:
    """Every box against every box that is kept, ten operations for each overlap: an upper bound."""
    kept = graph.tensors[op.outputs[0]].elements if op.outputs else 0
    return Work("elementwise", 0, 10 * in_elements(graph, op) // 4 * kept)


_NAMED: dict[str, Rule] = {
    **{name: per_output("elementwise", each) for each, names in _POINTWISE.items() for name in names.split()},
    **{name: per_input("norm", each) for each, names in _REDUCTIONS.items() for name in names.split()},
    **{name: (lambda _graph, _op: MOVE) for name in _MOVES.split()},
    **{name: _with_activation(per_output("elementwise", 1)) for name in ("ADD", "DIV", "MUL", "SUB")},
    **{name: _recurrent(each) for name, each in _RECURRENT.items()},
    "CONV_2D": _convolution(slice(1, None), 4),
    "DEPTHWISE_CONV_2D": _convolution(slice(1, 3), 4),
    "CONV_3D": _convolution(slice(0, 4), 5),
    "FULLY_CONNECTED": _convolution(slice(1, None), 2),
    "TRANSPOSE_CONV": _transposed(4),
    "CONV_3D_TRANSPOSE": _transposed(5),
    "BATCH_MATMUL": _batch_matmul,
    "STABLEHLO_DOT_GENERAL": _dot_general,
    "STABLEHLO_CONVOLUTION": _stablehlo_convolution,
    "AVERAGE_POOL_2D": _pool(1),
    "MAX_POOL_2D": _pool(1),
    "L2_POOL_2D": _pool(2),
    "STABLEHLO_REDUCE_WINDOW": _reduce_window,
    "LOCAL_RESPONSE_NORMALIZATION": _local_response,
    "RESIZE_BILINEAR": per_output("norm", 7),
    "TOPK_V2": _sort,
    "UNIQUE": _sort,
    "STABLEHLO_SORT": _sort,
    "NON_MAX_SUPPRESSION_V4": _suppression,
    "NON_MAX_SUPPRESSION_V5": _suppression,
}

RULES: dict[str, Rule] = {f"tflite.{name}": rule for name, rule in _NAMED.items()}
