"""The operations of torch's namespace aten. Each is in one row; an in-place operation is in that of its name without underscore.

Which of them return views is not said here: torch says it of every call, at capture (`graph/capture/recorder.py`).
"""

from __future__ import annotations

from netwright.graph.operations.traits import Traits, rows

# Operations for every element.
_ELEMENTWISE = (
    (
        Traits("elementwise", 1),
        """
        absolute acos acosh angle asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or
        bitwise_right_shift bitwise_xor bucketize ceil copysign cosh cummax cummin cumprod cumsum deg2rad digamma divide
        eq erfc erfinv exp2 fake_quantize_per_channel_affine_cachemask_backward
        fake_quantize_per_tensor_affine_cachemask_backward floor_divide fmax fmin fmod frac ge greater gt heaviside
        isfinite isin isinf isnan isneginf isposinf ldexp le less lgamma log10 log2 logical_and logical_or logical_xor
        lt multiply ne negative nextafter polar rad2deg remainder searchsorted sgn signbit sinc sinh subtract tan
        true_divide xlogy""",
    ),
    (
        Traits("elementwise", 1, in_place=True),
        """
        _prelu_kernel abs add clamp_max clamp_min cos div erf exp expm1 floor log log1p logical_not masked_fill maximum minimum mul
        neg pow prelu reciprocal round rsqrt rsub sign sin sqrt square sub threshold trunc where""",
    ),
    (
        Traits("elementwise", 1, random=True),
        """
        bernoulli cauchy exponential geometric log_normal normal rand randint randn random rrelu_with_noise uniform""",
    ),
    (Traits("elementwise", 1, packed=(("mask", 1),)), "native_dropout_backward"),
    (Traits("elementwise", 1, packed=(("self", 1),)), "threshold_backward"),
    (Traits("elementwise", 1, random=True, reads="nothing"), "rand_like randint_like randn_like"),
    (Traits("elementwise", 1, in_place=True, activation="relu"), "relu"),
    (Traits("elementwise", 1, in_place=True, activation="smooth"), "sigmoid tanh"),
    (Traits("elementwise", 1, in_place=True, activation="smooth", saves="input"), "elu"),
    (Traits("elementwise", 1, in_place=True, activation="relu", saves="input"), "leaky_relu"),
    (
        Traits("elementwise", 2),
        """
        dequantize fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask glu hardshrink
        hardshrink_backward hypot lerp logaddexp logaddexp2 logit nan_to_num softshrink softshrink_backward""",
    ),
    (Traits("elementwise", 2, in_place=True), "addcdiv addcmul clamp"),
    (Traits("elementwise", 2, random=True), "dropout native_dropout"),
    (
        Traits("elementwise", 2, packed=(("self", 1),)),
        """
        hardtanh_backward leaky_relu_backward rrelu_with_noise_backward""",
    ),
    (Traits("elementwise", 2, activation="smooth"), "log_sigmoid_forward"),
    (Traits("elementwise", 2, in_place=True, activation="smooth"), "celu selu softplus"),
    (Traits("elementwise", 2, in_place=True, activation="relu"), "hardtanh relu6"),
    (Traits("elementwise", 2, in_place=True, activation="smooth", saves="input"), "silu"),
    (
        Traits("elementwise", 3),
        """
        _prelu_kernel_backward elu_backward logit_backward sigmoid_backward softplus_backward tanh_backward""",
    ),
    (Traits("elementwise", 3, packed=(("self", 1),)), "hardsigmoid_backward"),
    (Traits("elementwise", 3, in_place=True), "log_sigmoid"),
    (Traits("elementwise", 3, in_place=True, activation="hard", saves="input"), "hardsigmoid"),
    (Traits("elementwise", 3, in_place=True, activation="smooth", saves="input"), "mish"),
    (
        Traits("elementwise", 4),
        """
        hardswish_backward quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic""",
    ),
    (Traits("elementwise", 4, in_place=True, activation="smooth"), "gelu"),
    (Traits("elementwise", 4, in_place=True, activation="smooth", saves="input"), "hardswish"),
    (
        Traits("elementwise", 5),
        """
        _log_softmax _safe_softmax _softmax glu_backward log_sigmoid_backward log_softmax silu_backward softmax""",
    ),
    (Traits("elementwise", 8), "gelu_backward mish_backward"),
    (
        Traits("elementwise", 9),
        """
        _thnn_fused_gru_cell _thnn_fused_gru_cell_backward _thnn_fused_lstm_cell _thnn_fused_lstm_cell_backward_impl""",
    ),
    (Traits("elementwise", 3, formula="distances", operands=("x1",)), "_cdist_forward _euclidean_dist cdist"),
    (Traits("elementwise", 3, formula="distances", operands=("self",)), "_pdist_forward"),
    (Traits("elementwise", formula="real_fft"), "_fft_c2r _fft_r2c"),
    (Traits("elementwise", formula="fft"), "_fft_c2c"),
    (Traits("elementwise", formula="sort"), "argsort sort topk"),
)

