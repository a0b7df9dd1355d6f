"""Written .tflite files read back as they were."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.mcu_cases import MAKERS, random_case
from netwright.core.errors import NetwrightError
from netwright.graph.files.flatbuffer_writer import Scalar, Vector, serialize
from netwright.graph.files.tflite import load_tflite, parse_tflite
from netwright.graph.files.tflite_writer import tflite_bytes, write_tflite
from netwright.graph.integers.builder import GraphBuilder, defaults, quantization
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.graph.integers.schema import OPERATORS, options_of
from tests.graph.tflite_files import small_network


def assert_same(one: QuantizedGraph, other: QuantizedGraph) -> None:
    a, b = one.graph, other.graph
    assert (a.inputs, a.outputs, one.names, one.variables) == (b.inputs, b.outputs, other.names, other.variables)
    assert [(t.shape, t.dtype) for t in a.tensors] == [(t.shape, t.dtype) for t in b.tensors]
    assert one.description == other.description
    for mine, theirs in zip(a.ops, b.ops, strict=True):
        assert (mine.kind, mine.inputs, mine.outputs, mine.view) == (
            theirs.kind,
            theirs.inputs,
            theirs.outputs,
            theirs.view,
        )
        assert dict(mine.arguments) == dict(theirs.arguments)
    for mine, theirs in zip(one.quantization, other.quantization, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert mine.axis == theirs.axis
            np.testing.assert_array_equal(mine.scale, theirs.scale)
            np.testing.assert_array_equal(mine.zero_point, theirs.zero_point)
    assert one.values.keys() == other.values.keys()
    for index, values in one.values.items():
        np.testing.assert_array_equal(values, other.values[index])


@pytest.mark.parametrize("number", range(3 * len(MAKERS)))
def test_random_networks_read_back_as_they_were(number: int) -> None:
    model = random_case(number).model
    assert_same(model, parse_tflite(tflite_bytes(model)))


def test_a_file_of_another_writer_survives_reading_and_writing(tmp_path: Path) -> None:
    model = parse_tflite(small_network())
    write_tflite(model, tmp_path / "again.tflite")
    assert_same(model, load_tflite(tmp_path / "again.tflite"))


def network(values: np.ndarray, dtype: str = "", **options: Any) -> QuantizedGraph:
    builder = GraphBuilder(description="a text with ü")
    at = builder.input("x", (1, 4), quantization(0.5, 3))
    constant = builder.constant("w", values, quantization(0.25), dtype)
    return builder.build([builder.op("ADD", [at, constant], (1, 4), quantization(0.5, 3), **options)])


@pytest.mark.parametrize(("dtype", "low", "high"), [("int4", -8, 8), ("int2", -2, 2), ("uint4", 0, 16)])
@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_narrow_types_are_packed(dtype: str, low: int, high: int, count: int) -> None:
    stored = np.int8 if dtype.startswith("int") else np.uint8
    values = np.random.default_rng(count).integers(low, high, (1, count)).astype(stored)
    model = network(values, dtype)
    again = parse_tflite(tflite_bytes(model))
    assert again.graph.tensors[1].dtype == dtype
    np.testing.assert_array_equal(again.values[1], values)


def test_an_invalid_quantized_dimension_is_written_right_once_read() -> None:
    """As of tflm-person-detect: 8 scales of depthwise weights (1, 3, 3, 8) said to lie along axis 0, which LiteRT refuses."""
    builder = GraphBuilder()
    at = builder.input("x", (1, 4, 4, 8), quantization(0.5, 3))
    weights = builder.constant("w", np.ones((1, 3, 3, 8), np.int8), quantization(np.full(8, 0.1), 0, axis=0))
    options: dict[str, Any] = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "depth_multiplier": 1}
    out = builder.op("DEPTHWISE_CONV_2D", [at, weights], (1, 2, 2, 8), quantization(0.5, 3), **options)
    read = parse_tflite(tflite_bytes(builder.build([out])))
    assert "invalid quantized_dimension" in read.graph.notes[0]
    again = parse_tflite(tflite_bytes(read))
    assert again.graph.notes == ()
    assert again.quantization[1] is not None
    assert again.quantization[1].axis == 3


def test_every_operator_keeps_its_options() -> None:
    rng = np.random.default_rng(0)
    for operator in OPERATORS:
        if operator in ("CUSTOM", "DELEGATE"):
            continue
        options = {}
        for name, value in defaults(operator).items():
            kind = dict(field.split(":") for field in options_of(operator)[2].split() if not field.startswith("_"))[
                name
            ]
            if kind.startswith("int32s"):
                options[name] = tuple(rng.integers(0, 9, 3).tolist())
            elif kind.split("=")[0] in ("int32", "int64", "uint32"):
                options[name] = int(rng.integers(1, 9))
            elif kind.startswith("float32") and not kind.endswith("s"):
                options[name] = float(np.float32(rng.random()))
            else:
                options[name] = value
        builder = GraphBuilder()
        at = builder.input("x", (1, 4), None, "float32")
        model = builder.build([builder.op(operator, [at, None], (1, 4), None, dtype="float32", **options)])
        again = parse_tflite(tflite_bytes(model)).graph.ops[0]
        assert again.kind == f"tflite.{operator}"
        assert dict(again.arguments) == {**dict(model.graph.ops[0].arguments), **options}


def test_custom_operators_keep_their_bytes() -> None:
    model = network(np.zeros((1, 4), np.int8))
    op = model.graph.ops[0]
    arguments = {"inputs": op.arguments["inputs"], "custom_options": np.arange(7, dtype=np.uint8)}
    custom = type(op)("tflite.custom.Mine", op.inputs, op.outputs, arguments)
    graph = type(model.graph)(**{**model.graph.__dict__, "ops": (custom,)})
    again = parse_tflite(tflite_bytes(QuantizedGraph(graph, model.names, model.quantization, model.values)))
    assert again.graph.ops[0].kind == "tflite.custom.Mine"
    assert again.graph.ops[0].arguments["custom_options"].tolist() == list(range(7))


def test_numbers_are_aligned_to_their_size_from_the_start_of_the_file() -> None:
    """Readers other than ours map the file and read numbers where they lie."""
    values = np.array([1, 2, 3], np.int64)
    for text in ("", "a", "abc", "abcdefg"):
        data = serialize({0: text, 1: Scalar("int64", -5), 2: Vector(values), 3: Scalar("bool", value=True)}, b"TEST")
        table = struct.unpack_from("<I", data)[0]
        vtable = table - struct.unpack_from("<i", data, table)[0]
        slots = struct.unpack_from("<4H", data, vtable + 4)
        assert table % 4 == 0
        assert (table + slots[1]) % 8 == 0
        assert struct.unpack_from("<q", data, table + slots[1])[0] == -5
        place = table + slots[2]
        vector = place + struct.unpack_from("<I", data, place)[0]
        assert (vector + 4) % 8 == 0
        assert data[vector + 4 : vector + 28] == values.tobytes()


def test_what_the_format_does_not_have_is_refused() -> None:
    with pytest.raises(NetwrightError, match=r"ADDD.*Did you mean 'ADD'"):
        GraphBuilder().op("ADDD", [], (1,), None)
    with pytest.raises(NetwrightError, match="option of ADD 'strid'"):
        network(np.zeros((1, 4), np.int8), strid=1)
    with pytest.raises(NetwrightError, match="fused_activation_function of ADD 'GELU'"):
        tflite_bytes(network(np.zeros((1, 4), np.int8), fused_activation_function="GELU"))
    model = network(np.zeros((1, 4), np.int8))
    sparse = QuantizedGraph(model.graph, model.names, model.quantization, {1: np.zeros(3, np.uint8)})
    with pytest.raises(NetwrightError, match="sparse"):
        tflite_bytes(sparse)
