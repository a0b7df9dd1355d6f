"""Prices of torch's operations that multiply and accumulate: convolution, matrix products, attention, recurrent layers.

Attention is priced by its products, whichever kernel runs it: scores and weighted values forward, the four gradient
products backward. A fused kernel's recomputation of the scores is not counted, nor what a causal mask lets it skip.
"""

from __future__ import annotations

import math

from netwright.cost.rules.work import Rule, Work, argument, out_elements, products, refs, shape
from netwright.graph.graph import Graph, Op

SOFTMAX = 5  # operations an element: maximum, difference, exponential, sum, quotient
GATES = 8  # operations a unit of a recurrent layer, about: activations, products and sums of its gates


def conv_macs(x_shape: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, ...], transposed: bool) -> int:
    """Return the multiply-accumulates of a convolution of any rank and grouping.

    Every weight meets every position of the output, or of the input where it is transposed.
    """
    positions = x_shape if transposed else out
    spatial = len(weight) - 2
    return math.prod(weight) * math.prod(positions[-spatial:]) * (x_shape[0] if len(x_shape) == len(weight) else 1)


def _convolution(graph: Graph, op: Op) -> Work:
    transposed = bool(op.arguments.get("transposed", "conv_transpose" in op.kind))
    x = shape(graph, op, "input" if "input" in op.arguments else "self")
    return products(conv_macs(x, shape(graph, op, "weight"), graph.tensors[op.outputs[0]].shape, transposed))


def _packed_weight(graph: Graph, op: Op) -> tuple[int, ...]:
    """Return the shape of a weight that came packed in an object and was unpacked at capture; () where it was not."""
    later = (graph.tensors[index] for index in op.inputs[1:] if graph.storage(index).role == "parameter")
    return next((tensor.shape for tensor in later if len(tensor.shape) > 1), ())


def _packed_convolution(graph: Graph, op: Op) -> Work | None:
    weight = _packed_weight(graph, op)
    x, out = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    return products(conv_macs(x, weight, out, "conv_transpose" in op.kind)) if weight else None


def _packed_linear(graph: Graph, op: Op) -> Work | None:
    weight = _packed_weight(graph, op)
    return products(out_elements(graph, op) * weight[-1]) if weight else None


def _convolution_backward(graph: Graph, op: Op) -> Work:
    """Each wanted gradient, of input or weight, costs what the forward pass does; the bias's is a sum."""
    gradient = shape(graph, op, "grad_output")
    macs = conv_macs(shape(graph, op, "input"), shape(graph, op, "weight"), gradient, bool(op.arguments["transposed"]))
    wants_input, wants_weight, wants_bias = op.arguments["output_mask"]
    return products(macs * (int(wants_input) + int(wants_weight)), math.prod(gradient) if wants_bias else 0)


def matmul_macs(left: tuple[int, ...], right: tuple[int, ...], out: int) -> int:
    """Return the multiply-accumulates of `torch.matmul`: every output element is a sum over the shared side."""
    return out * left[-1] if left and right else out


def _matmul(graph: Graph, op: Op) -> Work:
    first, second = (shape(graph, op, name) for name in graph.traits(op).operands)
    return products(matmul_macs(first, second, out_elements(graph, op)))


def _summed_matmul(graph: Graph, op: Op) -> Work:
    """Products of a batch of matrices, added up."""
    first, second = (shape(graph, op, name) for name in graph.traits(op).operands)
    return products(math.prod(first) * second[-1])


def _dot(graph: Graph, op: Op) -> Work:
    return products(math.prod(shape(graph, op, "self")))


def _linear(graph: Graph, op: Op) -> Work:
    """A product with a weight matrix whose last dimension is the summed one."""
    _, weight = graph.traits(op).operands
    return products(out_elements(graph, op) * shape(graph, op, weight)[-1])


def _affine_grid(graph: Graph, op: Op) -> Work:
    return products(shape(graph, op, "theta")[-1] * out_elements(graph, op))


def _outer(graph: Graph, op: Op) -> Work:
    return products(out_elements(graph, op))


def _linear_backward(graph: Graph, op: Op) -> Work:
    gradient = argument(graph, op, "grad_output")
    each = gradient.elements * shape(graph, op, "weight")[-1] if gradient else 0
    wanted = op.arguments.get("output_mask", (True, True, False))
    return products(each * (int(wanted[0]) + int(wanted[1])))


def einsum_macs(equation: str, shapes: list[tuple[int, ...]]) -> int:
    """Return the multiply-accumulates of an einsum contracted from left to right, as torch does without opt_einsum."""
    inputs, _, out = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    sizes: dict[str, int] = {}
    for place, sides in enumerate(shapes):
        term = terms[place]
        if "..." in term:
            extra = len(sides) - len(term) + 3
            term = term.replace("...", "".join(chr(0x3B1 + 23 - extra + k) for k in range(extra)))
            terms[place] = term
        for letter, side in zip(term, sides, strict=True):
            sizes[letter] = max(sizes.get(letter, 1), side)
    broadcast = sorted({letter for term in terms for letter in term if ord(letter) >= 0x3B1})
    if "->" not in equation:
        once = sorted(letter for letter in sizes if sum(term.count(letter) for term in terms) == 1)
        out = "".join((*broadcast, *(letter for letter in once if letter not in broadcast)))
    out = out.replace("...", "".join(broadcast))
    total, left = 0, set(terms[0])
    for place in range(1, len(terms)):
        both = left | set(terms[place])
        total += math.prod(sizes[letter] for letter in both)
        left = both & (set(out) | set("".join(terms[place + 1 :])))
    return total