# Normalization, pooling, resampling, reductions and losses.
# Resampling sums 2, 4, 8 or 16 neighbours with weights; the backward passes of pooling read shapes or positions.
_NORMS = (
    (Traits("norm", 1, shape_only=("self",)), "_adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward"),
    (
        Traits("norm", 1, per="input"),
        """
        _adaptive_avg_pool2d _adaptive_avg_pool3d _upsample_nearest_exact1d_backward _upsample_nearest_exact2d_backward
        _upsample_nearest_exact3d_backward adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d all amax amin any argmax argmin bincount
        count_nonzero histc max mean median min mode nanmean nansum nll_loss2d_backward nll_loss2d_forward
        nll_loss_backward nll_loss_forward prod sum trace upsample_nearest1d_backward upsample_nearest2d_backward
        upsample_nearest3d_backward""",
    ),
    (
        Traits("norm", 1, per="input", shape_only=("self",)),
        """
        adaptive_max_pool3d_backward max_pool3d_with_indices_backward""",
    ),
    (
        Traits("norm", 1, per="input", shape_only=("self",), packed=(("indices", 8),)),
        """
        adaptive_max_pool2d_backward max_pool2d_with_indices_backward""",
    ),
    (Traits("norm", 2, per="input"), "aminmax dist l1_loss linalg_vector_norm mse_loss norm renorm"),
    (Traits("norm", 3), "upsample_linear1d"),
    (
        Traits("norm", 3, per="input"),
        """
        _log_softmax_backward_data _softmax_backward_data binary_cross_entropy huber_loss huber_loss_backward
        logcumsumexp logsumexp mse_loss_backward smooth_l1_loss smooth_l1_loss_backward std std_mean
        upsample_linear1d_backward var var_mean""",
    ),
    (
        Traits("norm", 4, per="input"),
        """
        _weight_norm_interface binary_cross_entropy_backward binary_cross_entropy_with_logits""",
    ),
    (Traits("norm", 5, per="input"), "_weight_norm_interface_backward cosine_similarity cross_entropy_loss"),
    (Traits("norm", 7), "_upsample_bilinear2d_aa grid_sampler_2d upsample_bilinear2d"),
    (
        Traits("norm", 7, per="input"),
        """
        _upsample_bilinear2d_aa_backward grid_sampler_2d_backward upsample_bilinear2d_backward""",
    ),
    (Traits("norm", 15), "grid_sampler_3d upsample_trilinear3d"),
    (Traits("norm", 15, per="input"), "grid_sampler_3d_backward upsample_trilinear3d_backward"),
    (Traits("norm", 31), "_upsample_bicubic2d_aa upsample_bicubic2d"),
    (Traits("norm", 31, per="input"), "_upsample_bicubic2d_aa_backward upsample_bicubic2d_backward"),
    (Traits("norm", formula="embedding_bag"), "_embedding_bag _embedding_bag_forward_only"),
    (
        Traits("norm", formula="norm"),
        """
        _batch_norm_with_update _batch_norm_with_update_functional _fused_rms_norm _native_batch_norm_legit_functional
        group_norm instance_norm layer_norm native_group_norm native_layer_norm rms_norm""",
    ),
    (
        Traits("norm", formula="norm", batch_norm=True),
        """
        _native_batch_norm_legit _native_batch_norm_legit_no_training batch_norm cudnn_batch_norm miopen_batch_norm
        native_batch_norm""",
    ),
    (
        Traits("norm", formula="norm_backward"),
        """
        _fused_rms_norm_backward cudnn_batch_norm_backward miopen_batch_norm_backward""",
    ),
    (Traits("norm", formula="norm_backward", needs="batch_norm"), "batch_norm_backward"),
    (Traits("norm", formula="norm_backward", needs="normalized"), "native_layer_norm_backward"),
    (Traits("norm", formula="norm_backward", needs="batch_norm", workspace="input"), "native_batch_norm_backward"),
    (Traits("norm", formula="norm_backward", needs="normalized", workspace="input"), "native_group_norm_backward"),
    (
        Traits("norm", formula="window"),
        """
        avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool2d_with_indices max_pool3d
        max_pool3d_with_indices""",
    ),
    (Traits("norm", formula="window", shape_only=("self",)), "avg_pool2d_backward avg_pool3d_backward"),
)

