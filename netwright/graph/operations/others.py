"""Operations of other namespaces that torch dispatches: torchvision, quantization (PT2E, torchao), and torch's own questions."""

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
_TORCHAO = (
    (Traits("elementwise", 4), "quantize_affine"),
    (Traits("elementwise", 2), "dequantize_affine"),
    (Traits("norm", 2, per="input"), "choose_qparams_affine"),
)

TRAITS: dict[str, Traits] = {
    **dict(rows("torchvision", *_TORCHVISION)),
    **dict(rows("quantized_decomposed", *_QUANTIZED)),
    **dict(rows("torchao", *_TORCHAO)),
    "prim.device": Traits(silent=True),
}
