"""Networks converted with a free batch: shapes that are computed, convolutions between blocks, constants that are moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.cost.count import count
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.dilation import dilated
from netwright.graph.integers.fold import folded
from netwright.graph.integers.interpret import interpret
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.lower.lower import lower
from netwright.mcu.network import Add, Conv, Copy, Depthwise
from netwright.mcu.run.toolchain import missing
from tests.mcu.test_lower_odd import proven

needs_gcc = pytest.mark.skipif(bool(missing("gcc")), reason=missing("gcc") or "gcc is there")
Q = quantization(0.05, -4)
RNG = np.random.default_rng(0)


def numbers(build: GraphBuilder, *values: int) -> int:
    return build.constant("n", np.array(values, np.int32))


def number(build: GraphBuilder, value: int) -> int:
    return build.constant("n", np.array(value, np.int32))


def batch_of(build: GraphBuilder, x: int) -> int:
    """The batch as Keras asks for it: SHAPE, and its first entry."""
    shape = build.op("SHAPE", [x], (len(build.shape(x)),), None, dtype="int32", out_type="int32")
    operands = [shape, numbers(build, 0), numbers(build, 1), numbers(build, 1)]
    return build.op("STRIDED_SLICE", operands, (), None, dtype="int32", shrink_axis_mask=1)


def packed(build: GraphBuilder, *parts: int) -> int:
    return build.op("PACK", list(parts), (len(parts),), None, dtype="int32", values_count=len(parts), axis=0)


def filters(build: GraphBuilder, *shape: int) -> int:
    return build.constant("w", RNG.integers(-127, 128, shape).astype(np.int8), quantization(0.01))


def transposed_convolution(build: GraphBuilder, x: int) -> int:
    """Sides of twice the input's, computed from them as an U-Net of free size does."""
    sides = []
    shape = build.op("SHAPE", [x], (4,), None, dtype="int32", out_type="int32")
    for axis in (1, 2):
        operands = [shape, numbers(build, axis), numbers(build, axis + 1), numbers(build, 1)]
        side = build.op("STRIDED_SLICE", operands, (), None, dtype="int32", shrink_axis_mask=1)
        sides.append(build.op("MUL", [side, number(build, 2)], (), None, dtype="int32"))
    size = packed(build, batch_of(build, x), *sides, number(build, 3))
    options = {"padding": "SAME", "stride_h": 2, "stride_w": 2}
    return build.op("TRANSPOSE_CONV", [size, filters(build, 3, 3, 3, 4), x], (1, 12, 12, 3), Q, **options)


def reshape(build: GraphBuilder, x: int) -> int:
    rest = build.op("REDUCE_PROD", [numbers(build, 6, 6, 4), numbers(build, 0)], (), None, dtype="int32")
    return build.op("RESHAPE", [x, packed(build, batch_of(build, x), rest)], (1, 144), Q)


def class_token(build: GraphBuilder, x: int) -> int:
    """A token for every image of the batch, before the pixels."""
    pixels = build.op("RESHAPE", [x, numbers(build, -1, 36, 4)], (1, 36, 4), Q)
    token = build.constant("token", RNG.integers(-128, 128, (1, 1, 4)).astype(np.int8), Q)
    times = packed(build, batch_of(build, x), number(build, 1), number(build, 1))
    tokens = build.op("TILE", [token, times], (1, 1, 4), Q)
    return build.op("CONCATENATION", [tokens, pixels], (1, 37, 4), Q, axis=-2)


def coordinates(build: GraphBuilder, x: int) -> int:
    where = build.constant("where", RNG.integers(-128, 128, (1, 6, 6, 2)).astype(np.int8), Q)
    return build.op("CONCATENATION", [x, where], (1, 6, 6, 6), Q, axis=-1)


def packed_with_a_constant(build: GraphBuilder, x: int) -> int:
    other = build.constant("other", RNG.integers(-128, 128, (1, 6, 6, 4)).astype(np.int8), Q)
    return build.op("PACK", [other, x, other], (1, 6, 6, 3, 4), Q, values_count=3, axis=3)


def sum_of_constants(build: GraphBuilder, x: int) -> int:
    parts = [build.constant("c", RNG.integers(-128, 128, (1, 6, 6, 4)).astype(np.int8), Q) for _ in range(2)]
    return build.op("ADD", [x, build.op("ADD", parts, (1, 6, 6, 4), quantization(0.1))], (1, 6, 6, 4), Q)


def constant_output_of_moves(build: GraphBuilder, x: int) -> int:
    """What is taken from what was joined is the constant again."""
    where = build.constant("where", RNG.integers(-128, 128, (1, 6, 6, 2)).astype(np.int8), Q)
    joined = build.op("CONCATENATION", [x, where], (1, 6, 6, 6), Q, axis=3)
    operands = [joined, numbers(build, 0, 0, 0, 4), numbers(build, 1, 6, 6, 2)]
    taken = build.op("SLICE", operands, (1, 6, 6, 2), Q)
    back = build.op("SLICE", [x, numbers(build, 0, 0, 0, 0), numbers(build, 1, 6, 6, 2)], (1, 6, 6, 2), Q)
    return build.op("SUB", [taken, back], (1, 6, 6, 2), Q)