# Copies, gathers, fills, allocations, questions: nothing is computed.
_MOVES = (
    (
        Traits("move"),
        """
        _assert_async _assert_scalar _assert_tensor_metadata _conj _conj_physical _copy_from _index_put_impl
        _local_scalar_dense _neg_view _reshape_alias _reshape_copy _to_copy _unsafe_index _unsafe_index_put
        _unsafe_masked_index _unsafe_masked_index_put_accumulate _unsafe_view _upsample_nearest_exact1d
        _upsample_nearest_exact2d _upsample_nearest_exact3d alias alias_copy arange as_strided as_strided_copy
        as_strided_scatter block_diag broadcast_to cat channel_shuffle chunk clone col2im complex concat conj
        conj_physical constant_pad_nd contiguous copy detach_copy diag diag_embed diagonal diagonal_backward
        diagonal_copy diagonal_scatter embedding_dense_backward empty_permuted equal expand expand_as expand_copy eye
        flatten flip full gather_backward hstack im2col index_add index_copy index_fill index_put index_select_backward int_repr
        is_nonzero item lift lift_fresh lift_fresh_copy linspace logspace masked_scatter masked_scatter_backward
        masked_select max_unpool2d max_unpool3d meshgrid movedim narrow narrow_copy native_channel_shuffle nonzero
        nonzero_static one_hot ones pad permute permute_copy pixel_shuffle pixel_unshuffle put ravel reflection_pad1d
        reflection_pad1d_backward reflection_pad2d reflection_pad2d_backward reflection_pad3d reflection_pad3d_backward
        repeat repeat_interleave replication_pad1d replication_pad1d_backward replication_pad2d
        replication_pad2d_backward replication_pad3d replication_pad3d_backward reshape resize resize_as resolve_conj
        resolve_neg roll rot90 scalar_tensor scatter scatter_add scatter_reduce select select_backward select_scatter
        set slice slice_backward slice_scatter split split_copy split_with_sizes split_with_sizes_copy squeeze
        squeeze_copy stack sym_constrain_range sym_constrain_range_for_size t t_copy take take_along_dim tensor_split
        tile to transpose transpose_copy tril tril_indices triu triu_indices unbind unbind_copy unflatten unfold
        unfold_backward unfold_copy unsqueeze unsqueeze_copy upsample_nearest1d upsample_nearest2d upsample_nearest3d
        value_selecting_reduction_backward vander view view_as view_as_complex view_as_real view_copy vstack zeros""",
    ),
    (Traits("move", silent=True), "detach"),
    (Traits("move", reads="result"), "embedding gather index index_select select_copy slice_copy"),
    (Traits("move", reads="nothing"), "zero"),
    (Traits("move", random=True), "randperm"),
    (Traits("move", in_place=True, reads="nothing"), "fill"),
    (
        Traits("move", reads="nothing", shape_only=("self",)),
        """
        full_like new_full new_ones new_zeros ones_like zeros_like""",
    ),
    (Traits("move", silent=True, writes=False, reads="nothing"), "empty empty_strided new_empty_strided"),
    (Traits("move", silent=True, writes=False, reads="nothing", shape_only=("self",)), "empty_like new_empty"),
)

