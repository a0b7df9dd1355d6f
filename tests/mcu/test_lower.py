"""Lowering: what is folded, what merges, what is refused; the network computes what the graph does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.graph.files.tflite import load_tflite
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.lower.lower import lower
from netwright.mcu.network import Add, Conv, Copy, Depthwise, Layer, Lookup, Mean, Network, Pool
from netwright.mcu.operators.table import by_name
from netwright.mcu.run.emulate import TOOLS, emulate
from netwright.mcu.run.host import build_host
from netwright.mcu.run.toolchain import missing
from tests.mcu import simple_cases as cases

DATA = Path(os.environ.get("NETWRIGHT_DATA", "none"))
MODELS = (DATA if DATA.is_dir() else DATA.parent) / "models"
real_models = pytest.mark.skipif(not MODELS.is_dir(), reason="NETWRIGHT_DATA has no folder models beside its data")
needs_gcc = pytest.mark.skipif(bool(missing("gcc")), reason=missing("gcc") or "gcc is there")
needs_emulator = pytest.mark.skipif(bool(missing(*TOOLS)), reason=missing(*TOOLS) or "the tools are there")
FOUND = quantization(0.05, -7)


def kinds(network: Network) -> list[type[Layer]]:
    return [type(layer) for layer in network.layers]


def ints(build: GraphBuilder, *values: int) -> int:
    return build.constant(f"ints{len(build.values)}", np.array(values, np.int32))


def pairs(build: GraphBuilder, *values: int) -> int:
    return build.constant(f"pairs{len(build.values)}", np.array(values, np.int32).reshape(-1, 2))


def conv(
    build: GraphBuilder,
    x: int,
    channels: int,
    kernel: int,
    made: tuple[int, ...],
    padding: str = "VALID",
    **options: Any,
) -> int:
    rng = np.random.default_rng(channels)
    per_filter = options.pop("per_filter", build.shape(x)[3])
    weights = rng.integers(-127, 128, (channels, kernel, kernel, per_filter)).astype(np.int8)
    operands = [
        x,
        build.constant(f"weights{len(build.values)}", weights, quantization(rng.uniform(0.001, 0.01, channels), 0, 0)),
        build.constant(f"bias{len(build.values)}", rng.integers(-900, 900, channels).astype(np.int32)),
    ]
    options = {"stride_w": 1, "stride_h": 1, "dilation_w_factor": 1, "dilation_h_factor": 1, **options}
    return build.op("CONV_2D", operands, made, FOUND, padding=padding, **options)


def equal_in_c(model: QuantizedGraph, folder: Path) -> Network:
    network = cases.write_c(model, folder)
    inputs = cases.inputs_of(network, np.random.default_rng(0), 4)
    np.testing.assert_array_equal(build_host(folder).run(inputs), cases.wanted(model, network, inputs))
    return network


@needs_gcc
def test_padding_joins_the_convolutions_that_read_it_and_is_a_copy_for_others(tmp_path: Path) -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 6, 5, 3), FOUND)
    padded = build.op("PAD", [x, pairs(build, 0, 0, 2, 1, 1, 3, 0, 0)], (1, 9, 9, 3), FOUND)
    a = conv(build, padded, 4, 3, (1, 4, 4, 4), stride_w=2, stride_h=2)
    b = conv(build, padded, 4, 3, (1, 9, 9, 4), "SAME")
    model = build.build([a, b])
    network = equal_in_c(model, tmp_path / "folded")
    assert kinds(network) == [Conv, Conv]
    assert [layer.window.padding for layer in network.layers if isinstance(layer, Conv)] == [(2, 1, 1, 3), (3, 2, 2, 4)]
    pooled = build.op(
        "AVERAGE_POOL_2D", [padded], (1, 4, 4, 3), FOUND,
        filter_width=2, filter_height=2, stride_w=2, stride_h=2, padding="VALID",
    )  # fmt: skip
    network = equal_in_c(build.build([a, pooled]), tmp_path / "copied")
    assert kinds(network) == [Conv, Copy, Pool]


@needs_gcc
def test_padding_with_another_value_than_the_zero_point_is_no_padding_of_a_convolution(tmp_path: Path) -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 4, 4, 2), FOUND)
    other = build.constant("value", np.array(5, np.int8), FOUND)
    padded = build.op("PADV2", [x, pairs(build, 0, 0, 1, 1, 1, 1, 0, 0), other], (1, 6, 6, 2), FOUND)
    network = equal_in_c(build.build([conv(build, padded, 3, 3, (1, 4, 4, 3))]), tmp_path)
    assert kinds(network) == [Copy, Conv]


@needs_gcc
@pytest.mark.parametrize(("fill", "layers"), [(-128, [Pool]), (127, [Copy, Pool]), (None, [Copy, Pool])])
def test_the_largest_value_takes_in_padding_that_no_value_is_below(
    fill: int | None, layers: list, tmp_path: Path
) -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 4, 4, 2), FOUND)
    around = pairs(build, 0, 0, 1, 1, 1, 1, 0, 0)
    if fill is None:  # with the real number 0
        padded = build.op("PAD", [x, around], (1, 6, 6, 2), FOUND)
    else:
        value = build.constant("value", np.array(fill, np.int8), FOUND)
        padded = build.op("PADV2", [x, around, value], (1, 6, 6, 2), FOUND)
    pooled = build.op(
        "MAX_POOL_2D", [padded], (1, 3, 3, 2), FOUND,
        filter_width=2, filter_height=2, stride_w=2, stride_h=2, padding="VALID",
    )  # fmt: skip
    assert kinds(equal_in_c(build.build([pooled]), tmp_path)) == layers


@needs_gcc
def test_means_take_a_transposition_in_and_keep_their_roundings(tmp_path: Path) -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 3, 4, 5), FOUND)
    turned = build.op("TRANSPOSE", [x, ints(build, 0, 3, 1, 2)], (1, 5, 3, 4), FOUND)
    first = build.op("MEAN", [turned, ints(build, 3)], (1, 5, 3), quantization(0.04, 3))
    second = build.op("MEAN", [first, ints(build, 2)], (1, 5), quantization(0.03, -9))
    network = equal_in_c(build.build([second]), tmp_path)
    assert kinds(network) == [Mean, Mean]
    assert [layer.axes for layer in network.layers if isinstance(layer, Mean)] == [(1,), (0,)]


@needs_gcc
def test_movements_of_what_was_only_moved_start_where_it_came_from(tmp_path: Path) -> None:
    """ShuffleNet's join, shuffle and split, and a transposition that another undoes."""
    build = GraphBuilder()
    a, b = build.input("a", (1, 3, 2, 4), FOUND), build.input("b", (1, 3, 2, 4), FOUND)
    joined = build.op("CONCATENATION", [a, b], (1, 3, 2, 8), FOUND, axis=3)
    grouped = build.op("RESHAPE", [joined, ints(build, 3, 2, 2, 4)], (3, 2, 2, 4), FOUND)
    turned = build.op("TRANSPOSE", [grouped, ints(build, 0, 1, 3, 2)], (3, 2, 4, 2), FOUND)
    shuffled = build.op("RESHAPE", [turned, ints(build, 1, 3, 2, 8)], (1, 3, 2, 8), FOUND)
    halves = build.op_many("SPLIT", [ints(build, 3), shuffled], [((1, 3, 2, 4), FOUND)] * 2, num_splits=2)
    network = equal_in_c(build.build(halves), tmp_path / "shuffle")
    assert kinds(network) == [Copy, Copy]
    build = GraphBuilder()
    x = build.input("x", (1, 3, 2, 4), FOUND)
    first = build.op("TRANSPOSE", [x, ints(build, 0, 3, 1, 2)], (1, 4, 3, 2), FOUND)
    back = build.op("TRANSPOSE", [first, ints(build, 0, 2, 3, 1)], (1, 3, 2, 4), FOUND)
    made = build.op("LOGISTIC", [back], (1, 3, 2, 4), quantization(1 / 256, -128))
    assert kinds(equal_in_c(build.build([made]), tmp_path / "undone")) == [Lookup]


