"""Hostile .tflite files: small good ones of every operator, and what is done to them.

The places in a file that the reader looks at are found by watching it read; most mutations hit those.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from unittest import mock

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.graph.files import tflite
from netwright.graph.files.flatbuffer import FlatBuffer
from netwright.graph.files.tflite_writer import tflite_bytes
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.lower.lower import lower
from netwright.mcu.schedule.schedule import schedule
from tests.mcu.simple_cases import functions, means, pools, sums

Rng = np.random.Generator
_SIZES = {"bool": 1, "int8": 1, "uint8": 1, "uint16": 2, "int32": 4, "uint32": 4, "float32": 4, "int64": 8, "uint64": 8}
_WORDS = (0, 1, 2, 3, 4, 5, 7, 8, 127, 128, 255, 256, 65535, 65536, 1 << 20, 1 << 24, 1 << 30, (1 << 31) - 1)
_FLOATS = (0.0, -0.0, -1.0, 1e-45, 1e-38, 1e-20, 1e-9, 0.5, 1.0, 2.0, 1e9, 1e30, 3.4e38, float("inf"), float("nan"))


@dataclass(frozen=True)
class Case:
    """One file, and what was done to it."""

    kind: str
    data: bytes


def bottleneck() -> QuantizedGraph:
    """A small network of the usual kind: strided convolution, depthwise, pointwise, a residual, pooling, a dense layer."""
    build, rng = GraphBuilder(), np.random.default_rng(1)
    x = build.input("image", (1, 9, 7, 3), quantization(0.05, 3))

    def product(
        x: int, operator: str, sides: tuple[int, ...], axis: int, shape: tuple[int, ...], **options: int
    ) -> int:
        outputs = sides[axis]
        scales = rng.uniform(0.002, 0.004, outputs)
        weights = build.constant(
            f"w{x}", rng.integers(-127, 128, sides).astype(np.int8), quantization(scales, axis=axis)
        )
        bias = build.constant(
            f"b{x}", rng.integers(-500, 500, outputs).astype(np.int32), quantization(scales * 0.05, axis=0)
        )
        dense = operator == "FULLY_CONNECTED"
        ends = {} if dense else {"padding": "SAME", "fused_activation_function": "RELU6", "stride_w": 1, "stride_h": 1}
        return build.op(operator, [x, weights, bias], shape, quantization(0.05, -20), **(ends | options))

    x = product(x, "CONV_2D", (4, 3, 3, 3), 0, (1, 5, 4, 4), stride_w=2, stride_h=2)
    kept = x
    x = product(x, "CONV_2D", (12, 1, 1, 4), 0, (1, 5, 4, 12))
    x = product(x, "DEPTHWISE_CONV_2D", (1, 3, 3, 12), 3, (1, 5, 4, 12), depth_multiplier=1)
    x = product(x, "CONV_2D", (4, 1, 1, 12), 0, (1, 5, 4, 4), dilation_w_factor=1)
    x = build.op("ADD", [x, kept], (1, 5, 4, 4), quantization(0.1))
    x = product(x, "DEPTHWISE_CONV_2D", (1, 3, 3, 8), 3, (1, 3, 2, 8), depth_multiplier=2, stride_w=2, stride_h=2)
    axes = build.constant("axes", np.array([1, 2], np.int32))
    x = build.op("MEAN", [x, axes], (1, 8), quantization(0.05, -20))
    x = product(x, "FULLY_CONNECTED", (5, 8), 0, (1, 5))
    return build.build([build.op("SOFTMAX", [x], (1, 5), quantization(1 / 256, -128), beta=1.0)])


def moves() -> QuantizedGraph:
    """Everything that only moves elements, and what else no other seed has."""
    build, q = GraphBuilder(), quantization(0.1, 3)
    x = build.input("x", (1, 6, 4, 8), q)

    def numbers(*values: int) -> int:
        return build.constant(f"n{len(build.values)}", np.array(values, np.int32))

    padded = build.op(
        "PAD", [x, build.constant("p", np.array([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32))], (1, 9, 5, 8), q
    )
    mirrored = build.op(
        "MIRROR_PAD", [x, build.constant("m", np.array([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32))], (1, 9, 5, 8), q
    )
    added = build.op("ADD", [padded, mirrored], (1, 9, 5, 8), quantization(0.2, -3))
    cut = build.op(
        "STRIDED_SLICE",
        [added, numbers(0, 0, 0, 0), numbers(1, 9, 5, 8), numbers(1, 2, 2, 1)],
        (1, 5, 3, 8),
        quantization(0.2, -3),
    )
    turned = build.op("TRANSPOSE", [cut, numbers(0, 3, 1, 2)], (1, 8, 5, 3), quantization(0.2, -3))
    first, second = build.op_many(
        "SPLIT", [numbers(1), turned], [((1, 4, 5, 3), quantization(0.2, -3))] * 2, num_splits=2
    )
    joined = build.op("CONCATENATION", [first, second], (1, 4, 5, 6), quantization(0.2, -3), axis=3)
    sliced = build.op("SLICE", [joined, numbers(0, 1, 0, 2), numbers(1, 3, 5, 4)], (1, 3, 5, 4), quantization(0.2, -3))
    deep = build.op("DEPTH_TO_SPACE", [sliced], (1, 6, 10, 1), quantization(0.2, -3), block_size=2)
    back = build.op("SPACE_TO_DEPTH", [deep], (1, 3, 5, 4), quantization(0.2, -3), block_size=2)
    nearest = build.op("RESIZE_NEAREST_NEIGHBOR", [back, numbers(6, 10)], (1, 6, 10, 4), quantization(0.2, -3))
    linear = build.op(
        "RESIZE_BILINEAR", [nearest, numbers(4, 7)], (1, 4, 7, 4), quantization(0.2, -3), half_pixel_centers=True
    )
    alpha = build.constant("alpha", np.array([[[1, -2, 3, 127]]], np.int8), quantization(0.01))
    bent = build.op("PRELU", [linear, alpha], (1, 4, 7, 4), quantization(0.3))
    leaky = build.op("LEAKY_RELU", [bent], (1, 4, 7, 4), quantization(0.3), alpha=0.1)
    swish = build.op("HARD_SWISH", [leaky], (1, 4, 7, 4), quantization(0.3))
    flat = build.op("RESHAPE", [swish, numbers(1, 28, 4)], (1, 28, 4), quantization(0.3))
    other = build.input("y", (1, 4, 3), quantization(0.02, 5))
    product = build.op("BATCH_MATMUL", [flat, other], (1, 28, 3), quantization(0.4))
    wide = build.op("EXPAND_DIMS", [product, numbers(0)], (1, 1, 28, 3), quantization(0.4))
    weights = build.constant("w", np.arange(-24, 24, dtype=np.int8).reshape(2, 2, 4, 3), quantization(0.01))
    grown = build.op(
        "TRANSPOSE_CONV",
        [numbers(1, 2, 56, 2), weights, wide],
        (1, 2, 56, 2),
        quantization(0.4),
        stride_h=2,
        stride_w=2,
    )
    return build.build([grown])


def others() -> QuantizedGraph:
    """The operators that no other seed has, floats at both ends."""
    build, q = GraphBuilder(), quantization(0.1, 3)
    real = build.input("real", (1, 4, 6, 4), None, dtype="float32")
    x = build.op("QUANTIZE", [real], (1, 4, 6, 4), q)
    few = build.constant("few", np.ones((6, 3, 3, 2), np.int8), quantization(0.01))
    x = build.op("CONV_2D", [x, few, None], (1, 2, 3, 6), q, stride_h=2, stride_w=2, padding="SAME")
    fill = build.constant("fill", np.array([7], np.int8), q)
    border = build.constant("border", np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32))
    x = build.op("PADV2", [x, border, fill], (1, 3, 4, 6), q)
    x = build.op("REVERSE_V2", [x, build.constant("turned", np.array([2], np.int32))], (1, 3, 4, 6), q)
    block, none = (
        build.constant("block", np.array([1, 2], np.int32)),
        build.constant("none", np.zeros((2, 2), np.int32)),
    )
    x = build.op("SPACE_TO_BATCH_ND", [x, block, none], (2, 3, 2, 6), q)
    x = build.op("BATCH_TO_SPACE_ND", [x, block, none], (1, 3, 4, 6), q)
    pixel = build.op(
        "SLICE",
        [x, build.constant("at", np.zeros(4, np.int32)), build.constant("one", np.array([1, 1, 1, 6], np.int32))],
        (1, 1, 1, 6),
        q,
    )
    wide = build.op("TILE", [pixel, build.constant("times", np.array([1, 1, 4, 1], np.int32))], (1, 1, 4, 6), q)
    high = build.op("BROADCAST_TO", [wide, build.constant("to", np.array([1, 3, 4, 6], np.int32))], (1, 3, 4, 6), q)
    x = build.op("ADD", [x, high], (1, 3, 4, 6), q)
    lengths, axis = build.constant("lengths", np.array([2, 4], np.int32)), build.constant("axis", np.array(3, np.int32))
    first, second = build.op_many("SPLIT_V", [x, lengths, axis], [((1, 3, 4, 2), q), ((1, 3, 4, 4), q)], num_splits=2)
    places = build.constant("places", np.array([3, 0], np.int32))
    second = build.op("GATHER", [second, places], (1, 3, 4, 2), q, axis=3)
    packed = build.op("PACK", [first, second], (1, 2, 3, 4, 2), q, values_count=2, axis=1)
    first, second = build.op_many("UNPACK", [packed], [((1, 3, 4, 2), q)] * 2, num=2, axis=1)
    low = build.constant("low", np.array(-20, np.int8), q)
    first = build.op("MAXIMUM", [first, low], (1, 3, 4, 2), q)
    second = build.op("MINIMUM", [second, low], (1, 3, 4, 2), q)
    first = build.op("RELU", [first], (1, 3, 4, 2), q)
    second = build.op("RELU_N1_TO_1", [second], (1, 3, 4, 2), q)
    x = build.op("SUB", [first, second], (1, 3, 4, 2), q)
    x = build.op(
        "AVERAGE_POOL_2D",
        [x],
        (1, 1, 1, 2),
        q,
        filter_height=3,
        filter_width=4,
        stride_h=1,
        stride_w=1,
        padding="VALID",
    )
    x = build.op("SQUEEZE", [x], (1, 2), q, squeeze_dims=(1, 2))
    return build.build([build.op("DEQUANTIZE", [x], (1, 2), None, dtype="float32")])


def differences() -> QuantizedGraph:
    """Functions and reductions that came later."""
    build, q, shape = GraphBuilder(), quantization(0.1, 3), (1, 4, 6, 4)
    x = build.input("x", shape, q)
    size = build.op("ABS", [x], shape, q)
    less = build.op("NEG", [x], shape, quantization(0.1, -3))
    apart = build.op("SQUARED_DIFFERENCE", [size, x], shape, quantization(0.5, -128))
    roots = build.op("RSQRT", [apart], shape, quantization(0.05, -128))
    soft = build.op("GELU", [x], shape, q, approximate=False)
    largest = build.op("MAXIMUM", [size, soft], shape, q)
    axes = build.constant("axes", np.array([1, 2], np.int32))
    reduced = [
        build.op(name, [largest, axes], (1, 1, 1, 4), q if name != "SUM" else quantization(2.0), keep_dims=True)
        for name in ("SUM", "REDUCE_MAX", "REDUCE_MIN")
    ]
    return build.build([less, roots, *reduced])


@cache
def seeds() -> tuple[bytes, ...]:
    """Return small files that are good; together they hold every operator that is compiled."""
    rng = np.random.default_rng(0)
    models = [bottleneck(), moves(), others(), differences()]
    models += [make(rng, count) for make, count in ((sums, 3), (pools, 3), (means, 3), (functions, 8))]
    return tuple(tflite_bytes(model) for model in models)


@cache
def places(data: bytes) -> tuple[tuple[str, int], ...]:
    """Return type and position of every number that the reader looks at in a file."""
    seen: dict[tuple[str, int], None] = {}

    class Watched(FlatBuffer):
        def scalar(self, kind: str, position: int) -> int | float | bool:
            seen[kind, position] = None
            return super().scalar(kind, position)

        def array(self, kind: str, position: int, count: int) -> np.ndarray:
            for index in range(min(count, 16)):  # of weights and names a few will do
                seen[kind, position + index * _SIZES[kind]] = None
            return super().array(kind, position, count)

    with mock.patch.object(tflite, "FlatBuffer", Watched):
        tflite.parse_tflite(data)
    return tuple(seen)


def case(number: int, files: tuple[bytes, ...] = ()) -> Case:
    """Return the case of a number, made of one of `files` or of the seeds; the same for ever."""
    rng = np.random.default_rng([number, 4])
    files = files or seeds()
    file = files[int(rng.integers(len(files)))]
    data = bytearray(file)
    draw = rng.random()
    if draw < 0.08:
        return Case("cut short", bytes(data[: int(rng.integers(len(data)))]))
    if draw < 0.18:
        for _ in range(int(rng.integers(1, 9))):
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        return Case("bits flipped", bytes(data))
    if draw < 0.23:
        start, length = int(rng.integers(len(data))), int(rng.integers(1, 64))
        taken = files[int(rng.integers(len(files)))]
        data[start : start + length] = taken[int(rng.integers(len(taken))) :][: int(rng.integers(64))]
        return Case("parts replaced", bytes(data))
    spots = places(file)
    count = 1 if draw < 0.8 else int(rng.integers(2, 5))
    for _ in range(count):
        kind, position = spots[int(rng.integers(len(spots)))]
        _overwrite(data, kind, position, rng, spots)
    return Case("one number" if count == 1 else "some numbers", bytes(data))


def _overwrite(data: bytearray, kind: str, position: int, rng: Rng, spots: tuple[tuple[str, int], ...]) -> None:
    """Write an extreme number, a near one, or what stands elsewhere in the file."""
    size = _SIZES[kind]
    old = bytes(data[position : position + size])
    draw = rng.random()
    if kind == "float32" and draw < 0.8:
        new = struct.pack("<f", _FLOATS[int(rng.integers(len(_FLOATS)))] * float(rng.choice([1, 1, -1])))
    elif draw < 0.6:
        word = _WORDS[int(rng.integers(len(_WORDS)))] * int(rng.choice([1, 1, -1]))
        new = (word % (1 << (8 * size))).to_bytes(size, "little")
    elif draw < 0.85:
        near = int.from_bytes(old, "little") + int(rng.choice([-8, -4, -2, -1, 1, 2, 4, 8]))
        new = (near % (1 << (8 * size))).to_bytes(size, "little")
    else:
        other = int(spots[int(rng.integers(len(spots)))][1])
        new = bytes(data[other : other + size]).ljust(size, b"\0")
    data[position : position + size] = new


def read_and_plan(data: bytes) -> str:
    """Take a file all the way to a plan of its memory; returns the stage that refused it, or "planned".

    Whatever is not refused with a NetwrightError is a fault and is raised.
    """
    stage = "reading"
    try:
        model = tflite.parse_tflite(data)
        stage = "lowering"
        network = lower(model)
        stage = "planning"
        schedule(network)
    except NetwrightError:
        return stage
    return "planned"


def hostile() -> Iterator[Case]:
    """Yield files that were thought of rather than drawn: chains, fans and loops of operations, shapes beyond all measure."""
    q = quantization(0.1)
    for operands, dtype in ((1, "int8"), (2, "float32"), (3, "int8")):
        build = GraphBuilder()
        x = build.input("x", (1, 2), q)
        made = build.op("ADD", [x] * operands, (1, 2), q, dtype=dtype)
        yield Case(f"a sum of {operands} to {dtype}", tflite_bytes(build.build([made])))
    for sides in (
        (1, 1 << 15, 1 << 15, 1),
        (1, 1, 1, (1 << 31) - 1),
        (1, 1 << 20, 1 << 20, 1 << 20),
        (0,),
        (1, 0, 5, 3),
        (),
    ):
        build = GraphBuilder()
        x = build.input("x", sides, q)
        yield Case(f"shape {sides}", tflite_bytes(build.build([build.op("RELU", [x], sides, q)])))
    for count in (400, 4000):
        build = GraphBuilder()
        x = build.input("x", (1, 4, 4, 4), q)
        for _ in range(count):
            x = build.op("ADD", [x, x], (1, 4, 4, 4), q)
        yield Case(f"a chain of {count}", tflite_bytes(build.build([x])))
    for count in (30, 300):
        build = GraphBuilder()
        x = build.input("x", (1, 4, 4, 4), q)
        arms = [build.op("LOGISTIC", [x], (1, 4, 4, 4), quantization(1 / 256, -128)) for _ in range(count)]
        joined = build.op("CONCATENATION", arms, (1, 4, 4, 4 * count), quantization(1 / 256, -128), axis=3)
        yield Case(f"a fan of {count}", tflite_bytes(build.build([joined])))
    build = GraphBuilder()
    x = build.input("x", (1, 4, 4, 4), q)
    for _ in range(60):  # each doubles what an order search may try
        a, b = (build.op("MUL", [x, x], (1, 4, 4, 4), q) for _ in range(2))
        x = build.op("ADD", [a, b], (1, 4, 4, 4), q)
    yield Case("a ladder", tflite_bytes(build.build([x])))
    build = GraphBuilder()
    x = build.input("x", (1, 64, 64, 4), q)
    for name, shape in (("weights", (4, 30000, 1, 4)), ("few", (4, 1, 1, 4))):
        made = build.constant(name, np.ones(shape, np.int8), quantization(1e-3))
        bias = build.constant(f"{name} bias", np.full(4, (1 << 31) - 1, np.int32), quantization(1e-4))
        x = build.op("CONV_2D", [x, made, bias], (1, 64, 64, 4), q, stride_h=1, stride_w=1, padding="SAME")
    yield Case("a kernel of 30,000 rows, biases at the end of 32 bits", tflite_bytes(build.build([x])))
