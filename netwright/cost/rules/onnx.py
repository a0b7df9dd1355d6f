"""Prices of ONNX's operations, and of those that ONNX Runtime's optimizer puts in their place (com.microsoft), by name.

Integer networks are priced by the same steps as float ones: rescaling to the output's scale is not counted.
"""

from __future__ import annotations

from math import ceil, log2, prod

from netwright.cost.rules.aten_products import SOFTMAX, einsum_macs
from netwright.cost.rules.work import MOVE, Rule, Work, in_elements, out_elements, per_input, per_output, products
from netwright.graph.graph import Graph, Op, Ref, Tensor

# Operations for every element of the output; comparisons and calls of a function count one.
_POINTWISE = {
    1: """Abs Acos Acosh Add And Asin Asinh Atan Atanh Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil
        Cos Cosh CumProd CumSum DequantizeLinear Div Elu Equal Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN
        LeakyRelu Less LessOrEqual Log Max Min Mod Mul Multinomial Neg Not Or PRelu Pow RandomNormal RandomNormalLike
        RandomUniform RandomUniformLike Reciprocal Relu Round Sigmoid Sign Sin Sinh Sqrt Sub Sum Mean Tan Tanh
        ThresholdedRelu Where Xor com.microsoft.QLinearAdd com.microsoft.QLinearMul com.microsoft.QLinearLeakyRelu
        com.microsoft.QLinearSigmoid com.microsoft.QLinearWhere com.microsoft.DequantizeLinear""",
    2: "Celu Clip Hardmax Selu Shrink Softplus Softsign Swish com.microsoft.QuickGelu",
    3: "HardSigmoid Mish RotaryEmbedding SwiGLU com.microsoft.RotaryEmbedding",
    4: """Gelu HardSwish QuantizeLinear com.microsoft.Gelu com.microsoft.FastGelu com.microsoft.BiasGelu
        com.microsoft.QuantizeLinear""",
    5: "LogSoftmax Softmax com.microsoft.QLinearSoftmax com.microsoft.BiasSoftmax",
}
# Operations for every element of the first input.
_REDUCTIONS = {
    1: """ArgMax ArgMin GlobalAveragePool GlobalMaxPool NegativeLogLikelihoodLoss ReduceMax ReduceMean ReduceMin
        ReduceProd ReduceSum com.microsoft.QLinearGlobalAveragePool com.microsoft.QLinearReduceMean MaxRoiPool""",
    2: "DynamicQuantizeLinear GlobalLpPool ReduceL1 ReduceL2 ReduceLogSum ReduceSumSquare",
    3: "ReduceLogSumExp",
    4: "LpNormalization MeanVarianceNormalization SimplifiedLayerNormalization RMSNormalization",
    5: """GroupNormalization InstanceNormalization LayerNormalization SoftmaxCrossEntropyLoss
        com.microsoft.GroupNorm com.microsoft.LayerNormalization""",
    6: "com.microsoft.SkipLayerNormalization com.microsoft.SkipSimplifiedLayerNormalization com.microsoft.SkipGroupNorm",
}
# Copies, gathers, fills, questions: nothing is computed.
_MOVES = """BitCast Cast CastLike CenterCropPad Col2Im Compress Concat ConstantOfShape DepthToSpace Dropout Expand EyeLike Flatten
    Gather GatherElements GatherND Identity MaxUnpool NonZero OneHot Pad Range Reshape ReverseSequence Scatter
    ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Squeeze TensorScatter Tile Transpose Trilu Unsqueeze
    BlackmanWindow HammingWindow HannWindow AffineGrid Optional OptionalGetElement OptionalHasElement SequenceAt
    SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SplitToSequence ConcatFromSequence
    com.microsoft.QLinearConcat com.microsoft.ExpandDims com.microsoft.EmbedLayerNormalization"""
# Resampling: operations for every element that is sampled, by mode and number of sides.
_RESAMPLING = {"linear": {1: 3, 2: 7, 3: 15}, "bilinear": {2: 7, 3: 15}, "cubic": {1: 7, 2: 31}, "bicubic": {2: 31}}
_GATES = {"LSTM": 9, "GRU": 9, "RNN": 1}


def _operand(graph: Graph, op: Op, place: int) -> Tensor | None:
    operands = op.arguments["inputs"]
    value = operands[place] if place < len(operands) else None
    return graph.tensors[value.tensor] if isinstance(value, Ref) else None


