"""Prices of torch's operations that make no products: operations an element, by table.

An arithmetic step, a comparison and a call of a function such as exp count one each. Normalization follows fvcore's
convention: five an element with affine parameters, four without; two or one where the statistics are given.
"""

from __future__ import annotations

import math

from netwright.cost.rules.work import (
    MOVE,
    Rule,
    Work,
    argument,
    in_elements,
    out_elements,
    per_input,
    per_output,
    shape,
)
from netwright.graph.graph import Graph, Op

# Operations for every element of the output.
_POINTWISE = {
    1: """abs absolute acos acosh add angle asin asinh atan atan2 atanh bernoulli bitwise_and bitwise_left_shift
        bitwise_not bitwise_or bitwise_right_shift bitwise_xor bucketize cauchy ceil clamp_max clamp_min copysign cos
        cosh cummax cummin cumprod cumsum deg2rad digamma div divide elu eq erf erfc erfinv exp exp2 expm1 exponential
        fake_quantize_per_channel_affine_cachemask_backward fake_quantize_per_tensor_affine_cachemask_backward
        floor floor_divide fmax fmin fmod frac ge geometric greater gt heaviside isfinite isinf isin isnan isneginf
        isposinf ldexp le leaky_relu less lgamma log log10 log1p log2 log_normal logical_and logical_not logical_or
        logical_xor lt masked_fill maximum minimum mul multiply native_dropout_backward ne neg negative nextafter
        normal polar pow prelu _prelu_kernel rad2deg rand rand_like randint randint_like randn randn_like random
        reciprocal relu remainder round rrelu_with_noise rsqrt rsub searchsorted sgn sigmoid sign signbit sin sinc
        sinh sqrt square sub subtract tan tanh threshold threshold_backward true_divide trunc uniform where xlogy""",
    2: """addcdiv addcmul celu clamp dequantize dropout fake_quantize_per_channel_affine_cachemask
        fake_quantize_per_tensor_affine_cachemask hardshrink hardshrink_backward hardtanh hardtanh_backward hypot
        leaky_relu_backward lerp logaddexp logaddexp2 logit log_sigmoid_forward nan_to_num native_dropout relu6
        rrelu_with_noise_backward selu silu softplus softshrink softshrink_backward""",
    3: """elu_backward hardsigmoid hardsigmoid_backward log_sigmoid logit_backward mish _prelu_kernel_backward
        sigmoid_backward softplus_backward tanh_backward""",
    4: "gelu hardswish hardswish_backward quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic",
    5: "log_sigmoid_backward _log_softmax log_softmax _safe_softmax silu_backward _softmax softmax",
    8: "gelu_backward mish_backward",
}
# Reductions and losses: operations for every element of the first input.
_REDUCTIONS = {
    1: """all amax amin any argmax argmin bincount count_nonzero histc max mean median min mode nanmean nansum
        nll_loss2d_backward nll_loss2d_forward nll_loss_backward nll_loss_forward prod sum trace""",
    2: "aminmax dist l1_loss linalg_vector_norm mse_loss norm renorm",
    3: """binary_cross_entropy huber_loss huber_loss_backward logcumsumexp logsumexp _log_softmax_backward_data
        mse_loss_backward smooth_l1_loss smooth_l1_loss_backward _softmax_backward_data std std_mean var var_mean""",
    4: "binary_cross_entropy_backward binary_cross_entropy_with_logits _weight_norm_interface",
    5: "cosine_similarity cross_entropy_loss _weight_norm_interface_backward",
}
# Copies, gathers, fills, allocations, questions: nothing is computed.
_MOVES = """alias alias_copy arange as_strided as_strided_copy as_strided_scatter _assert_async _assert_scalar
    _assert_tensor_metadata block_diag broadcast_to cat channel_shuffle chunk clone col2im complex concat conj _conj
    conj_physical _conj_physical constant_pad_nd contiguous copy _copy_from detach detach_copy diag diag_embed diagonal
    diagonal_backward diagonal_copy diagonal_scatter embedding embedding_dense_backward empty empty_like empty_permuted
    empty_strided equal expand expand_as expand_copy eye fill flatten flip full full_like gather gather_backward
    hstack im2col index index_add index_copy index_fill _index_put_impl index_put index_select index_select_backward
    int_repr is_nonzero item lift lift_fresh lift_fresh_copy linspace _local_scalar_dense logspace masked_scatter masked_scatter_backward
    masked_select max_unpool2d max_unpool3d meshgrid movedim narrow narrow_copy native_channel_shuffle _neg_view
    new_empty new_empty_strided new_full new_ones new_zeros nonzero nonzero_static one_hot ones ones_like pad permute
    permute_copy pixel_shuffle pixel_unshuffle put randperm ravel reflection_pad1d reflection_pad1d_backward
    reflection_pad2d reflection_pad2d_backward reflection_pad3d reflection_pad3d_backward repeat repeat_interleave
    replication_pad1d replication_pad1d_backward replication_pad2d replication_pad2d_backward replication_pad3d
    replication_pad3d_backward reshape _reshape_alias _reshape_copy resize resize_as resolve_conj resolve_neg roll rot90
    scalar_tensor scatter scatter_add scatter_reduce select select_backward select_copy select_scatter set slice
    slice_backward slice_copy slice_scatter split split_copy split_with_sizes split_with_sizes_copy squeeze
    squeeze_copy stack sym_constrain_range sym_constrain_range_for_size t t_copy take take_along_dim tensor_split tile
    to to_copy _to_copy transpose transpose_copy tril tril_indices triu triu_indices unbind unbind_copy unflatten unfold
    unfold_backward unfold_copy _unsafe_index _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate
    _unsafe_view unsqueeze unsqueeze_copy upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d value_selecting_reduction_backward vander view view_as
    view_as_complex view_as_real view_copy vstack zero zeros zeros_like"""