def _einsum(graph: Graph, op: Op) -> Work:
    return products(
        einsum_macs(op.arguments["equation"], [graph.tensors[t].shape for t in refs(op.arguments["tensors"])])
    )


def _attention(times: int) -> Rule:
    """Fused attention on query BHLE, key BhSE, value BhSV; `times` is 1 forward and 2 backward."""

    def rule(graph: Graph, op: Op) -> Work:
        query, key, value = (shape(graph, op, name) for name in ("query", "key", "value"))
        scores = math.prod(query[:-1]) * key[-2]
        return products(times * scores * (query[-1] + value[-1]), times * SOFTMAX * scores)

    return rule


def _attention_by_length(times: int) -> Rule:
    """As `_attention`, on query BLHE, key BShE, value BShV; packed sequences have lengths that only values tell."""

    def rule(graph: Graph, op: Op) -> Work | None:
        if any(argument(graph, op, name) for name in ("cum_seq_q", "cu_seqlens_q")):
            return None
        query, key, value = (shape(graph, op, name) for name in ("query", "key", "value"))
        scores = math.prod(query[:-1]) * key[1]
        return products(times * scores * (query[-1] + value[-1]), times * SOFTMAX * scores)

    return rule


def _attention_products(graph: Graph, op: Op, x: str) -> tuple[int, int]:
    """Return macs and operations of self attention with its two projections, on x_BLE."""
    batch, length, width = shape(graph, op, x)
    qkv, projection = (math.prod(shape(graph, op, name)) for name in ("qkv_weight", "proj_weight"))
    heads = op.arguments.get("num_head", op.arguments.get("num_heads"))
    macs = batch * length * (qkv + projection) + 2 * batch * length * length * width
    return macs, SOFTMAX * batch * int(heads or 1) * length * length


def _native_attention(graph: Graph, op: Op) -> Work:
    """`nn.MultiheadAttention` in one operation: its inference fast path, which takes query, key and value of one length."""
    query, key = shape(graph, op, "query"), shape(graph, op, "key")
    if query == key:
        return products(*_attention_products(graph, op, "query"))
    batch, length, width = query
    macs = (length * 2 + key[1] * 2) * batch * width * width + 2 * batch * length * key[1] * width
    return products(macs, SOFTMAX * batch * int(op.arguments["num_head"]) * length * key[1])


def _encoder_layer(graph: Graph, op: Op) -> Work:
    """`nn.TransformerEncoderLayer` in one operation, its inference fast path: attention, two norms, two linear layers."""
    macs, flops = _attention_products(graph, op, "src")
    batch, length, width = shape(graph, op, "src")
    hidden = shape(graph, op, "ffn_weight_1")[0]
    rows = batch * length
    return products(macs + 2 * rows * width * hidden, flops + rows * (12 * width + hidden))


def _recurrent_macs(graph: Graph, op: Op, x: str, weights: list[int]) -> int:
    """Every weight matrix meets every row, a step of one sequence, of the input once."""
    rows = math.prod(shape(graph, op, x)[:-1])
    matrices = (graph.tensors[index] for index in weights)
    return rows * sum(matrix.elements for matrix in matrices if len(matrix.shape) == 2)


def _recurrent(times: int) -> Rule:
    """A recurrent layer with its weights; `times` is 1 forward and 2 backward."""

    def rule(graph: Graph, op: Op) -> Work:
        weights = list(dict.fromkeys(i for name in graph.traits(op).operands for i in refs(op.arguments.get(name))))
        macs = _recurrent_macs(graph, op, "data" if "data" in op.arguments else "input", weights)
        return products(times * macs, times * GATES * out_elements(graph, op))

    return rule


def _cell(graph: Graph, op: Op) -> Work:
    """One step of a recurrent cell from input and state."""
    matrices = [shape(graph, op, "w_ih"), shape(graph, op, "w_hh")]
    batch = math.prod(shape(graph, op, "input")[:-1])
    return products(batch * sum(map(math.prod, matrices)), GATES * out_elements(graph, op))


def _bilinear(graph: Graph, op: Op) -> Work:
    """x1 W x2 of every row: every weight once, with a product of the other two besides."""
    terms = math.prod(shape(graph, op, "input1")[:-1]) * math.prod(shape(graph, op, "weight"))
    return products(terms, terms)


def _trilinear(graph: Graph, op: Op) -> Work:
    """What bilinear layers and their gradients dispatch: a sum of products of three, over all sides expanded."""
    sides: list[int] = []
    for number in (1, 2, 3):
        own = list(shape(graph, op, f"i{number}"))
        for place in op.arguments[f"expand{number}"]:
            own.insert(place, 1)
        sides = [max(pair) for pair in zip(sides or own, own, strict=True)]
    return products(math.prod(sides), math.prod(sides))


FORMULAS: dict[str, Rule] = {
    "affine_grid": _affine_grid,
    "attention": _attention(1),
    "attention_backward": _attention(2),
    "attention_by_length": _attention_by_length(1),
    "attention_by_length_backward": _attention_by_length(2),
    "bilinear": _bilinear,
    "cell": _cell,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "dot": _dot,
    "einsum": _einsum,
    "encoder_layer": _encoder_layer,
    "linear": _linear,
    "linear_backward": _linear_backward,
    "matmul": _matmul,
    "native_attention": _native_attention,
    "outer": _outer,
    "packed_convolution": _packed_convolution,
    "packed_linear": _packed_linear,
    "recurrent": _recurrent(1),
    "recurrent_backward": _recurrent(2),
    "summed_matmul": _summed_matmul,
    "trilinear": _trilinear,
}
