"""The operations of TensorFlow Lite. Each is in one row."""

from __future__ import annotations

from netwright.graph.operations.traits import Traits, rows

_ROWS = (
    (
        Traits("elementwise", 1),
        """
        ADD_N ATAN2 BITWISE_XOR CEIL CUMSUM DEQUANTIZE EQUAL FLOOR_DIV FLOOR_MOD GREATER GREATER_EQUAL LESS LESS_EQUAL
        LOGICAL_AND LOGICAL_NOT LOGICAL_OR NOT_EQUAL POW RIGHT_SHIFT ROUND SELECT SELECT_V2 SIGN STABLEHLO_ABS
        STABLEHLO_ADD STABLEHLO_AND STABLEHLO_CBRT STABLEHLO_COMPARE STABLEHLO_COSINE STABLEHLO_DIVIDE
        STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_LOGISTIC STABLEHLO_MAXIMUM STABLEHLO_MINIMUM
        STABLEHLO_MULTIPLY STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT
        STABLEHLO_SELECT STABLEHLO_SHIFT_LEFT STABLEHLO_SUBTRACT STABLEHLO_TANH""",
    ),
    (
        Traits("elementwise", 1, in_place=True),
        """
        ABS COS ELU EXP FLOOR LEAKY_RELU LOG LOGISTIC MAXIMUM MINIMUM NEG PRELU RELU RSQRT SIN SQRT SQUARE TANH""",
    ),
    (
        Traits("elementwise", 1, random=True),
        """
        MULTINOMIAL RANDOM_STANDARD_NORMAL RANDOM_UNIFORM STABLEHLO_RNG_BIT_GENERATOR""",
    ),
    (Traits("elementwise", 2), "STABLEHLO_CLAMP"),
    (Traits("elementwise", 2, in_place=True), "RELU6 RELU_0_TO_1 RELU_N1_TO_1 SQUARED_DIFFERENCE"),
    (Traits("elementwise", 3), "COMPLEX_ABS"),
    (Traits("elementwise", 4), "FAKE_QUANT"),
    (Traits("elementwise", 4, in_place=True), "GELU HARD_SWISH QUANTIZE"),
    (Traits("elementwise", 5), "LOG_SOFTMAX SOFTMAX"),
    (Traits("elementwise", formula="sort"), "STABLEHLO_SORT TOPK_V2 UNIQUE"),
    (Traits("elementwise", formula="suppression"), "NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5"),
    (Traits("elementwise", 1, formula="with_activation", in_place=True), "ADD DIV MUL SUB"),
    (
        Traits("norm", 1, per="input"),
        """
        ARG_MAX ARG_MIN MEAN REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD SEGMENT_SUM STABLEHLO_REDUCE SUM
        UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_MIN UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_SUM""",
    ),
    (Traits("norm", 4, per="input"), "L2_NORMALIZATION"),
    (Traits("norm", 7), "RESIZE_BILINEAR"),
    (Traits("norm", formula="local_response"), "LOCAL_RESPONSE_NORMALIZATION"),
    (Traits("norm", 1, formula="pool"), "AVERAGE_POOL_2D MAX_POOL_2D"),
    (Traits("norm", 2, formula="pool"), "L2_POOL_2D"),
    (Traits("norm", formula="reduce_window"), "STABLEHLO_REDUCE_WINDOW"),
    (
        Traits("move"),
        """
        ASSIGN_VARIABLE BATCH_TO_SPACE_ND BITCAST BROADCAST_ARGS BROADCAST_TO CAST CONCATENATION CONCAT_EMBEDDINGS
        DENSIFY DEPTH_TO_SPACE DILATE DYNAMIC_UPDATE_SLICE EMBEDDING_LOOKUP FILL GATHER GATHER_ND HASHTABLE
        HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_LOOKUP HASHTABLE_SIZE IMAG MATRIX_DIAG MATRIX_SET_DIAG MIRROR_PAD
        ONE_HOT PACK PAD PADV2 RANGE RANK READ_VARIABLE REAL RESIZE_NEAREST_NEIGHBOR REVERSE_SEQUENCE REVERSE_V2
        SCATTER_ND SHAPE SLICE SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPARSE_TO_DENSE SPLIT SPLIT_V STABLEHLO_BROADCAST_IN_DIM
        STABLEHLO_CONCATENATE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_GATHER
        STABLEHLO_IOTA STABLEHLO_PAD STABLEHLO_RESHAPE STABLEHLO_SCATTER STABLEHLO_SLICE STABLEHLO_TRANSPOSE
        STRIDED_SLICE TILE TRANSPOSE UNPACK VAR_HANDLE WHERE ZEROS_LIKE""",
    ),
    (Traits("move", view=True), "EXPAND_DIMS RESHAPE SQUEEZE"),
    (Traits("matmul", formula="batch_matmul"), "BATCH_MATMUL"),
    (Traits("matmul", formula="conv_2d"), "CONV_2D"),
    (Traits("matmul", formula="conv_3d"), "CONV_3D"),
    (Traits("matmul", formula="depthwise_conv_2d"), "DEPTHWISE_CONV_2D"),
    (Traits("matmul", formula="dot_general"), "STABLEHLO_DOT_GENERAL"),
    (Traits("matmul", formula="fully_connected"), "FULLY_CONNECTED"),
    (Traits("matmul", 1, formula="recurrent"), "BIDIRECTIONAL_SEQUENCE_RNN RNN SVDF UNIDIRECTIONAL_SEQUENCE_RNN"),
    (Traits("matmul", 9, formula="recurrent"), "BIDIRECTIONAL_SEQUENCE_LSTM LSTM UNIDIRECTIONAL_SEQUENCE_LSTM"),
    (Traits("matmul", formula="stablehlo_convolution"), "STABLEHLO_CONVOLUTION"),
    (Traits("matmul", formula="transposed_2d"), "TRANSPOSE_CONV"),
    (Traits("matmul", formula="transposed_3d"), "CONV_3D_TRANSPOSE"),
)

TRAITS: dict[str, Traits] = dict(rows("tflite", *_ROWS))
