"""The graph builder: what it leaves out, shares and names."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.graph.files.tflite import parse_tflite
from netwright.graph.files.tflite_writer import tflite_bytes
from netwright.graph.integers.builder import GraphBuilder, defaults, quantization
from netwright.graph.integers.interpret import interpret

FOUND = quantization(0.1, 3)


def test_what_no_output_needs_is_left_out_and_the_rest_is_numbered_anew() -> None:
    build = GraphBuilder()
    x, unread = build.input("x", (1, 4), FOUND), build.input("unread", (1, 2), FOUND)
    lost = build.op("RELU", [x], (1, 4), FOUND, name="lost")
    build.op("RELU", [lost], (1, 4), FOUND, name="lost too")
    build.constant("nobody's", np.zeros(3, np.int8), FOUND)
    kept = build.op("LOGISTIC", [x], (1, 4), quantization(1 / 256, -128), name="kept")
    model = build.build([kept])
    assert model.names == ("x", "unread", "kept")
    assert [op.kind for op in model.graph.ops] == ["tflite.LOGISTIC"]
    assert model.graph.inputs == (x, unread)
    assert model.graph.outputs == (2,)
    assert not model.values
    assert len(model.graph.storages) == 3
    stored = np.arange(4, dtype=np.int8)[None]
    got = interpret(model, [stored, np.zeros((1, 2), np.int8)])[0]
    real = 1 / (1 + np.exp(-0.1 * (stored.astype(float) - 3)))
    assert np.abs(got.astype(int) + 128 - 256 * real).max() <= 1
    assert len(build.build([lost]).graph.ops) == 1  # building takes nothing away from the builder


def test_equal_numbers_that_say_how_to_compute_are_one_tensor() -> None:
    build = GraphBuilder()
    first = build.indices("a", (2, 3))
    assert build.indices("b", (2, 3)) == first
    assert build.constant("c", np.array([[2], [3]], np.int32)) != first
    assert build.constant("d", np.array([2, 3], np.int64)) != first
    assert build.constant("e", np.array([2, 3], np.int32), quantization(0.5)) != first
    assert build.constant("f", np.zeros(2, np.float32)) != build.constant("g", np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        build.values[first][0] = 9


def test_names_are_told_apart() -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 4), FOUND)
    one, other = (build.op("RELU", [x], (1, 4), FOUND, name="x") for _ in range(2))
    assert build.build([one, other]).names == ("x", "x.2", "x.3")


def test_a_view_of_a_view_is_on_the_first_storage() -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 4), FOUND)
    build.op("RELU", [x], (1, 4), FOUND)  # left out: storages are numbered anew
    made = build.op("RELU", [x], (1, 4), FOUND)
    once = build.op("RESHAPE", [made, build.indices("s", (2, 2))], (2, 2), FOUND, new_shape=(2, 2))
    twice = build.op("RESHAPE", [once, build.indices("t", (4, 1))], (4, 1), FOUND, new_shape=(4, 1))
    graph = build.build([twice]).graph
    storages = [graph.tensors[op.outputs[0]].storage for op in graph.ops]
    assert len(set(storages)) == 1
    assert [op.view for op in graph.ops] == [False, True, True]
    assert sum(storage.bytes for storage in graph.storages if storage.role == "activation") == 4


def test_options_are_the_schemas_unless_stated() -> None:
    assert defaults("CONV_2D")["padding"] == "SAME"
    assert defaults("CONV_2D")["dilation_w_factor"] == 1
    assert defaults("ADD")["pot_scale_int16"] is True
    assert defaults("SOFTMAX") == {"beta": 0.0}
    build = GraphBuilder()
    x = build.input("x", (1, 4), FOUND)
    weights = build.constant("w", np.ones((2, 4), np.int8), quantization(0.1))
    full, bare = (
        build.op("FULLY_CONNECTED", [x, weights], (1, 2), FOUND, **given) for given in ({}, {"quant_spec": None})
    )
    first, second = build.build([full, bare]).graph.ops
    assert first.arguments["quant_spec"] == ()
    assert "quant_spec" not in second.arguments
    read = parse_tflite(tflite_bytes(build.build([full, bare])))
    assert (
        dict(read.graph.ops[0].arguments)
        == dict(first.arguments)
        == dict(read.graph.ops[1].arguments) | {"inputs": first.arguments["inputs"]}
    )


def test_mistakes_are_named() -> None:
    build = GraphBuilder()
    x = build.input("x", (1, 4), FOUND)
    with pytest.raises(NetwrightError, match="Did you mean 'SOFTMAX'"):
        build.op("SOFTMX", [x], (1, 4), FOUND)
    with pytest.raises(NetwrightError, match="Did you mean 'beta'"):
        build.op("SOFTMAX", [x], (1, 4), FOUND, bata=1.0)
    with pytest.raises(NetwrightError, match="at least one output"):
        build.build([])


def test_one_scale_has_no_axis() -> None:
    assert quantization([0.5], 0, 3).axis is None
    assert quantization([0.5, 0.25], 0, 3).axis == 3
