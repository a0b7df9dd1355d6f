"""Operations of other namespaces that torch dispatches: torchvision, quantization (PT2E, torchao), functions, and torch's own questions."""

from __future__ import annotations

from netwright.graph.operations.traits import Traits, rows

_TORCHVISION = (
    (Traits("norm", formula="aligned"), "roi_align ps_roi_align"),
    (Traits("norm", formula="pooled"), "roi_pool ps_roi_pool"),
    (Traits("elementwise", formula="suppression"), "nms"),
    (Traits("matmul", formula="deformable"), "deform_conv2d"),
)
_QUANTIZED = (
    (
        Traits("elementwise", 4),
        """
        quantize_per_tensor quantize_per_channel quantize_per_token quantize_per_channel_group""",
    ),
    (
        Traits("elementwise", 2),
        """
        dequantize_per_tensor dequantize_per_channel dequantize_per_token dequantize_per_channel_group""",
    ),
    (Traits("norm", 2, per="input"), "choose_qparams choose_qparams_per_token_asymmetric"),
)
_TORCH_AO = (
    (
        Traits("matmul", formula="packed_convolution"),
        """
        conv1d conv1d_dynamic conv1d_relu conv2d conv2d_add conv2d_add_relu conv2d_dynamic conv2d_relu conv3d conv3d_dynamic
        conv3d_relu conv_transpose1d conv_transpose1d_dynamic conv_transpose2d conv_transpose2d_dynamic conv_transpose3d
        conv_transpose3d_dynamic""",
    ),
    (
        Traits("matmul", formula="packed_linear"),
        """
        linear linear_dynamic linear_dynamic_fp16 linear_leaky_relu linear_relu linear_relu_dynamic
        linear_relu_dynamic_fp16 linear_tanh""",
    ),
    (Traits("matmul", formula="matmul", operands=("qa", "qb")), "matmul"),
    (
        Traits("matmul", formula="recurrent", operands=("w_ih", "w_hh")),
        """
        quantized_gru_cell_dynamic quantized_lstm_cell_dynamic quantized_rnn_relu_cell_dynamic
        quantized_rnn_tanh_cell_dynamic""",
    ),
    (
        Traits("elementwise", 1),
        """
        add add_scalar cat_relu leaky_relu mul mul_scalar prelu sigmoid threshold""",
    ),
    (Traits("elementwise", 2), "add_relu add_scalar_relu celu clamp elu mul_relu mul_scalar_relu relu6"),
    (Traits("elementwise", 4), "hardswish"),
    (Traits("elementwise", 5), "softmax"),
    (
        Traits("norm", 2, per="input"),
        """
        batch_norm batch_norm1d batch_norm1d_relu batch_norm2d batch_norm2d_relu batch_norm3d batch_norm3d_relu
        batch_norm_relu""",
    ),
    (Traits("norm", 5, per="input"), "group_norm instance_norm layer_norm"),
    (Traits("norm", formula="window"), "max_pool1d max_pool2d"),
    (Traits("move"), "cat dropout"),
    (Traits("move", reads="nothing"), "embedding_4bit embedding_byte"),
)
_TORCHAO = (
    (Traits("elementwise", 4), "quantize_affine"),
    (Traits("elementwise", 2), "dequantize_affine"),
    (Traits("norm", 2, per="input"), "choose_qparams_affine"),
)
_HIGHER_ORDER = ((Traits("matmul", formula="attention"), "flex_attention"),)

TRAITS: dict[str, Traits] = {
    **dict(rows("torchvision", *_TORCHVISION)),
    **dict(rows("quantized_decomposed", *_QUANTIZED)),
    **dict(rows("torchao", *_TORCHAO)),
    **dict(rows("quantized", *_TORCH_AO)),
    **dict(rows("higher_order", *_HIGHER_ORDER)),
    "prim.device": Traits(silent=True),
}