# Resampling: operations for every element that is sampled (weights and sums of 2, 4, 8 or 16 neighbours).
_RESAMPLING = {
    "upsample_linear1d": 3,
    "upsample_bilinear2d": 7,
    "_upsample_bilinear2d_aa": 7,
    "upsample_bicubic2d": 31,
    "_upsample_bicubic2d_aa": 31,
    "upsample_trilinear3d": 15,
    "grid_sampler_2d": 7,
    "grid_sampler_3d": 15,
}
_NORMS = """batch_norm cudnn_batch_norm group_norm instance_norm layer_norm miopen_batch_norm native_batch_norm
    _native_batch_norm_legit _native_batch_norm_legit_functional native_group_norm native_layer_norm
    _batch_norm_with_update _batch_norm_with_update_functional _fused_rms_norm rms_norm"""
_NORM_BACKWARDS = """batch_norm_backward cudnn_batch_norm_backward _fused_rms_norm_backward miopen_batch_norm_backward
    native_batch_norm_backward native_group_norm_backward native_layer_norm_backward"""


def norm_steps(op: Op) -> int:
    """Return the operations an element of a normalization."""
    affine = op.arguments.get("weight") is not None
    training = op.arguments.get("training", op.arguments.get("train", op.arguments.get("use_input_stats", True)))
    if op.kind.endswith("no_training") or not training:
        return 2 if affine else 1
    return 5 if affine else 4


def _norm(graph: Graph, op: Op) -> Work:
    return Work("norm", 0, norm_steps(op) * in_elements(graph, op))


def _norm_backward(graph: Graph, op: Op) -> Work:
    """Input gradient: twice the forward pass; affine parameters: a product and two sums an element."""
    wanted = op.arguments.get("output_mask", (True, True, True))
    each = 2 * norm_steps(op) * int(wanted[0]) + 2 * int(wanted[1]) + int(wanted[-1])
    return Work("norm", 0, each * in_elements(graph, op))


def _window(graph: Graph, op: Op) -> Work:
    """Pooling by a window: an operation for each of its positions, for every element of the smaller side."""
    pooled = shape(graph, op, "grad_output") if "grad_output" in op.arguments else None
    elements = math.prod(pooled) if pooled is not None else out_elements(graph, op)
    sides = op.arguments["kernel_size"]
    rank = int(op.kind[op.kind.index("pool") + 4])
    size = math.prod(sides) if len(sides) == rank else sides[0] ** rank
    return Work("norm", 0, size * elements)


def _fft(factor: float) -> Rule:
    """5 N log2 N for a complex transform of N values (Cooley and Tukey 1965), half of that for a real one."""

    def rule(graph: Graph, op: Op) -> Work:
        longer = max((graph.tensors[index] for index in (*op.inputs[:1], *op.outputs[:1])), key=lambda t: t.elements)
        sides = [longer.shape[dim] for dim in op.arguments["dim"]]
        return Work("elementwise", 0, round(factor * longer.elements * math.log2(max(2, math.prod(sides)))))

    return rule


