"""The operations of ONNX, and those that ONNX Runtime's optimizer puts in their place (com.microsoft). Each is in one row."""

from __future__ import annotations

from netwright.graph.operations.traits import Traits, rows

_ROWS = (
    (
        Traits("elementwise", 1),
        """
        Acos Acosh And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Cosh CumProd
        CumSum DequantizeLinear Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Mean Mod Not Or Round Sinh Sum
        Tan Xor com.microsoft.DequantizeLinear com.microsoft.QLinearAdd com.microsoft.QLinearLeakyRelu
        com.microsoft.QLinearMul com.microsoft.QLinearSigmoid com.microsoft.QLinearWhere""",
    ),
    (
        Traits("elementwise", 1, in_place=True),
        """
        Abs Add Cos Div Elu Erf Exp Floor LeakyRelu Log Max Min Mul Neg PRelu Pow Reciprocal Relu Sigmoid Sign Sin Sqrt
        Sub Tanh ThresholdedRelu Where""",
    ),
    (
        Traits("elementwise", 1, random=True),
        """
        Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike""",
    ),
    (Traits("elementwise", 2), "Hardmax Shrink Swish com.microsoft.QuickGelu"),
    (Traits("elementwise", 2, in_place=True), "Celu Clip Selu Softplus Softsign"),
    (Traits("elementwise", 3), "RotaryEmbedding SwiGLU com.microsoft.RotaryEmbedding"),
    (Traits("elementwise", 3, in_place=True), "HardSigmoid Mish"),
    (
        Traits("elementwise", 4),
        """
        QuantizeLinear com.microsoft.BiasGelu com.microsoft.FastGelu com.microsoft.Gelu com.microsoft.QuantizeLinear""",
    ),
    (Traits("elementwise", 4, in_place=True), "Gelu HardSwish"),
    (Traits("elementwise", 5), "LogSoftmax Softmax com.microsoft.BiasSoftmax com.microsoft.QLinearSoftmax"),
    (Traits("elementwise", formula="sort"), "TopK Unique"),
    (Traits("elementwise", formula="suppression"), "NonMaxSuppression"),
    (
        Traits("norm", 1, per="input"),
        """
        ArgMax ArgMin GlobalAveragePool GlobalMaxPool MaxRoiPool NegativeLogLikelihoodLoss ReduceMax ReduceMean
        ReduceMin ReduceProd ReduceSum com.microsoft.QLinearGlobalAveragePool com.microsoft.QLinearReduceMean""",
    ),
    (
        Traits("norm", 2, per="input"),
        """
        DynamicQuantizeLinear GlobalLpPool ReduceL1 ReduceL2 ReduceLogSum ReduceSumSquare""",
    ),
    (Traits("norm", 3, per="input"), "ReduceLogSumExp"),
    (
        Traits("norm", 4, per="input"),
        """
        LpNormalization MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization""",
    ),
    (
        Traits("norm", 5, per="input"),
        """
        GroupNormalization InstanceNormalization LayerNormalization SoftmaxCrossEntropyLoss com.microsoft.GroupNorm
        com.microsoft.LayerNormalization""",
    ),
    (
        Traits("norm", 6, per="input"),
        """
        com.microsoft.SkipGroupNorm com.microsoft.SkipLayerNormalization com.microsoft.SkipSimplifiedLayerNormalization""",
    ),
    (Traits("norm", formula="batch_norm", batch_norm=True), "BatchNormalization"),
    (Traits("norm", formula="local_response"), "LRN"),
    (
        Traits("norm", 1, formula="pool"),
        """
        AveragePool MaxPool com.microsoft.NhwcMaxPool com.microsoft.QLinearAveragePool""",
    ),
    (Traits("norm", 2, formula="pool"), "LpPool"),
    (Traits("norm", formula="resample"), "GridSample Resize Upsample"),
    (Traits("norm", formula="roi_align"), "RoiAlign"),
    (
        Traits("move"),
        """
        AffineGrid BitCast BlackmanWindow Cast CastLike CenterCropPad Col2Im Compress Concat ConcatFromSequence
        ConstantOfShape DepthToSpace Expand EyeLike Gather GatherElements GatherND HammingWindow HannWindow MaxUnpool
        NonZero OneHot Optional OptionalGetElement OptionalHasElement Pad Range ReverseSequence Scatter ScatterElements
        ScatterND SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength Shape Size
        Slice SpaceToDepth Split SplitToSequence TensorScatter Tile Transpose Trilu
        com.microsoft.EmbedLayerNormalization com.microsoft.ExpandDims com.microsoft.QLinearConcat""",
    ),
    (Traits("move", view=True), "Dropout Flatten Identity Reshape Squeeze Unsqueeze"),
    (Traits("matmul", formula="attention"), "Attention com.microsoft.MultiHeadAttention"),
    (Traits("matmul", formula="convolution"), "ConvInteger com.microsoft.FusedConv com.microsoft.NhwcConv"),
    (Traits("matmul", formula="convolution", channels=1), "Conv"),
    (Traits("matmul", formula="deformable"), "DeformConv"),
    (Traits("matmul", formula="einsum"), "Einsum"),
    (Traits("matmul", formula="packed_product"), "com.microsoft.MatMulNBits"),
    (
        Traits("matmul", formula="product"),
        """
        MatMul MatMulInteger QLinearMatMul com.microsoft.DynamicQuantizeMatMul com.microsoft.FusedGemm
        com.microsoft.FusedMatMul com.microsoft.FusedMatMulActivation com.microsoft.GemmFastGelu
        com.microsoft.MatMulIntegerToFloat com.microsoft.QGemm com.microsoft.TransposeMatMul""",
    ),
    (Traits("matmul", formula="product", channels=-1), "Gemm"),
    (Traits("matmul", formula="projecting_attention"), "com.microsoft.Attention com.microsoft.QAttention"),
    (Traits("matmul", formula="quantized_convolution"), "QLinearConv com.microsoft.QLinearConv"),
    (Traits("matmul", 1, formula="recurrent"), "RNN"),
    (Traits("matmul", 9, formula="recurrent"), "GRU LSTM"),
    (Traits("matmul", formula="transposed", channels=1), "ConvTranspose"),
)

TRAITS: dict[str, Traits] = dict(rows("onnx", *_ROWS))
