"""TensorFlow Lite's operators on real numbers as ONNX's: what stands between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netwright.compression.quantization.qdq_writing import Writing
from netwright.core.errors import NetwrightError
from netwright.graph.graph import Op

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_CLAMPS = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}


def _first(writing: Writing, op: Op, place: int = 0) -> str:
    """Return an image with its channels before its sides."""
    return writing.node("Transpose", [writing.real(writing.needed(op, place))], perm=TO_CHANNELS_FIRST)


def _last(writing: Writing, image: str) -> str:
    return writing.node("Transpose", [image], perm=TO_CHANNELS_LAST)


def _clamp(writing: Writing, op: Op, real: str, kind: str = "") -> str:
    kind = kind or op.arguments["fused_activation_function"]
    if kind == "NONE":
        return real
    if kind not in _CLAMPS:
        raise NetwrightError(
            f"{op.kind.removeprefix('tflite.')} {op.path!r}: the activation {kind} is not written as ONNX."
        )
    low, high = _CLAMPS[kind]
    if high is None:
        return writing.node("Relu", [real])
    ends = [writing.constant(np.array(end, np.float32)) for end in (low, high)]
    return writing.node("Clip", [real, *ends])


def _pads(
    sides: Sequence[int],
    outputs: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: str,
) -> list[int]:
    """Return SAME as numbers: top, left, bottom, right."""
    if padding == "VALID":
        return [0, 0, 0, 0]
    total = [
        max(0, (out - 1) * step + (size - 1) * wide + 1 - side)
        for side, out, size, step, wide in zip(sides, outputs, kernel, stride, dilation, strict=True)
    ]
    return [side // 2 for side in total] + [side - side // 2 for side in total]


def _conv(writing: Writing, op: Op) -> str:
    depthwise = op.kind == "tflite.DEPTHWISE_CONV_2D"
    x, weights, bias = (writing.operand(op, place) for place in range(3))
    assert x is not None
    assert weights is not None
    shape = writing.shape(weights)
    arguments = op.arguments
    stride = arguments["stride_h"], arguments["stride_w"]
    dilation = arguments["dilation_h_factor"], arguments["dilation_w_factor"]
    channels = writing.shape(x)[3]
    layout = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
    inputs = [_first(writing, op), writing.real(weights, layout)]
    inputs += [writing.real(bias)] if bias is not None else []
    made = writing.node(
        "Conv",
        inputs,
        group=channels if depthwise else channels // shape[3],
        kernel_shape=shape[1:3],
        strides=stride,
        dilations=dilation,
        pads=_pads(
            writing.shape(x)[1:3], writing.shape(op.outputs[0])[1:3], shape[1:3], stride, dilation, arguments["padding"]
        ),
    )
    return _last(writing, _clamp(writing, op, made))


def _transposed_conv(writing: Writing, op: Op) -> str:
    weights, x, bias = (writing.operand(op, place) for place in (1, 2, 3))
    assert weights is not None
    assert x is not None
    shape, arguments = writing.shape(weights), op.arguments
    stride = arguments["stride_h"], arguments["stride_w"]
    sides, outputs = writing.shape(x)[1:3], writing.shape(op.outputs[0])[1:3]
    whole = [(side - 1) * step + size for side, step, size in zip(sides, stride, shape[1:3], strict=True)]
    cut = [max(0, full - out) for full, out in zip(whole, outputs, strict=True)]
    inputs = [_first(writing, op, 2), writing.real(weights, (3, 0, 1, 2))]
    inputs += [writing.real(bias)] if bias is not None else []
    before = [0, 0] if arguments["padding"] == "VALID" else [side // 2 for side in cut]
    pads = before + [side - first for side, first in zip(cut, before, strict=True)]
    made = writing.node("ConvTranspose", inputs, kernel_shape=shape[1:3], strides=stride, pads=pads)
    return _last(writing, _clamp(writing, op, made))


def _dense(writing: Writing, op: Op) -> str:
    x, weights, bias = (writing.operand(op, place) for place in range(3))
    assert x is not None
    assert weights is not None
    depth = writing.shape(weights)[1]
    real = writing.real(x)
    if not op.arguments["keep_num_dims"] and writing.shape(x) != (writing.shape(x)[0], depth):
        real = writing.node("Reshape", [real, writing.constant(np.array([-1, depth], np.int64))])
    if len(writing.shape(op.outputs[0])) == 2:
        inputs = [real, writing.real(weights)] + ([writing.real(bias)] if bias is not None else [])
        made = writing.node("Gemm", inputs, transB=1)
    else:
        made = writing.node("MatMul", [real, writing.real(weights, (1, 0))])
        made = writing.node("Add", [made, writing.real(bias)]) if bias is not None else made
    return _clamp(writing, op, made)


def _pool(writing: Writing, op: Op) -> str:
    x, arguments = writing.needed(op, 0), op.arguments
    kernel = arguments["filter_height"], arguments["filter_width"]
    stride = arguments["stride_h"], arguments["stride_w"]
    outputs = writing.shape(op.outputs[0])[1:3]
    pads = _pads(writing.shape(x)[1:3], outputs, kernel, stride, (1, 1), arguments["padding"])
    kind = "MaxPool" if op.kind == "tflite.MAX_POOL_2D" else "AveragePool"
    made = writing.node(kind, [_first(writing, op)], kernel_shape=kernel, strides=stride, pads=pads)
    return _last(writing, _clamp(writing, op, made))


def _binary(kind: str) -> Callable[[Writing, Op], str]:
    def write(writing: Writing, op: Op) -> str:
        operands = [writing.real(writing.needed(op, place)) for place in (0, 1)]
        return _clamp(writing, op, writing.node(kind, operands))

    return write


def _unary(kind: str) -> Callable[[Writing, Op], str]:
    return lambda writing, op: writing.node(kind, [writing.real(writing.needed(op, 0))])


def _gelu(writing: Writing, op: Op) -> str:
    """X / 2 times 1 + erf(x / sqrt(2)), or 1 + tanh(sqrt(2 / pi) times (x + 0.044715 x^3)): ONNX has an operator from version 20 on."""

    def number(value: float) -> str:
        return writing.constant(np.array(value, np.float32))

    real = writing.real(writing.needed(op, 0))
    if op.arguments["approximate"]:
        cube = writing.node("Mul", [writing.node("Mul", [real, real]), real])
        inner = writing.node("Add", [real, writing.node("Mul", [cube, number(0.044715)])])
        gate = writing.node("Tanh", [writing.node("Mul", [inner, number(math.sqrt(2 / math.pi))])])
    else:
        gate = writing.node("Erf", [writing.node("Mul", [real, number(math.sqrt(0.5))])])
    return writing.node("Mul", [writing.node("Mul", [real, number(0.5)]), writing.node("Add", [gate, number(1.0)])])


def _unblocked(writing: Writing, op: Op) -> str:
    block = op.arguments["block_size"]
    return _last(writing, writing.node("DepthToSpace", [_first(writing, op)], blocksize=block, mode="DCR"))


def _clipped(writing: Writing, op: Op) -> str:
    return _clamp(writing, op, writing.real(writing.needed(op, 0)), op.kind.removeprefix("tflite."))


def _as_it_is(writing: Writing, op: Op) -> str:
    return writing.real(writing.needed(op, 0))


def _mean(writing: Writing, op: Op) -> str:
    axes = writing.constant(writing.stored(op, 1).astype(np.int64).reshape(-1))
    return writing.node(
        "ReduceMean", [writing.real(writing.needed(op, 0)), axes], keepdims=int(op.arguments["keep_dims"])
    )


def _pad(writing: Writing, op: Op) -> str:
    widths = writing.stored(op, 1).reshape(-1, 2).T.reshape(-1).astype(np.int64)
    inputs = [writing.real(writing.needed(op, 0)), writing.constant(widths)]
    value = writing.operand(op, 2)
    if value is not None:
        shape = writing.constant(np.zeros(0, np.int64))
        inputs.append(writing.node("Reshape", [writing.real(value), shape]))
    return writing.node("Pad", inputs)


def _reshape(writing: Writing, op: Op) -> str:
    old, new = writing.shape(writing.needed(op, 0)), writing.shape(op.outputs[0])
    shape = [0 if place == 0 and old and side == old[0] else side for place, side in enumerate(new)]
    return writing.node("Reshape", [writing.real(writing.needed(op, 0)), writing.constant(np.array(shape, np.int64))])


def _transpose(writing: Writing, op: Op) -> str:
    order = [int(place) for place in writing.stored(op, 1)]
    return writing.node("Transpose", [writing.real(writing.needed(op, 0))], perm=order)


def _concatenate(writing: Writing, op: Op) -> str:
    parts = [writing.real(index) for index in op.inputs]
    return writing.node("Concat", parts, axis=op.arguments["axis"])


def _cut(writing: Writing, op: Op) -> str:
    """STRIDED_SLICE and SLICE; dimensions that are kept whole are not named, so that the batch stays free."""
    x = writing.needed(op, 0)
    shape = writing.shape(x)
    begin, end = writing.stored(op, 1).tolist(), writing.stored(op, 2).tolist()
    strides, masks = [1] * len(shape), (0, 0)
    if op.kind == "tflite.SLICE":
        end = [side if size == -1 else first + size for first, size, side in zip(begin, end, shape, strict=True)]
    else:
        strides = writing.stored(op, 3).tolist()
        masks = op.arguments["begin_mask"], op.arguments["end_mask"]
        others = ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
        if any(op.arguments[mask] for mask in others):
            raise NetwrightError(f"STRIDED_SLICE {op.path!r} adds or drops dimensions, which is not written as ONNX.")
    bounds = {
        place: slice(
            None if masks[0] >> place & 1 else begin[place],
            None if masks[1] >> place & 1 else end[place],
            strides[place],
        ).indices(side)
        for place, side in enumerate(shape)
    }
    bounds = {place: bound for place, bound in bounds.items() if bound != (0, shape[place], 1)}
    if not bounds:
        return writing.real(x)
    starts, ends, steps = zip(*bounds.values(), strict=True)
    parts = [writing.constant(np.array(values, np.int64)) for values in (starts, ends, list(bounds), steps)]
    return writing.node("Slice", [writing.real(x), *parts])


def _resize(writing: Writing, op: Op) -> str:
    x = writing.needed(op, 0)
    height, width = writing.shape(op.outputs[0])[1:3]
    scales = [1.0, 1.0, height / writing.shape(x)[1], width / writing.shape(x)[2]]
    nearest = op.kind == "tflite.RESIZE_NEAREST_NEIGHBOR"
    corners, half = op.arguments["align_corners"], op.arguments["half_pixel_centers"]
    made = writing.node(
        "Resize",
        [_first(writing, op), "", writing.constant(np.array(scales, np.float32))],
        mode="nearest" if nearest else "linear",
        coordinate_transformation_mode="align_corners" if corners else "half_pixel" if half else "asymmetric",
        nearest_mode="floor" if nearest else None,
    )
    return _last(writing, made)


def _prelu(writing: Writing, op: Op) -> str:
    return writing.node("PRelu", [writing.real(writing.needed(op, place)) for place in (0, 1)])


def _leaky(writing: Writing, op: Op) -> str:
    return writing.node("LeakyRelu", [writing.real(writing.needed(op, 0))], alpha=op.arguments["alpha"])


def _softmax(writing: Writing, op: Op) -> str:
    real = writing.real(writing.needed(op, 0))
    if op.arguments["beta"] != 1:
        real = writing.node("Mul", [real, writing.constant(np.array(op.arguments["beta"], np.float32))])
    return writing.node("Softmax", [real], axis=-1)


def _product(writing: Writing, op: Op) -> str:
    operands = []
    for place, turned in ((0, op.arguments["adj_x"]), (1, op.arguments["adj_y"])):
        index = writing.needed(op, place)
        real, rank = writing.real(index), len(writing.shape(index))
        order = [*range(rank - 2), rank - 1, rank - 2]
        operands.append(writing.node("Transpose", [real], perm=order) if turned else real)
    return writing.node("MatMul", operands)


OPERATORS: dict[str, Callable[[Any, Op], str]] = {
    "ABS": _unary("Abs"),
    "ADD": _binary("Add"),
    "AVERAGE_POOL_2D": _pool,
    "BATCH_MATMUL": _product,
    "CONCATENATION": _concatenate,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _conv,
    "DEPTH_TO_SPACE": _unblocked,
    "DEQUANTIZE": _as_it_is,
    "FULLY_CONNECTED": _dense,
    "GELU": _gelu,
    "HARD_SWISH": _unary("HardSwish"),
    "LEAKY_RELU": _leaky,
    "LOGISTIC": _unary("Sigmoid"),
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "MUL": _binary("Mul"),
    "PAD": _pad,
    "PADV2": _pad,
    "PRELU": _prelu,
    "QUANTIZE": _as_it_is,
    "RELU": _clipped,
    "RELU6": _clipped,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SLICE": _cut,
    "SOFTMAX": _softmax,
    "STRIDED_SLICE": _cut,
    "SUB": _binary("Sub"),
    "TANH": _unary("Tanh"),
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transposed_conv,
}