def _convolution(weights_at: int) -> Rule:
    """Weights [out, in / groups, sides]: every output element is a sum over all sides but the first."""

    def rule(graph: Graph, op: Op) -> Work | None:
        weights = _operand(graph, op, weights_at)
        if weights is None or len(weights.shape) < 3:
            return None
        return products(out_elements(graph, op) * prod(weights.shape[1:]))

    return rule


def _transposed(graph: Graph, op: Op) -> Work | None:
    """Weights [in, out / groups, sides]: every input element meets all sides but the first."""
    weights = _operand(graph, op, 1)
    if weights is None or len(weights.shape) < 3:
        return None
    return products(in_elements(graph, op) * prod(weights.shape[1:]))


def _product(graph: Graph, op: Op) -> Work | None:
    """Every output element is a sum over the left operand's last side, or the one before where it is transposed."""
    left = _operand(graph, op, 0)
    if left is None or not left.shape:
        return None
    transposed = bool(op.arguments.get("transA", 0)) and len(left.shape) > 1
    return products(out_elements(graph, op) * left.shape[-2 if transposed else -1])


def _packed_product(graph: Graph, op: Op) -> Work | None:
    """Weights packed to a few bits: the summed side is an attribute."""
    return products(out_elements(graph, op) * op.arguments["K"]) if isinstance(op.arguments.get("K"), int) else None


def _einsum(graph: Graph, op: Op) -> Work | None:
    try:
        return products(einsum_macs(op.arguments["equation"], [graph.tensors[index].shape for index in op.inputs]))
    except (KeyError, ValueError, IndexError):
        return None


def _recurrent(graph: Graph, op: Op) -> Work | None:
    """Both matrices are applied at every step and to every sequence; gates for every element of the outputs."""
    x, weights, recurrent = (_operand(graph, op, place) for place in range(3))
    if x is None or weights is None or recurrent is None or len(x.shape) != 3:
        return None
    gates = _GATES[op.kind.removeprefix("onnx.")] * out_elements(graph, op)
    return products(x.shape[0] * x.shape[1] * (weights.elements + recurrent.elements), gates)


def _attention(graph: Graph, op: Op) -> Work | None:
    """Scores and weighted values, over queries [B, L, D] or [B, H, L, E], with the keys kept from before."""
    query, key, value, past = (_operand(graph, op, place) for place in (0, 1, 2, 4))
    if query is None or key is None or value is None or len(query.shape) not in (3, 4):
        return None
    if len(query.shape) == 4:
        heads, rows, depth = query.shape[0] * query.shape[1], query.shape[2], query.shape[3]
        values_depth = value.shape[-1]
    else:
        count = op.arguments.get("q_num_heads", op.arguments.get("num_heads", 0))
        others = op.arguments.get("kv_num_heads", count)
        if not count or not others or len(key.shape) != 3 or len(value.shape) != 3:
            return None
        heads, rows, depth = query.shape[0] * count, query.shape[1], query.shape[2] // count
        values_depth = value.shape[2] // others
    keys = key.shape[-2] + (past.shape[-2] if past is not None and op.kind == "onnx.Attention" else 0)
    scores = heads * rows * keys
    return products(scores * (depth + values_depth), SOFTMAX * scores)


def _projecting_attention(graph: Graph, op: Op) -> Work | None:
    """ONNX Runtime's Attention: input [B, L, D] and weights [D, 3 x hidden], then attention over itself."""
    x, weights = _operand(graph, op, 0), _operand(graph, op, 1)
    if x is None or weights is None or len(x.shape) != 3 or len(weights.shape) != 2 or not out_elements(graph, op):
        return None
    batch, rows, _ = x.shape
    values = graph.tensors[op.outputs[0]].shape[-1]
    keys = (weights.shape[1] - values) // 2
    scores = batch * rows * rows
    heads = op.arguments.get("num_heads", 1)
    return products(batch * rows * weights.elements + scores * (keys + values), SOFTMAX * scores * heads)


def _pool(each: int) -> Rule:
    def rule(graph: Graph, op: Op) -> Work | None:
        sides = op.arguments.get("kernel_shape")
        return Work("norm", 0, each * prod(sides) * out_elements(graph, op)) if isinstance(sides, list) else None

    return rule


def _batch_norm(graph: Graph, op: Op) -> Work:
    return Work("norm", 0, (5 if op.arguments.get("training_mode") else 2) * in_elements(graph, op))


def _local_response(graph: Graph, op: Op) -> Work:
    return Work("norm", 0, (2 * int(op.arguments.get("size", 5)) + 3) * out_elements(graph, op))


