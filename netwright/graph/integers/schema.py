"""The part of TensorFlow Lite's schema that a reader needs, as data (tensorflow/lite/schema/schema.fbs, version 3).

An operator's code is its place in `OPERATORS`. Options are tables of a union, told apart by a number; for each number
the operators that it belongs to and its fields in order, `name:type=default`. Options without a field are left out.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

OPERATORS = [
    "ADD",
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "DEQUANTIZE",
    "EMBEDDING_LOOKUP",
    "FLOOR",
    "FULLY_CONNECTED",
    "HASHTABLE_LOOKUP",
    "L2_NORMALIZATION",
    "L2_POOL_2D",
    "LOCAL_RESPONSE_NORMALIZATION",
    "LOGISTIC",
    "LSH_PROJECTION",
    "LSTM",
    "MAX_POOL_2D",
    "MUL",
    "RELU",
    "RELU_N1_TO_1",
    "RELU6",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RNN",
    "SOFTMAX",
    "SPACE_TO_DEPTH",
    "SVDF",
    "TANH",
    "CONCAT_EMBEDDINGS",
    "SKIP_GRAM",
    "CALL",
    "CUSTOM",
    "EMBEDDING_LOOKUP_SPARSE",
    "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "GATHER",
    "BATCH_TO_SPACE_ND",
    "SPACE_TO_BATCH_ND",
    "TRANSPOSE",
    "MEAN",
    "SUB",
    "DIV",
    "SQUEEZE",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "STRIDED_SLICE",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "EXP",
    "TOPK_V2",
    "SPLIT",
    "LOG_SOFTMAX",
    "DELEGATE",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "CAST",
    "PRELU",
    "MAXIMUM",
    "ARG_MAX",
    "MINIMUM",
    "LESS",
    "NEG",
    "PADV2",
    "GREATER",
    "GREATER_EQUAL",
    "LESS_EQUAL",
    "SELECT",
    "SLICE",
    "SIN",
    "TRANSPOSE_CONV",
    "SPARSE_TO_DENSE",
    "TILE",
    "EXPAND_DIMS",
    "EQUAL",
    "NOT_EQUAL",
    "LOG",
    "SUM",
    "SQRT",
    "RSQRT",
    "SHAPE",
    "POW",
    "ARG_MIN",
    "FAKE_QUANT",
    "REDUCE_PROD",
    "REDUCE_MAX",
    "PACK",
    "LOGICAL_OR",
    "ONE_HOT",
    "LOGICAL_AND",
    "LOGICAL_NOT",
    "UNPACK",
    "REDUCE_MIN",
    "FLOOR_DIV",
    "REDUCE_ANY",
    "SQUARE",
    "ZEROS_LIKE",
    "FILL",
    "FLOOR_MOD",
    "RANGE",
    "RESIZE_NEAREST_NEIGHBOR",
    "LEAKY_RELU",
    "SQUARED_DIFFERENCE",
    "MIRROR_PAD",
    "ABS",
    "SPLIT_V",
    "UNIQUE",
    "CEIL",
    "REVERSE_V2",
    "ADD_N",
    "GATHER_ND",
    "COS",
    "WHERE",
    "RANK",
    "ELU",
    "REVERSE_SEQUENCE",
    "MATRIX_DIAG",
    "QUANTIZE",
    "MATRIX_SET_DIAG",
    "ROUND",
    "HARD_SWISH",
    "IF",
    "WHILE",
    "NON_MAX_SUPPRESSION_V4",
    "NON_MAX_SUPPRESSION_V5",
    "SCATTER_ND",
    "SELECT_V2",
    "DENSIFY",
    "SEGMENT_SUM",
    "BATCH_MATMUL",
    "PLACEHOLDER_FOR_GREATER_OP_CODES",
    "CUMSUM",
    "CALL_ONCE",
    "BROADCAST_TO",
    "RFFT2D",
    "CONV_3D",
    "IMAG",
    "REAL",
    "COMPLEX_ABS",
    "HASHTABLE",
    "HASHTABLE_FIND",
    "HASHTABLE_IMPORT",
    "HASHTABLE_SIZE",
    "REDUCE_ALL",
    "CONV_3D_TRANSPOSE",
    "VAR_HANDLE",
    "READ_VARIABLE",
    "ASSIGN_VARIABLE",
    "BROADCAST_ARGS",
    "RANDOM_STANDARD_NORMAL",
    "BUCKETIZE",
    "RANDOM_UNIFORM",
    "MULTINOMIAL",
    "GELU",
    "DYNAMIC_UPDATE_SLICE",
    "RELU_0_TO_1",
    "UNSORTED_SEGMENT_PROD",
    "UNSORTED_SEGMENT_MAX",
    "UNSORTED_SEGMENT_SUM",
    "ATAN2",
    "UNSORTED_SEGMENT_MIN",
    "SIGN",
    "BITCAST",
    "BITWISE_XOR",
    "RIGHT_SHIFT",
    "STABLEHLO_LOGISTIC",
    "STABLEHLO_ADD",
    "STABLEHLO_DIVIDE",
    "STABLEHLO_MULTIPLY",
    "STABLEHLO_MAXIMUM",
    "STABLEHLO_RESHAPE",
    "STABLEHLO_CLAMP",
    "STABLEHLO_CONCATENATE",
    "STABLEHLO_BROADCAST_IN_DIM",
    "STABLEHLO_CONVOLUTION",
    "STABLEHLO_SLICE",
    "STABLEHLO_CUSTOM_CALL",
    "STABLEHLO_REDUCE",
    "STABLEHLO_ABS",
    "STABLEHLO_AND",
    "STABLEHLO_COSINE",
    "STABLEHLO_EXPONENTIAL",
    "STABLEHLO_FLOOR",
    "STABLEHLO_LOG",
    "STABLEHLO_MINIMUM",
    "STABLEHLO_NEGATE",
    "STABLEHLO_OR",
    "STABLEHLO_POWER",
    "STABLEHLO_REMAINDER",
    "STABLEHLO_RSQRT",
    "STABLEHLO_SELECT",
    "STABLEHLO_SUBTRACT",
    "STABLEHLO_TANH",
    "STABLEHLO_SCATTER",
    "STABLEHLO_COMPARE",
    "STABLEHLO_CONVERT",
    "STABLEHLO_DYNAMIC_SLICE",
    "STABLEHLO_DYNAMIC_UPDATE_SLICE",
    "STABLEHLO_PAD",
    "STABLEHLO_IOTA",
    "STABLEHLO_DOT_GENERAL",
    "STABLEHLO_REDUCE_WINDOW",
    "STABLEHLO_SORT",
    "STABLEHLO_WHILE",
    "STABLEHLO_GATHER",
    "STABLEHLO_TRANSPOSE",
    "DILATE",
    "STABLEHLO_RNG_BIT_GENERATOR",
    "REDUCE_WINDOW",
    "STABLEHLO_COMPOSITE",
    "STABLEHLO_SHIFT_LEFT",
    "STABLEHLO_CBRT",
    "STABLEHLO_CASE",
]

# Torch's names, by TFLite's number. Types without one keep TFLite's: string, resource, variant.
TYPES = [
    "float32",
    "float16",
    "int32",
    "uint8",
    "int64",
    "string",
    "bool",
    "int16",
    "complex64",
    "int8",
    "float64",
    "complex128",
    "uint64",
    "resource",
    "variant",
    "uint32",
    "uint16",
    "int4",
    "bfloat16",
    "int2",
    "uint4",
    "float8_e4m3fn",
    "float8_e5m2",
]

ENUMS: dict[str, list[str]] = {
    "Padding": ["SAME", "VALID"],
    "Activation": ["NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT"],
    "Weights": ["DEFAULT", "SHUFFLED4x16INT8"],
    "Lstm": ["FULL", "BASIC"],
    "Mirror": ["REFLECT", "SYMMETRIC"],
    "Combiner": ["SUM", "MEAN", "SQRTN"],
    "Reduction": ["UNSUPPORTED", "ADD", "MUL", "MINIMUM", "MAXIMUM", "ALL", "ANY"],
    "Type": TYPES,
}

OPTIONS: dict[int, tuple[str, str]] = {
    1: (
        "CONV_2D",
        "padding:Padding stride_w:int32 stride_h:int32 fused_activation_function:Activation "
        "dilation_w_factor:int32=1 dilation_h_factor:int32=1 quantized_bias_type:Type",
    ),
    2: (
        "DEPTHWISE_CONV_2D",
        "padding:Padding stride_w:int32 stride_h:int32 depth_multiplier:int32 "
        "fused_activation_function:Activation dilation_w_factor:int32=1 dilation_h_factor:int32=1",
    ),
    3: ("CONCAT_EMBEDDINGS", "num_channels:int32 num_columns_per_channel:int32s embedding_dim_per_channel:int32s"),
    4: ("LSH_PROJECTION", "type:int8"),
    5: (
        "AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D",
        "padding:Padding stride_w:int32 stride_h:int32 filter_width:int32 filter_height:int32 "
        "fused_activation_function:Activation",
    ),
    6: ("SVDF", "rank:int32 fused_activation_function:Activation asymmetric_quantize_inputs:bool"),
    7: ("RNN", "fused_activation_function:Activation asymmetric_quantize_inputs:bool"),
    8: (
        "FULLY_CONNECTED",
        "fused_activation_function:Activation weights_format:Weights keep_num_dims:bool "
        "asymmetric_quantize_inputs:bool quantized_bias_type:Type quant_spec:uint8s",
    ),
    9: ("SOFTMAX", "beta:float32"),
    10: ("CONCATENATION", "axis:int32 fused_activation_function:Activation"),
    11: ("ADD", "fused_activation_function:Activation pot_scale_int16:bool=1"),
    12: ("L2_NORMALIZATION", "fused_activation_function:Activation"),
    13: ("LOCAL_RESPONSE_NORMALIZATION", "radius:int32 bias:float32 alpha:float32 beta:float32"),
    14: (
        "LSTM",
        "fused_activation_function:Activation cell_clip:float32 proj_clip:float32 kernel_type:Lstm "
        "asymmetric_quantize_inputs:bool",
    ),
    15: ("RESIZE_BILINEAR", "_:int32 _:int32 align_corners:bool half_pixel_centers:bool"),
    16: ("CALL", "subgraph:uint32"),
    17: ("RESHAPE", "new_shape:int32s"),
    18: ("SKIP_GRAM", "ngram_size:int32 max_skip_size:int32 include_all_ngrams:bool"),
    19: ("SPACE_TO_DEPTH", "block_size:int32"),
    20: ("EMBEDDING_LOOKUP_SPARSE", "combiner:Combiner"),
    21: ("MUL", "fused_activation_function:Activation"),
    23: ("GATHER", "axis:int32 batch_dims:int32"),
    27: ("MEAN SUM REDUCE_PROD REDUCE_MAX REDUCE_MIN REDUCE_ANY REDUCE_ALL", "keep_dims:bool"),
    28: ("SUB", "fused_activation_function:Activation pot_scale_int16:bool=1"),
    29: ("DIV", "fused_activation_function:Activation"),
    30: ("SQUEEZE", "squeeze_dims:int32s"),
    31: (
        "UNIDIRECTIONAL_SEQUENCE_RNN",
        "time_major:bool fused_activation_function:Activation asymmetric_quantize_inputs:bool",
    ),
    32: (
        "STRIDED_SLICE",
        "begin_mask:int32 end_mask:int32 ellipsis_mask:int32 new_axis_mask:int32 shrink_axis_mask:int32 offset:bool",
    ),
    35: ("SPLIT", "num_splits:int32"),
    37: ("CAST", "in_data_type:Type out_data_type:Type"),
    40: ("ARG_MAX", "output_type:Type"),
    49: (
        "TRANSPOSE_CONV",
        "padding:Padding stride_w:int32 stride_h:int32 fused_activation_function:Activation quantized_bias_type:Type",
    ),
    50: ("SPARSE_TO_DENSE", "validate_indices:bool"),
    55: ("SHAPE", "out_type:Type"),
    57: ("ARG_MIN", "output_type:Type"),
    58: ("FAKE_QUANT", "min:float32 max:float32 num_bits:int32 narrow_range:bool"),
    59: ("PACK", "values_count:int32 axis:int32"),
    61: ("ONE_HOT", "axis:int32"),
    64: ("UNPACK", "num:int32 axis:int32"),
    69: (
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "fused_activation_function:Activation cell_clip:float32 proj_clip:float32 merge_outputs:bool "
        "time_major:bool=1 asymmetric_quantize_inputs:bool",
    ),
    70: (
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "time_major:bool fused_activation_function:Activation merge_outputs:bool asymmetric_quantize_inputs:bool",
    ),
    71: (
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "fused_activation_function:Activation cell_clip:float32 proj_clip:float32 time_major:bool "
        "asymmetric_quantize_inputs:bool diagonal_recurrent_tensors:bool",
    ),
    74: ("RESIZE_NEAREST_NEIGHBOR", "align_corners:bool half_pixel_centers:bool"),
    75: ("LEAKY_RELU", "alpha:float32"),
    77: ("MIRROR_PAD", "mode:Mirror"),
    79: ("SPLIT_V", "num_splits:int32"),
    80: ("UNIQUE", "idx_out_type:Type=2"),
    87: ("REVERSE_SEQUENCE", "seq_dim:int32 batch_dim:int32"),
    92: ("IF", "then_subgraph_index:int32 else_subgraph_index:int32"),
    93: ("WHILE", "cond_subgraph_index:int32 body_subgraph_index:int32"),
    94: ("DEPTH_TO_SPACE", "block_size:int32"),
    101: ("BATCH_MATMUL", "adj_x:bool adj_y:bool asymmetric_quantize_inputs:bool"),
    102: ("CUMSUM", "exclusive:bool reverse:bool"),
    103: ("CALL_ONCE", "init_subgraph_index:int32"),
    106: (
        "CONV_3D CONV_3D_TRANSPOSE",
        "padding:Padding stride_d:int32 stride_w:int32 stride_h:int32 fused_activation_function:Activation "
        "dilation_d_factor:int32=1 dilation_w_factor:int32=1 dilation_h_factor:int32=1",
    ),
    107: ("HASHTABLE", "table_id:int32 key_dtype:Type value_dtype:Type"),
    111: ("VAR_HANDLE", "container:text shared_name:text"),
    114: ("RANDOM_STANDARD_NORMAL RANDOM_UNIFORM MULTINOMIAL", "seed:int64 seed2:int64"),
    115: ("BUCKETIZE", "boundaries:float32s"),
    116: ("GELU", "approximate:bool"),
}

OPTIONS_2: dict[int, tuple[str, str]] = {
    1: ("STABLEHLO_CONCATENATE", "dimension:int64"),
    2: ("STABLEHLO_BROADCAST_IN_DIM", "broadcast_dimensions:int64s"),
    3: ("STABLEHLO_SLICE", "start_indices:int64s limit_indices:int64s strides:int64s"),
    4: (
        "STABLEHLO_CONVOLUTION",
        "window_strides:int64s padding:int64s lhs_dilation:int64s rhs_dilation:int64s window_reversal:bools "
        "input_batch_dimension:int64 input_feature_dimension:int64 input_spatial_dimensions:int64s "
        "kernel_input_feature_dimension:int64 kernel_output_feature_dimension:int64 "
        "kernel_spatial_dimensions:int64s output_batch_dimension:int64 output_feature_dimension:int64 "
        "output_spatial_dimensions:int64s feature_group_count:int64 batch_group_count:int64 "
        "precision_config:uint32s",
    ),
    5: (
        "STABLEHLO_CUSTOM_CALL",
        "call_target_name:text has_side_effect:bool backend_config:text api_version:int32 "
        "called_computations:int32s custom_attributes:uint8s",
    ),
    6: ("STABLEHLO_REDUCE", "dimensions:int64s body_subgraph_index:int32"),
    7: (
        "STABLEHLO_SCATTER",
        "indices_are_sorted:bool update_window_dims:int64s inserted_window_dims:int64s "
        "scatter_dims_to_operand_dims:int64s index_vector_dim:int64 unique_indices:bool "
        "update_computation_subgraph_index:int32",
    ),
    8: ("STABLEHLO_COMPARE", "comparison_direction:uint32 compare_type:uint32"),
    9: ("STABLEHLO_DYNAMIC_SLICE", "slice_sizes:int64s"),
    10: ("STABLEHLO_PAD", "edge_padding_low:int64s edge_padding_high:int64s interior_padding:int64s"),
    11: ("STABLEHLO_IOTA", "iota_dimension:int64"),
    12: (
        "STABLEHLO_DOT_GENERAL",
        "lhs_batching_dimensions:int64s rhs_batching_dimensions:int64s lhs_contracting_dimensions:int64s "
        "rhs_contracting_dimensions:int64s precision_config:uint32s",
    ),
    13: (
        "STABLEHLO_REDUCE_WINDOW",
        "window_dimensions:int64s window_strides:int64s base_dilations:int64s window_dilations:int64s "
        "padding:int64s body_subgraph_index:int32",
    ),
    14: ("STABLEHLO_SORT", "dimension:int64 is_stable:bool comparator_subgraph_index:int32"),
    15: ("STABLEHLO_WHILE", "cond_subgraph_index:int32 body_subgraph_index:int32"),
    16: (
        "STABLEHLO_GATHER",
        "offset_dims:int64s collapsed_slice_dims:int64s start_index_map:int64s index_vector_dim:int64 "
        "slice_sizes:int64s indices_are_sorted:bool",
    ),
    17: ("STABLEHLO_TRANSPOSE", "permutation:int64s"),
    19: ("STABLEHLO_RNG_BIT_GENERATOR", "algorithm:int8"),
    20: ("REDUCE_WINDOW", "reduce_function:Reduction"),
    21: (
        "STABLEHLO_COMPOSITE",
        "name:text decomposition_subgraph_index:int32 composite_attributes:uint8s "
        "composite_attributes_format:int8 version:int32",
    ),
    23: ("STABLEHLO_CASE", "branch_subgraph_indices:int32s"),
}

UNION_OF = {
    operator: (union, number)
    for union, options in ((1, OPTIONS), (2, OPTIONS_2))
    for number, (operators, _) in options.items()
    for operator in operators.split()
}


class OptionField(NamedTuple):
    """One field of an operator's options: its place in the table, and the number that stands where it is left out."""

    place: int
    name: str
    kind: str
    number: int

    @property
    def default(self) -> Any:
        """The value where a file leaves the field out, as Python holds it."""
        if self.kind in ENUMS:
            return ENUMS[self.kind][self.number]
        if self.kind == "text":
            return ""
        if self.kind.endswith("s"):
            return ()
        return {"bool": bool, "float32": float}.get(self.kind, int)(self.number)


@cache
def option_fields(operator: str) -> tuple[OptionField, ...]:
    """Return the fields of an operator's options, but those that are no longer in use."""
    found = []
    for place, field in enumerate(options_of(operator)[2].split()):
        name, _, kind = field.partition(":")
        kind, _, number = kind.partition("=")
        if name != "_":
            found.append(OptionField(place, name, kind, int(number or 0)))
    return tuple(found)


def options_of(operator: str) -> tuple[int, int, str]:
    """Return which union an operator's options are in, their number there and their fields; number 0 where it has none."""
    union, number = UNION_OF.get(operator, (1, 0))
    return union, number, (OPTIONS if union == 1 else OPTIONS_2)[number][1] if number else ""