def test_elements_in_too_many_pieces_are_refused() -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 100, 3), FOUND)
    places = build.constant("places", np.random.default_rng(0).permutation(100).astype(np.int32))
    assert "too many pieces" in refused(build, build.op("GATHER", [x, places], (1, 100, 3), FOUND, axis=1))


@needs_gcc
def test_functions_of_one_value_become_one_table(tmp_path: Path) -> None:
    """Hard-swish as PyTorch's exporters write it: x times relu6(x + 3) / 6."""
    build = GraphBuilder()
    x = build.input("x", (1, 3, 3, 4), FOUND)
    three = build.constant("three", np.array([77], np.int8), quantization(3 / 77))
    sixth = build.constant("sixth", np.array(127, np.int8), quantization(1 / 6 / 127))
    shifted = build.op("ADD", [x, three], (1, 3, 3, 4), quantization(0.07, -20))
    gate = build.op("RELU6", [shifted], (1, 3, 3, 4), quantization(6 / 255, -128))
    product = build.op("MUL", [x, gate], (1, 3, 3, 4), quantization(0.2, -100))
    result = build.op("MUL", [product, sixth], (1, 3, 3, 4), quantization(0.04, -110))
    network = equal_in_c(build.build([result]), tmp_path)
    assert kinds(network) == [Lookup]
    assert network.notes == ("3 layers are left out: no output depends on them",)


