"""Prices of ONNX's operations, and of those that ONNX Runtime's optimizer puts in their place (com.microsoft), by name.

Integer networks are priced by the same steps as float ones: rescaling to the output's scale is not counted.
"""

from __future__ import annotations

from math import ceil, log2, prod

from netwright.cost.rules.aten_products import SOFTMAX, einsum_macs
from netwright.cost.rules.work import MOVE, Rule, Work, in_elements, out_elements, products, rules_of
from netwright.graph.graph import Graph, Op, Ref, Tensor
from netwright.graph.operations.onnx import TRAITS

# Resampling: operations for every element that is sampled, by mode and number of sides.
_RESAMPLING = {"linear": {1: 3, 2: 7, 3: 15}, "bilinear": {2: 7, 3: 15}, "cubic": {1: 7, 2: 31}, "bicubic": {2: 31}}


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
    gates = graph.traits(op).each * out_elements(graph, op)
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


def _pool(graph: Graph, op: Op) -> Work | None:
    sides = op.arguments.get("kernel_shape")
    if not isinstance(sides, list):
        return None
    return Work("norm", 0, graph.traits(op).each * prod(sides) * out_elements(graph, op))


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


FORMULAS: dict[str, Rule] = {
    "attention": _attention,
    "batch_norm": _batch_norm,
    "convolution": _convolution(1),
    "deformable": _deformable,
    "einsum": _einsum,
    "local_response": _local_response,
    "packed_product": _packed_product,
    "pool": _pool,
    "product": _product,
    "projecting_attention": _projecting_attention,
    "quantized_convolution": _convolution(3),
    "recurrent": _recurrent,
    "resample": _resample,
    "roi_align": _roi_align,
    "sort": _sort,
    "suppression": _suppression,
    "transposed": _transposed,
}

RULES: dict[str, Rule] = {
    kind: rule if TRAITS[kind].group == "move" else _needs_shapes(rule)
    for kind, rule in rules_of(TRAITS, FORMULAS).items()
}