# Convolution, matrix products, attention, recurrent layers.
# Attention and recurrent layers draw random numbers only where dropout is asked for.
_PRODUCTS = (
    (Traits("matmul", formula="affine_grid"), "affine_grid_generator"),
    (
        Traits("matmul", formula="attention"),
        """
        _scaled_dot_product_attention_math _scaled_dot_product_attention_math_for_mps
        _scaled_dot_product_cudnn_attention _scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention
        _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_fused_attention_overrideable
        scaled_dot_product_attention""",
    ),
    (
        Traits("matmul", formula="attention_backward"),
        """
        _scaled_dot_product_flash_attention_backward _scaled_dot_product_flash_attention_for_cpu_backward
        _scaled_dot_product_fused_attention_overrideable_backward""",
    ),
    (
        Traits("matmul", formula="attention_backward"),
        """
        _scaled_dot_product_cudnn_attention_backward _scaled_dot_product_efficient_attention_backward""",
    ),
    (
        Traits("matmul", formula="attention_by_length"),
        """
        _efficient_attention_forward _flash_attention_forward""",
    ),
    (
        Traits("matmul", formula="attention_by_length_backward"),
        """
        _efficient_attention_backward _flash_attention_backward""",
    ),
    (Traits("matmul", formula="bilinear"), "bilinear"),
    (Traits("matmul", formula="cell"), "gru_cell lstm_cell rnn_relu_cell rnn_tanh_cell"),
    (
        Traits("matmul", formula="convolution"),
        """
        _conv_depthwise2d _slow_conv2d_forward conv1d conv2d conv3d conv_depthwise3d conv_transpose1d conv_transpose2d
        conv_transpose3d convolution_overrideable cudnn_convolution cudnn_convolution_add_relu cudnn_convolution_relu
        cudnn_convolution_transpose mkldnn_convolution slow_conv3d thnn_conv2d""",
    ),
    (
        Traits("matmul", formula="convolution", channels=1, operands=("input", "weight"), workspace="convolution"),
        """
        _convolution convolution""",
    ),
    (
        Traits("matmul", formula="convolution_backward", needs="convolution", workspace="convolution_backward"),
        """
        convolution_backward""",
    ),
    (Traits("matmul", formula="dot"), "dot vdot"),
    (Traits("matmul", formula="einsum"), "einsum"),
    (Traits("matmul", formula="encoder_layer"), "_transformer_encoder_layer_fwd"),
    (Traits("matmul", formula="linear", operands=("self", "weight")), "mkldnn_linear"),
    (Traits("matmul", formula="linear", operands=("input", "weight"), channels=-1), "linear"),
    (Traits("matmul", formula="linear_backward"), "linear_backward"),
    (Traits("matmul", formula="matmul", operands=("mat1", "mat2")), "_addmm_activation"),
    (Traits("matmul", formula="matmul", operands=("inp", "packed_weights")), "_dyn_quant_matmul_4bit"),
    (
        Traits("matmul", formula="matmul", operands=("self", "mat2")),
        """
        _grouped_mm _int_mm _scaled_grouped_mm _scaled_mm _scaled_mm_v2 _weight_int4pack_mm _weight_int4pack_mm_for_cpu
        _weight_int8pack_mm bmm""",
    ),
    (Traits("matmul", formula="matmul", operands=("sparse", "dense")), "_sparse_mm"),
    (Traits("matmul", formula="matmul", operands=("mat", "vec")), "addmv"),
    (Traits("matmul", formula="matmul", operands=("batch1", "batch2")), "baddbmm"),
    (Traits("matmul", formula="matmul", operands=("self", "other")), "matmul"),
    (Traits("matmul", formula="matmul", operands=("self", "vec")), "mv"),
    (Traits("matmul", formula="matmul", operands=("mat1", "mat2"), channels=-1), "addmm"),
    (Traits("matmul", formula="matmul", operands=("self", "mat2"), channels=-1), "mm"),
    (Traits("matmul", formula="native_attention"), "_native_multi_head_attention"),
    (Traits("matmul", formula="outer"), "addr ger outer"),
    (Traits("matmul", formula="recurrent", operands=("weight0", "weight1")), "mkldnn_rnn_layer"),
    (Traits("matmul", formula="recurrent", operands=("weight",)), "_cudnn_rnn miopen_rnn"),
    (
        Traits("matmul", formula="recurrent", operands=("params",)),
        "gru lstm quantized_gru quantized_lstm rnn_relu rnn_tanh",
    ),
    (Traits("matmul", formula="recurrent_backward", operands=("weight",)), "_cudnn_rnn_backward"),
    (Traits("matmul", formula="recurrent_backward", operands=("weight1", "weight2")), "mkldnn_rnn_layer_backward"),
    (Traits("matmul", formula="summed_matmul", operands=("batch1", "batch2")), "addbmm"),
    (Traits("matmul", formula="trilinear"), "_trilinear"),
)

# Operations without a price, and questions.
_OTHERS = (
    (
        Traits(random=True),
        """
        _fused_dropout _sample_dirichlet _standard_gamma alpha_dropout binomial feature_dropout multinomial poisson
        rrelu""",
    ),
    (Traits(silent=True), "is_same_size sym_numel sym_size sym_stride"),
)

TRAITS: dict[str, Traits] = dict(rows("aten", *_ELEMENTWISE, *_NORMS, *_MOVES, *_PRODUCTS, *_OTHERS))