def _sort(graph: Graph, op: Op) -> Work:
    """N log2 n comparisons; for the k largest n log2 k."""
    source = argument(graph, op, "self")
    if source is None or not source.shape:
        return MOVE
    dim = op.arguments.get("dim", -1)
    depth = op.arguments.get("k") or source.shape[-1 if dim is None else dim]
    return Work("elementwise", 0, source.elements * math.ceil(math.log2(max(2, int(depth)))))


def _embedding_bag(graph: Graph, op: Op) -> Work:
    """Every row looked up is added once."""
    return Work("norm", 0, math.prod(shape(graph, op, "indices")) * shape(graph, op, "weight")[-1])


def _distances(graph: Graph, op: Op) -> Work:
    return Work("elementwise", 0, 3 * out_elements(graph, op) * shape(graph, op, "x1")[-1])


RULES: dict[str, Rule] = {
    **{f"aten.{name}": per_output("elementwise", each) for each, names in _POINTWISE.items() for name in names.split()},
    **{f"aten.{name}": per_input("norm", each) for each, names in _REDUCTIONS.items() for name in names.split()},
    **{f"aten.{name}": (lambda _graph, _op: MOVE) for name in _MOVES.split()},
    **{f"aten.{name}": per_output("norm", each) for name, each in _RESAMPLING.items()},
    **{f"aten.{name}_backward": per_input("norm", each) for name, each in _RESAMPLING.items()},
    **{
        f"aten.{name}_backward": per_input("norm", 1)
        for name in (
            *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d"),
            *("_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "max_pool2d_with_indices"),
            *("max_pool3d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool3d"),
        )
    },
    **{f"aten.{name}": _norm for name in (*_NORMS.split(), "_native_batch_norm_legit_no_training")},
    **{f"aten.{name}": _norm_backward for name in _NORM_BACKWARDS.split()},
    **{
        f"aten.{name}": _window
        for name in (
            *("avg_pool1d", "avg_pool2d", "avg_pool3d", "avg_pool2d_backward", "avg_pool3d_backward", "max_pool1d"),
            *("max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"),
        )
    },
    **{
        f"aten.{name}": per_input("norm", 1)
        for name in (
            *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d"),
            *("_adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
        )
    },
    **{f"aten.{name}_backward": per_output("norm", 1) for name in ("_adaptive_avg_pool2d", "_adaptive_avg_pool3d")},
    "aten.glu": per_output("elementwise", 2),
    "aten.glu_backward": per_output("elementwise", 5),
    "aten._fft_c2c": _fft(5.0),
    "aten._fft_r2c": _fft(2.5),
    "aten._fft_c2r": _fft(2.5),
    "aten.sort": _sort,
    "aten.argsort": _sort,
    "aten.topk": _sort,
    "aten.cdist": _distances,
    "aten._cdist_forward": _distances,
    "aten._euclidean_dist": _distances,
    "aten._pdist_forward": lambda graph, op: Work(
        "elementwise", 0, 3 * out_elements(graph, op) * shape(graph, op, "self")[-1]
    ),
    "aten._embedding_bag": _embedding_bag,
    "aten._embedding_bag_forward_only": _embedding_bag,
    "aten._thnn_fused_lstm_cell": per_output("elementwise", 9),
    "aten._thnn_fused_lstm_cell_backward_impl": per_output("elementwise", 9),
    "aten._thnn_fused_gru_cell": per_output("elementwise", 9),
    "aten._thnn_fused_gru_cell_backward": per_output("elementwise", 9),
    **{
        f"quantized_decomposed.{verb}_per_{what}": per_output("elementwise", each)
        for verb, each in (("quantize", 4), ("dequantize", 2))
        for what in ("tensor", "channel", "token", "channel_group")
    },
    "quantized_decomposed.choose_qparams": per_input("norm", 2),
    "quantized_decomposed.choose_qparams_per_token_asymmetric": per_input("norm", 2),
    "torchao.quantize_affine": per_output("elementwise", 4),
    "torchao.dequantize_affine": per_output("elementwise", 2),
    "torchao.choose_qparams_affine": per_input("norm", 2),
}