def constant_matrix_first(build: GraphBuilder, x: int) -> int:
    matrix = build.constant("m", RNG.integers(-128, 128, (1, 1, 3, 6)).astype(np.int8), quantization(0.02, 3))
    return build.op("BATCH_MATMUL", [matrix, x], (1, 6, 3, 4), Q)


def gathered_last(build: GraphBuilder, x: int) -> int:
    return build.op("GATHER", [x, numbers(build, 2, 0, 3, 1, 1)], (1, 6, 6, 5), Q, axis=-1)


def gathered_rows(build: GraphBuilder, x: int) -> int:
    return build.op("GATHER", [x, numbers(build, 5, 0)], (1, 2, 6, 4), Q, axis=-3)


def reversed_(build: GraphBuilder, x: int) -> int:
    return build.op("REVERSE_V2", [x, numbers(build, -1)], (1, 6, 6, 4), Q)


def tiled(build: GraphBuilder, x: int) -> int:
    return build.op("TILE", [x, numbers(build, 1, 2, 1, 3)], (1, 12, 6, 12), Q)


MAKERS = [
    transposed_convolution,
    reshape,
    class_token,
    coordinates,
    packed_with_a_constant,
    sum_of_constants,
    constant_output_of_moves,
    constant_matrix_first,
    gathered_last,
    gathered_rows,
    reversed_,
    tiled,
]


def made(make: Callable[[GraphBuilder, int], int]) -> QuantizedGraph:
    build = GraphBuilder()
    x = build.input("x", (1, 6, 6, 4), Q)
    return build.build([make(build, x)])


@needs_gcc
@pytest.mark.parametrize("make", MAKERS)
def test_what_does_not_depend_on_the_input_is_constant(make: Callable, tmp_path: Path) -> None:
    proven(made(make), tmp_path)


@pytest.mark.parametrize("make", MAKERS)
def test_images_at_once_are_images_one_by_one(make: Callable) -> None:
    model = made(make)
    x = RNG.integers(-128, 128, (3, 6, 6, 4)).astype(np.int8)
    together = interpret(model, [x])[0]
    alone = [interpret(model, [one[None]])[0] for one in x]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_constants_are_read_from_flash_and_take_no_arena() -> None:
    network = lower(made(coordinates))
    (layer,) = network.layers
    assert isinstance(layer, Copy) and len(layer.inputs) == 1 and len(layer.constants) == 1


def test_nothing_of_shapes_is_left_and_tensors_keep_their_numbers() -> None:
    model = made(transposed_convolution)
    simple = folded(model)
    assert [op.kind for op in simple.graph.ops] == ["tflite.TRANSPOSE_CONV"]
    assert simple.graph.tensors == model.graph.tensors and simple.names == model.names
    size = simple.graph.ops[0].inputs[0]
    np.testing.assert_array_equal(simple.values[size], [1, 12, 12, 3])


def test_what_would_be_larger_than_stated_is_not_computed() -> None:
    """A file may say that a number is repeated a billion times."""
    build = GraphBuilder()
    x = build.input("x", (1, 4), Q)
    token = build.constant("token", np.zeros((1, 4), np.int8), Q)
    huge = build.op("TILE", [token, numbers(build, 1, 1 << 30)], (1, 4), Q)
    model = build.build([build.op("ADD", [x, huge], (1, 4), Q)])
    assert len(folded(model).graph.ops) == 2
    with pytest.raises(NetwrightError, match="TILE"):
        lower(model)


def between_blocks(
    build: GraphBuilder, x: int, block: tuple[int, ...], widths: list, crops: list, stated: int, **conv
) -> int:
    """A convolution of every n-th pixel; `stated`: the batch that the file says between the blocks."""
    shape = build.shape(x)
    sides = [(side + sum(pair)) // step for side, pair, step in zip(shape[1:], widths, block, strict=False)]
    blocks = build.op(
        "SPACE_TO_BATCH_ND", [x, numbers(build, *block), build.indices("p", widths)], (stated, *sides, 4), Q
    )
    kernel, padding = conv.get("kernel", 3), conv.get("padding", "VALID")
    if padding == "VALID":
        sides = [side - kernel + 1 for side in sides]
    depthwise = conv.get("depthwise", False)
    weights = filters(build, 1, kernel, kernel, 4) if depthwise else filters(build, 5, kernel, kernel, 4)
    channels = 4 if depthwise else 5
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    operands = [blocks, weights, build.constant("b", RNG.integers(-999, 999, channels).astype(np.int32))]
    options = {"stride_h": 1, "stride_w": 1, "padding": padding} | ({"depth_multiplier": 1} if depthwise else {})
    y = build.op(name, operands, (stated, *sides, channels), quantization(0.2, 7), **options)
    y = build.op("RELU", [y], (stated, *sides, channels), quantization(0.1, -128))
    whole = [side * step - sum(pair) for side, step, pair in zip(sides, block, crops, strict=True)]
    operands = [y, numbers(build, *block), build.indices("c", crops)]
    return build.op("BATCH_TO_SPACE_ND", operands, (1, *whole, channels), quantization(0.1, -128))


@needs_gcc
@pytest.mark.parametrize("stated", [1, 0])
@pytest.mark.parametrize(
    ("block", "widths", "crops", "conv"),
    [
        ((2, 2), [[0, 0], [0, 1]], [[0, 0], [0, 0]], {}),
        ((2, 3), [[2, 2], [3, 4]], [[0, 0], [0, 1]], {}),
        ((3, 2), [[3, 2], [2, 1]], [[1, 0], [0, 2]], {"padding": "SAME"}),
        ((2, 2), [[2, 2], [2, 3]], [[0, 0], [0, 0]], {"depthwise": True}),
        ((4, 4), [[4, 2], [4, 1]], [[0, 2], [0, 3]], {"kernel": 1}),
    ],
)
def test_convolutions_between_blocks_are_dilated_ones(
    block: tuple, widths: list, crops: list, conv: dict, stated: int, tmp_path: Path
) -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 10, 11, 4), Q)
    model = build.build([between_blocks(build, x, block, widths, crops, stated or int(np.prod(block)), **conv)])
    network = proven(model, tmp_path)  # against the interpreter, which makes the blocks
    (layer,) = [layer for layer in network.layers if isinstance(layer, Conv | Depthwise)]
    assert layer.window.dilation == block
    assert layer.macs(network.values) == count(dilated(model).graph).macs


