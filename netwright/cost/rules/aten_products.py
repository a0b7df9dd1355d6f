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
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


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


def _convolution_backward(graph: Graph, op: Op) -> Work:
    """Each wanted gradient, of input or weight, costs what the forward pass does; the bias's is a sum."""
    gradient = shape(graph, op, "grad_output")
    macs = conv_macs(shape(graph, op, "input"), shape(graph, op, "weight"), gradient, bool(op.arguments["transposed"]))
    wants_input, wants_weight, wants_bias = op.arguments["output_mask"]
    return products(macs * (int(wants_input) + int(wants_weight)), math.prod(gradient) if wants_bias else 0)


def matmul_macs(left: tuple[int, ...], right: tuple[int, ...], out: int) -> int:
    """Return the multiply-accumulates of `torch.matmul`: every output element is a sum over the shared side."""
    return out * left[-1] if left and right else out


def _matmul(first: str, second: str) -> Rule:
    return lambda graph, op: products(
        matmul_macs(shape(graph, op, first), shape(graph, op, second), out_elements(graph, op))
    )


def _linear(name: str) -> Rule:
    """A product with a weight matrix whose last side is the summed one."""
    return lambda graph, op: products(out_elements(graph, op) * shape(graph, op, name)[-1])


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


def _recurrent(names: tuple[str, ...], times: int = 1) -> Rule:
    """A recurrent layer given its weights under `names`."""

    def rule(graph: Graph, op: Op) -> Work:
        weights = [index for name in names for index in refs(op.arguments.get(name))]
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


_SDPA = (
    "scaled_dot_product_attention",
    "_scaled_dot_product_attention_math",
    "_scaled_dot_product_attention_math_for_mps",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)

RULES: dict[str, Rule] = {
    **{
        f"aten.{name}": _convolution
        for name in (
            *("convolution", "_convolution", "convolution_overrideable", "cudnn_convolution", "mkldnn_convolution"),
            *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
            *("cudnn_convolution_transpose", "cudnn_convolution_relu", "cudnn_convolution_add_relu"),
            *("_slow_conv2d_forward", "slow_conv3d", "_conv_depthwise2d", "conv_depthwise3d", "thnn_conv2d"),
        )
    },
    "aten.convolution_backward": _convolution_backward,
    "aten.mm": _matmul("self", "mat2"),
    "aten.bmm": _matmul("self", "mat2"),
    "aten._int_mm": _matmul("self", "mat2"),
    "aten._scaled_mm": _matmul("self", "mat2"),
    "aten._scaled_mm_v2": _matmul("self", "mat2"),
    "aten._grouped_mm": _matmul("self", "mat2"),
    "aten._scaled_grouped_mm": _matmul("self", "mat2"),
    "aten._weight_int4pack_mm": _matmul("self", "mat2"),
    "aten._weight_int4pack_mm_for_cpu": _matmul("self", "mat2"),
    "aten._weight_int8pack_mm": _matmul("self", "mat2"),
    "aten._dyn_quant_matmul_4bit": _matmul("inp", "packed_weights"),
    "aten._sparse_mm": _matmul("sparse", "dense"),
    "aten.matmul": _matmul("self", "other"),
    "aten.addmm": _matmul("mat1", "mat2"),
    "aten._addmm_activation": _matmul("mat1", "mat2"),
    "aten.baddbmm": _matmul("batch1", "batch2"),
    "aten.addbmm": lambda graph, op: products(math.prod(shape(graph, op, "batch1")) * shape(graph, op, "batch2")[-1]),
    "aten.mv": _matmul("self", "vec"),
    "aten.addmv": _matmul("mat", "vec"),
    "aten.dot": lambda graph, op: products(math.prod(shape(graph, op, "self"))),
    "aten.vdot": lambda graph, op: products(math.prod(shape(graph, op, "self"))),
    "aten.addr": _outer,
    "aten.outer": _outer,
    "aten.ger": _outer,
    "aten.linear": _linear("weight"),
    "aten.mkldnn_linear": _linear("weight"),
    "aten.linear_backward": _linear_backward,
    "aten.einsum": _einsum,
    "aten.bilinear": _bilinear,
    "aten.affine_grid_generator": lambda graph, op: products(shape(graph, op, "theta")[-1] * out_elements(graph, op)),
    "aten._trilinear": _trilinear,
    **{f"aten.{name}": _attention(1) for name in _SDPA},
    **{f"aten.{name}_backward": _attention(2) for name in _SDPA[3:]},
    "aten._flash_attention_forward": _attention_by_length(1),
    "aten._flash_attention_backward": _attention_by_length(2),
    "aten._efficient_attention_forward": _attention_by_length(1),
    "aten._efficient_attention_backward": _attention_by_length(2),
    "aten._native_multi_head_attention": _native_attention,
    "aten._transformer_encoder_layer_fwd": _encoder_layer,
    "aten.mkldnn_rnn_layer": _recurrent(("weight0", "weight1")),
    "aten.mkldnn_rnn_layer_backward": _recurrent(("weight1", "weight2"), times=2),
    "aten._cudnn_rnn": _recurrent(("weight",)),
    "aten._cudnn_rnn_backward": _recurrent(("weight",), times=2),
    "aten.miopen_rnn": _recurrent(("weight",)),
    **{f"aten.{name}": _recurrent(("params",)) for name in _RECURRENT},
    **{f"aten.{name}_cell": _cell for name in _RECURRENT},
}
