"""Operations that may write their result over an input: each element is read before it is written, and never again."""

from __future__ import annotations

from netwright.graph.graph import Graph, Op
from netwright.graph.memory.fold import uses_running_statistics

_ATEN = """abs add addcdiv addcmul celu clamp clamp_max clamp_min cos div elu erf exp expm1 fill floor gelu hardsigmoid hardswish
    hardtanh leaky_relu log log1p log_sigmoid logical_not masked_fill maximum minimum mish mul neg pow prelu _prelu_kernel reciprocal
    relu relu6 rsqrt rsub selu sigmoid sign silu sin softplus sqrt square sub tanh threshold where round trunc"""
_TFLITE = """ABS ADD COS DIV ELU EXP FLOOR GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC MAXIMUM MINIMUM MUL NEG PRELU QUANTIZE RELU RELU6
    RELU_0_TO_1 RELU_N1_TO_1 RSQRT SIN SQRT SQUARE SQUARED_DIFFERENCE SUB TANH"""
_ONNX = """Abs Add Celu Clip Cos Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Max Min Mish Mul Neg PRelu Pow
    Reciprocal Relu Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Tanh ThresholdedRelu Where"""

ELEMENTWISE = frozenset(
    [f"aten.{name}" for name in _ATEN.split()]
    + [f"tflite.{name}" for name in _TFLITE.split()]
    + [f"onnx.{name}" for name in _ONNX.split()]
)


def is_elementwise(op: Op) -> bool:
    """Say whether every element of the result depends on the same element of the inputs, and on constants."""
    kind = op.kind.removesuffix("_") if op.kind.startswith("aten.") else op.kind
    return kind in ELEMENTWISE or uses_running_statistics(op)


def overwritable(graph: Graph, op: Op) -> tuple[int, ...]:
    """Return the input tensors, of the shape of the result, whose memory an elementwise operation may take over."""
    if not is_elementwise(op) or not op.outputs:
        return ()
    shape = graph.tensors[op.outputs[0]].shape
    return tuple(index for index in op.inputs if graph.tensors[index].shape == shape)


def nothing_overwritable(_graph: Graph, _op: Op) -> tuple[int, ...]:
    """Return no input: for engines that never work in place."""
    return ()
