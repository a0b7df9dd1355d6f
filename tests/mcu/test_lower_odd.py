"""Lowering of odd graphs: operands that stand twice, batches that operations make, outputs that nothing computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.compile import compile_network
from netwright.mcu.lower.lower import lower
from netwright.mcu.network import Copy, Dense, Network
from netwright.mcu.run.toolchain import missing
from tests.mcu.test_lower import FOUND, conv, ints, pairs

needs_gcc = pytest.mark.skipif(bool(missing("gcc")), reason=missing("gcc") or "gcc is there")
SHAPE = (1, 4, 4, 2)
PROBABILITY = quantization(1 / 256, -128)

Make = Callable[[GraphBuilder, int, int], list[int]]  # outputs of the input and a convolution of it


def made(make: Make) -> QuantizedGraph:
    build = GraphBuilder()
    x = build.input("x", SHAPE, FOUND)
    return build.build(make(build, x, conv(build, x, 2, 1, SHAPE)))


def proven(model: QuantizedGraph, folder: Path) -> Network:
    """Compile, which holds the C against the interpreter and raises where they differ."""
    compiled = compile_network(model, folder / "net")
    assert compiled.proven.startswith("equal to the interpreter")
    return compiled.network


def parts(network: Network) -> list[int]:
    return [len(layer.blocks) for layer in network.layers if isinstance(layer, Copy)]


def joined(build: GraphBuilder, operands: list[int], axis: int = 3) -> int:
    shape = list(build.shape(operands[0]))
    shape[axis] = sum(build.shape(operand)[axis] for operand in operands)
    return build.op("CONCATENATION", operands, shape, FOUND, axis=axis)


def twice(build: GraphBuilder, x: int) -> int:
    return joined(build, [x, x], 0)


def of_padded(build: GraphBuilder, x: int, _: int) -> list[int]:
    wide = build.op("PAD", [x, pairs(build, 0, 0, 1, 1, 1, 1, 0, 0)], (1, 6, 6, 2), FOUND)
    return [joined(build, [wide, conv(build, wide, 2, 1, (1, 6, 6, 2)), wide])]


def of_slices(build: GraphBuilder, x: int, _: int) -> list[int]:
    rows = build.op("SLICE", [x, ints(build, 0, 1, 0, 0), ints(build, 1, 2, 4, 2)], (1, 2, 4, 2), FOUND)
    return [joined(build, [rows, conv(build, rows, 2, 1, (1, 2, 4, 2)), rows, x], 1)]


def of_joins(build: GraphBuilder, x: int, k: int) -> list[int]:
    first = joined(build, [x, k, x])
    second = joined(build, [first, k, first, x])
    middle = build.op("SLICE", [second, ints(build, 0, 0, 0, 3), ints(build, 1, 4, 4, 9)], (1, 4, 4, 9), FOUND)
    return [second, middle]


def of_halves(build: GraphBuilder, x: int, k: int) -> list[int]:
    low, high = build.op_many("SPLIT", [ints(build, 3), x], [((1, 4, 4, 1), FOUND)] * 2, num_splits=2)
    return [joined(build, [high, k, low, x, high])]


@needs_gcc
@pytest.mark.parametrize(
    ("make", "copied"),
    [
        (lambda build, x, k: [joined(build, [x, k, x])], [3]),
        (lambda build, x, k: [joined(build, [k, x, x, k], 1)], [4]),
        (lambda build, x, k: [joined(build, [x, k] * 20)], [40]),
        (lambda build, x, k: [build.op("PACK", [x, k, x], (1, 3, 4, 4, 2), FOUND, axis=1, values_count=3)], [2]),
        (of_padded, [1, 3]),
        (of_slices, [1, 4]),
        (of_joins, [8, 5]),
        (of_halves, [5]),
    ],
)
def test_an_operand_may_stand_at_several_places(tmp_path: Path, make: Make, copied: list[int]) -> None:
    assert parts(proven(made(make), tmp_path)) == copied


def dense(build: GraphBuilder, x: int, _: int) -> list[int]:
    flat = build.op("RESHAPE", [twice(build, x), ints(build, 2, 32)], (2, 32), FOUND)
    weights = np.random.default_rng(0).integers(-100, 101, (3, 32)).astype(np.int8)
    operands = [flat, build.constant("weights", weights, quantization(0.01))]
    scores = build.op("FULLY_CONNECTED", operands, (2, 3), quantization(0.2))
    return [build.op("SOFTMAX", [scores], (2, 3), PROBABILITY, beta=1.0)]


def of_one_dimension(build: GraphBuilder, x: int, _: int) -> list[int]:
    flat = build.op("RESHAPE", [x, ints(build, 32)], (32,), FOUND)
    return [build.op("MEAN", [flat, ints(build, 0)], (), FOUND), flat]


@needs_gcc
@pytest.mark.parametrize(
    "make",
    [
        lambda build, x, k: [twice(build, x)],
        lambda build, x, k: [
            build.op("LOGISTIC", [joined(build, [x, k], 0)], (2, 4, 4, 2), PROBABILITY),
            joined(build, [k, x, k], 0),
            k,
        ],
        lambda build, x, k: [build.op("MEAN", [twice(build, x), ints(build, 1, 2)], (2, 2), FOUND)],
        lambda build, x, k: [build.op("MEAN", [joined(build, [x, k], 0), ints(build, 0)], SHAPE[1:], FOUND)],
        lambda build, x, k: [build.op("ADD", [twice(build, x), k], (2, 4, 4, 2), FOUND)],
        lambda build, x, k: [
            build.op("PAD", [twice(build, x), pairs(build, 0, 0, 1, 1, 0, 0, 0, 0)], (2, 6, 4, 2), FOUND)
        ],
        lambda build, x, k: [build.op("TRANSPOSE", [twice(build, x), ints(build, 3, 1, 2, 0)], (2, 4, 4, 2), FOUND)],
        dense,
        of_one_dimension,
    ],
)
def test_operations_may_make_another_batch_than_one(tmp_path: Path, make: Make) -> None:
    proven(made(make), tmp_path)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda build, x, k: [conv(build, twice(build, x), 3, 3, (2, 2, 2, 3))], "CONV_2D"),
        (
            lambda build, x, k: [
                build.op("RESIZE_BILINEAR", [twice(build, x), ints(build, 8, 8)], (2, 8, 8, 2), FOUND, name="larger")
            ],
            "RESIZE_BILINEAR that makes 'larger'",
        ),
    ],
)
def test_what_works_on_single_images_says_so_of_a_batch(make: Make, name: str) -> None:
    with pytest.raises(NetwrightError, match=f"{name} .*One image"):
        lower(made(make))


def alone(build: GraphBuilder, x: int, k: int) -> list[int]:
    return [x]


@needs_gcc
@pytest.mark.parametrize(
    ("make", "copied"),
    [
        (alone, [1]),
        (lambda build, x, k: [x, k], [1]),
        (lambda build, x, k: [k, x, x, k], [1, 1, 1]),
        (lambda build, x, k: [build.input("y", (1, 3), FOUND), k, x], [1, 1]),
        (lambda build, x, k: [build.op("RESHAPE", [x, ints(build, 1, 32)], (1, 32), FOUND), x], [1, 1]),
    ],
)
def test_an_input_that_is_an_output_is_copied(tmp_path: Path, make: Make, copied: list[int]) -> None:
    assert parts(proven(made(make), tmp_path)) == copied


@needs_gcc
def test_a_network_that_computes_nothing_is_a_copy(tmp_path: Path) -> None:
    model = made(alone)
    network = proven(replace(model, graph=replace(model.graph, ops=())), tmp_path)
    assert parts(network) == [1] and len(network.layers) == 1


@needs_gcc
@pytest.mark.parametrize(("dtype", "found"), [("float32", None), ("uint8", quantization(0.05, 121))])
def test_an_input_of_another_type_that_is_an_output_is_given_as_int8(tmp_path: Path, dtype: str, found) -> None:
    build = GraphBuilder()
    x = build.input("x", SHAPE, found, dtype)
    stored = build.op("QUANTIZE", [x], SHAPE, FOUND)
    network = proven(build.build([x, conv(build, stored, 2, 1, SHAPE)]), tmp_path)
    assert parts(network) == [1]
    assert any("output 'x'" in note for note in network.notes)


def test_outputs_that_nothing_makes_are_refused_with_the_reason() -> None:
    build = GraphBuilder()
    x = build.input("x", SHAPE, FOUND)
    fixed = build.constant("anchors", np.zeros((1, 3), np.int8), FOUND)
    with pytest.raises(NetwrightError, match="'anchors' is a constant"):
        lower(build.build([conv(build, x, 2, 1, SHAPE), fixed]))
    model = made(lambda build, x, k: [k])
    with pytest.raises(NetwrightError, match="made by no operation and is no input"):
        lower(replace(model, graph=replace(model.graph, ops=())))


@needs_gcc
def test_dense_layers_that_no_multiplier_rounds_rightly_are_computed_in_float64(tmp_path):
    rng = np.random.default_rng(0)
    graph = GraphBuilder()
    image = graph.input("x", (1, 32), quantization(0.001, 5))
    weights = graph.constant("w", rng.integers(-127, 128, (9, 32), dtype=np.int8), quantization(1.8e-5))
    bias = graph.constant("b", rng.integers(-(1 << 29), 1 << 29, 9, dtype=np.int32), quantization(1.8e-8))
    model = graph.build([graph.op("FULLY_CONNECTED", [image, weights, bias], (1, 9), quantization(0.1, -3))])
    (layer,) = lower(model).layers
    assert isinstance(layer, Dense) and layer.requantize.reals is not None
    compile_network(model, tmp_path / "net")  # held against the interpreter there