@needs_gcc
def test_activations_that_clamp_join_what_makes_their_value_for_them_alone(tmp_path: Path) -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 4, 4, 3), FOUND)
    first = conv(build, x, 6, 3, (1, 2, 2, 6))
    flat = build.op("RESHAPE", [first, ints(build, 1, 24)], (1, 24), FOUND)
    rectified = build.op("RELU", [flat], (1, 24), FOUND)
    clamped = build.op("MINIMUM", [rectified, build.constant("top", np.array(50, np.int8), FOUND)], (1, 24), FOUND)
    second = conv(build, x, 5, 3, (1, 2, 2, 5))
    both = build.op("RELU", [second], (1, 2, 2, 5), FOUND)
    again = build.op("LOGISTIC", [second], (1, 2, 2, 5), quantization(1 / 256, -128))
    network = equal_in_c(build.build([clamped, both, again]), tmp_path)
    assert sorted(kind.__name__ for kind in kinds(network)) == ["Conv", "Conv", "Lookup", "Lookup"]
    joined = next(layer for layer in network.layers if isinstance(layer, Conv))
    assert (joined.requantize.low, joined.requantize.high) == (-7, 50)


@needs_gcc
@pytest.mark.parametrize(("per_filter", "wanted"), [(2, [Copy, Conv, Copy, Conv, Copy]), (1, [Depthwise]), (4, [Conv])])
def test_grouped_convolutions(per_filter: int, wanted: list[type[Layer]], tmp_path: Path) -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 5, 5, 4), FOUND)
    model = build.build([conv(build, x, 8, 3, (1, 3, 3, 8), per_filter=per_filter)])
    assert kinds(equal_in_c(model, tmp_path)) == wanted


@needs_gcc
def test_an_output_that_is_the_input_or_another_output_is_copied(tmp_path: Path) -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 2, 2, 3), FOUND)
    flat = build.op("RESHAPE", [x, ints(build, 1, 12)], (1, 12), FOUND)
    made = build.op("RELU", [flat], (1, 12), FOUND)
    again = build.op("RESHAPE", [made, ints(build, 1, 3, 4)], (1, 3, 4), FOUND)
    network = equal_in_c(build.build([flat, made, again]), tmp_path)
    assert sorted(kind.__name__ for kind in kinds(network)) == ["Copy", "Copy", "Lookup"]


def test_float_borders_are_left_to_the_caller() -> None:
    build = GraphBuilder()
    x = build.input("image", (1, 2, 2, 1), None, "float32")
    stored = build.op("QUANTIZE", [x], (1, 2, 2, 1), FOUND)
    made = build.op("RELU", [stored], (1, 2, 2, 1), FOUND)
    model = build.build([build.op("DEQUANTIZE", [made], (1, 2, 2, 1), None, dtype="float32")])
    network = lower(model)
    assert kinds(network) == [Lookup]
    (image,) = (network.values[value] for value in network.inputs)
    assert (image.name, image.scale, image.zero_point, image.dtype) == ("image", np.float32(0.05), -7, "int8")
    assert len(network.notes) == 2


@needs_gcc
def test_bytes_without_a_sign_at_both_ends_are_shifted_only(tmp_path: Path) -> None:
    build = GraphBuilder()
    x = build.input("image", (1, 2, 3, 2), quantization(0.05, 121), "uint8")
    stored = build.op("QUANTIZE", [x], (1, 2, 3, 2), FOUND)
    made = build.op("LOGISTIC", [stored], (1, 2, 3, 2), quantization(1 / 256, -128))
    model = build.build([build.op("QUANTIZE", [made], (1, 2, 3, 2), quantization(1 / 256, 0), dtype="uint8")])
    assert kinds(equal_in_c(model, tmp_path)) == [Lookup]
    build = GraphBuilder()
    x = build.input("image", (1, 2, 3, 2), quantization(0.06, 121), "uint8")
    assert "rescales" in refused(build, build.op("QUANTIZE", [x], (1, 2, 3, 2), FOUND))


def test_layers_that_nothing_reads_are_left_out() -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 4, 4, 2), FOUND)
    conv(build, x, 8, 3, (1, 2, 2, 8))
    network = lower(build.build([conv(build, x, 3, 3, (1, 2, 2, 3))]))
    assert kinds(network) == [Conv]
    assert len(network.values) == 2
    assert network.macs == 2 * 2 * 3 * 9 * 2


def refused(build: GraphBuilder, *outputs: int) -> str:
    with pytest.raises(NetwrightError) as caught:
        lower(build.build(outputs))
    return str(caught.value)