def _resample(graph: Graph, op: Op) -> Work:
    out = graph.tensors[op.outputs[0]]
    given = graph.tensors[op.inputs[0]].shape
    if op.kind == "onnx.GridSample":
        sides = len(out.shape) - 2
    else:
        sides = sum(new != old for new, old in zip(out.shape, given, strict=False))
    each = _RESAMPLING.get(op.arguments.get("mode", "linear"), {})
    return Work("norm", 0, each.get(sides, 15) * out.elements) if each else MOVE


def _roi_align(graph: Graph, op: Op) -> Work:
    samples = max(1, int(op.arguments.get("sampling_ratio") or 2)) ** 2
    return Work("norm", 0, 8 * samples * out_elements(graph, op))


def _deformable(graph: Graph, op: Op) -> Work | None:
    """A convolution whose inputs are first sampled between their neighbours."""
    work, weights = _convolution(1)(graph, op), _operand(graph, op, 1)
    if work is None or weights is None or not weights.shape[0]:
        return None
    samples = out_elements(graph, op) // weights.shape[0] * prod(weights.shape[1:])
    return products(work.macs, 8 * samples)


def _sort(graph: Graph, op: Op) -> Work:
    """N log2 n comparisons; for the k largest n log2 k."""
    longest = max(graph.tensors[op.inputs[0]].shape, default=1)
    kept = graph.tensors[op.outputs[0]].shape if op.kind == "onnx.TopK" else ()
    return Work("elementwise", 0, in_elements(graph, op) * ceil(log2(max(2, min((longest, *kept))))))


def _suppression(graph: Graph, op: Op) -> Work:
    """Every box against every other, ten operations for each overlap: an upper bound."""
    boxes = graph.tensors[op.inputs[0]].shape
    return Work("elementwise", 0, 10 * boxes[0] * boxes[1] ** 2 if len(boxes) == 3 else 0)


def _needs_shapes(rule: Rule) -> Rule:
    """Return a rule that gives no price where an operand's shape was not known."""

    def guarded(graph: Graph, op: Op) -> Work | None:
        tensors = [graph.tensors[index] for index in (*op.inputs, *op.outputs)]
        if not op.outputs or not op.inputs or any(tensor.dtype == "unknown" for tensor in tensors):
            return None
        return rule(graph, op)

    return guarded


_COMPUTED: dict[str, Rule] = {
    **{name: per_output("elementwise", each) for each, names in _POINTWISE.items() for name in names.split()},
    **{name: per_input("norm", each) for each, names in _REDUCTIONS.items() for name in names.split()},
    **{name: _convolution(1) for name in ("Conv", "ConvInteger", "com.microsoft.FusedConv", "com.microsoft.NhwcConv")},
    **{name: _convolution(3) for name in ("QLinearConv", "com.microsoft.QLinearConv")},
    **dict.fromkeys(_GATES, _recurrent),
    **dict.fromkeys((*("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "com.microsoft.FusedMatMul", "com.microsoft.FusedGemm"), *("com.microsoft.QGemm", "com.microsoft.DynamicQuantizeMatMul", "com.microsoft.MatMulIntegerToFloat"), *("com.microsoft.TransposeMatMul", "com.microsoft.FusedMatMulActivation", "com.microsoft.GemmFastGelu")), _product),
    **dict.fromkeys(("Attention", "com.microsoft.MultiHeadAttention"), _attention),
    **dict.fromkeys(("com.microsoft.Attention", "com.microsoft.QAttention"), _projecting_attention),
    **{name: _pool(1) for name in ("AveragePool", "MaxPool", "com.microsoft.QLinearAveragePool", "com.microsoft.NhwcMaxPool")},
    **dict.fromkeys(("Resize", "Upsample", "GridSample"), _resample),
    "ConvTranspose": _transposed,
    "DeformConv": _deformable,
    "Einsum": _einsum,
    "com.microsoft.MatMulNBits": _packed_product,
    "LpPool": _pool(2),
    "BatchNormalization": _batch_norm,
    "LRN": _local_response,
    "RoiAlign": _roi_align,
    "TopK": _sort,
    "Unique": _sort,
    "NonMaxSuppression": _suppression,
}  # fmt: skip

RULES: dict[str, Rule] = {
    **{f"onnx.{name}": (lambda _graph, _op: MOVE) for name in _MOVES.split()},
    **{f"onnx.{name}": _needs_shapes(rule) for name, rule in _COMPUTED.items()},
}