def causal(build: GraphBuilder, x: int, dilation: int) -> int:
    """Conv1D with causal padding, as Keras converts it, and a sum with its input."""
    length = build.shape(x)[1]
    padded = build.op("PAD", [x, build.indices("p", [[0, 0], [dilation, 0], [0, 0]])], (1, length + dilation, 4), Q)
    rest = -(length + dilation) % dilation
    side = (length + dilation + rest) // dilation
    operands = [padded, numbers(build, dilation), build.indices("p", [[0, rest]])]
    y = build.op("SPACE_TO_BATCH_ND", operands, (1, side, 4), Q)
    y = build.op("EXPAND_DIMS", [y, number(build, -3)], (1, 1, side, 4), Q)
    options = {"stride_h": 1, "stride_w": 1, "padding": "VALID"}
    y = build.op("CONV_2D", [y, filters(build, 4, 1, 2, 4)], (1, 1, side - 1, 4), Q, **options)
    y = build.op("RESHAPE", [y, numbers(build, -1, side - 1, 4)], (1, side - 1, 4), Q)
    operands = [y, numbers(build, dilation), build.indices("c", [[0, rest]])]
    y = build.op("BATCH_TO_SPACE_ND", operands, (1, length, 4), Q)
    return build.op("ADD", [x, y], (1, length, 4), Q)


@needs_gcc
def test_a_temporal_network_of_causal_convolutions_moves_nothing(tmp_path: Path) -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 15, 4), Q)
    for dilation in (2, 4, 3):
        x = causal(build, x, dilation)
    network = proven(build.build([x]), tmp_path)
    convolutions = [layer for layer in network.layers if isinstance(layer, Conv)]
    assert [layer.window.dilation for layer in convolutions] == [(1, 2), (1, 4), (1, 3)]
    assert {type(layer) for layer in network.layers} <= {Conv, Add, Copy}


def test_blocks_that_something_else_reads_stay() -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 4, 4, 4), Q)
    blocks = build.op(
        "SPACE_TO_BATCH_ND", [x, numbers(build, 2, 2), build.indices("p", [[0, 0], [0, 0]])], (4, 2, 2, 4), Q
    )
    whole = build.op(
        "BATCH_TO_SPACE_ND", [blocks, numbers(build, 2, 2), build.indices("p", [[0, 0], [0, 0]])], (1, 4, 4, 4), Q
    )
    model = build.build([whole])
    assert dilated(model).graph.ops == model.graph.ops
    assert lower(model).layers == () or all(isinstance(layer, Copy) for layer in lower(model).layers)
    values = np.arange(64, dtype=np.int8).reshape(1, 4, 4, 4)
    np.testing.assert_array_equal(interpret(model, [values])[0], values)


def test_blocks_are_every_nth_pixel() -> None:
    """Pixel by pixel, from the definition: image b of the result begins at pixel (b // 3, b % 3)."""
    build = GraphBuilder()
    x = build.input("x", (1, 3, 4, 2), Q)
    operands = [x, numbers(build, 2, 3), build.indices("p", [[1, 0], [0, 2]])]
    model = build.build([build.op("SPACE_TO_BATCH_ND", operands, (6, 2, 2, 2), Q)])
    given = RNG.integers(-128, 128, (1, 3, 4, 2)).astype(np.int8)
    found = interpret(model, [given])[0]
    for image in range(6):
        for row in range(2):
            for column in range(2):
                y, x_ = 2 * row + image // 3 - 1, 3 * column + image % 3
                inside = 0 <= y < 3 and 0 <= x_ < 4
                np.testing.assert_array_equal(found[image, row, column], given[0, y, x_] if inside else [-4, -4])