def test_an_unknown_operator_is_named_with_what_is_supported() -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 2), FOUND)
    message = refused(build, build.op("COS", [x], (1, 2), FOUND, name="wave"))
    assert message.startswith("COS that makes 'wave' cannot be compiled: the operator is not known here.")
    assert all(name in message for name in by_name())


def test_what_does_not_fit_is_refused_with_its_place() -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 4, 4, 2), FOUND)
    assert "the model says 9" in refused(build, conv(build, x, 3, 3, (1, 9, 9, 3)))
    build = GraphBuilder()
    assert "batch of 3" in refused(build, build.op("RELU", [build.input("x", (3, 4), FOUND)], (3, 4), FOUND))
    build = GraphBuilder()
    floats = build.input("x", (1, 4), None, "float32")
    assert "of type float32" in refused(build, build.op("RELU", [floats], (1, 4), None, dtype="float32"))
    build = GraphBuilder()
    x = build.input("x", (1, 2, 2, 1), FOUND)
    weights = build.constant("weights", np.full((1, 2, 2, 1), 100, np.int8), quantization(0.1))
    bias = build.constant("bias", np.array([2**31 - 1], np.int32))
    made = build.op("CONV_2D", [x, weights, bias], (1, 1, 1, 1), FOUND, padding="VALID", stride_w=1, stride_h=1,
                    dilation_w_factor=1, dilation_h_factor=1)  # fmt: skip
    assert "beyond 32 bits" in refused(build, made)
    build = GraphBuilder()
    x = build.input("x", (1, 2, 2, 1), quantization(1e30))
    weights = build.constant("weights", np.full((1, 2, 2, 1), 100, np.int8), quantization(0.1))
    made = build.op("CONV_2D", [x, weights], (1, 1, 1, 1), quantization(1e-5), padding="VALID", stride_w=1, stride_h=1,
                    dilation_w_factor=1, dilation_h_factor=1)  # fmt: skip
    assert "do not fit" in refused(build, made)


@real_models
@pytest.mark.parametrize(
    ("name", "macs", "layers"),
    [
        ("mcunet-vww-int8", 11_578_816, {Conv: 30, Depthwise: 15, Add: 8, Mean: 2}),
        ("mlperf-resnet8-cifar10-int8", 12_501_632, {Conv: 9, Add: 3, Pool: 1}),
        ("mlperf-vww96-int8", 7_489_664, {Conv: 14, Depthwise: 13, Pool: 1}),
        ("tflm-person-detect-int8", 7_157_888, {Conv: 15, Depthwise: 13, Pool: 1}),
    ],
)
def test_real_networks_need_no_copies(name: str, macs: int, layers: dict[type[Layer], int]) -> None:
    network = lower(load_tflite(MODELS / f"{name}.tflite"))
    assert network.macs == macs
    found = kinds(network)
    assert {kind: found.count(kind) for kind in layers} == layers
    assert Copy not in found


@needs_gcc
def test_padding_of_more_channels_than_a_tile_holds(tmp_path: Path) -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 2, 2, 516), FOUND)
    y = build.input("y", (1, 2, 2, 515), FOUND)
    model = build.build([conv(build, x, 6, 3, (1, 2, 2, 6), "SAME"), conv(build, y, 6, 3, (1, 2, 2, 6), "SAME")])
    network = cases.write_c(model, tmp_path)
    inputs = cases.inputs_of(network, np.random.default_rng(0), 3)
    found = build_host(tmp_path, sanitize=True).run(inputs)
    np.testing.assert_array_equal(found, cases.wanted(model, network, inputs))


@needs_emulator
def test_deep_sums_that_24_bits_may_not_hold(tmp_path: Path) -> None:
    """Weights of random bytes: pairs of channels cannot share a product, and the kernel unpacks them one by one."""
    build = GraphBuilder()
    x = build.input("x", (1, 4, 3, 128), FOUND)
    spatial = conv(build, x, 7, 3, (1, 4, 3, 7), "SAME")
    flat = build.op("RESHAPE", [x, ints(build, 1, 1536)], (1, 1536), FOUND)
    weights = np.random.default_rng(0).integers(-127, 128, (5, 1536)).astype(np.int8)
    operands = [flat, build.constant("dense", weights, quantization(0.002))]
    model = build.build([spatial, build.op("FULLY_CONNECTED", operands, (1, 5), quantization(0.3, 4))])
    network = cases.write_c(model, tmp_path)
    inputs = cases.inputs_of(network, np.random.default_rng(0), 4)
    found = emulate(tmp_path, inputs, cpu="cortex-m4").outputs
    np.testing.assert_array_equal(found, cases.wanted(model, network, inputs))
