"""Reading .tflite files: what is in them, what is wrong with them, and nothing but NetwrightError for either."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.core.errors import NetwrightError
from netwright.cost.count import count
from netwright.cost.rules.tflite import RULES
from netwright.graph.files.tflite import load_tflite, parse_tflite, read_tflite
from netwright.graph.graph import Ref
from netwright.graph.integers.schema import OPERATORS
from tests.graph.tflite_files import File, Table, small_network

SMALL = small_network()
DATA = Path(os.environ.get("NETWRIGHT_DATA", "none"))
MODELS = (DATA if DATA.is_dir() else DATA.parent) / "models"
real_models = pytest.mark.skipif(not MODELS.is_dir(), reason="NETWRIGHT_DATA has no folder models beside its data")


def macs(graph) -> int:
    return sum(work.macs for op in graph.ops if not op.view and (work := RULES[op.kind](graph, op)))


def test_operations_options_and_tensors_of_a_small_network() -> None:
    model = parse_tflite(SMALL)
    graph = model.graph
    assert [op.kind.removeprefix("tflite.") for op in graph.ops] == [
        *("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "AVERAGE_POOL_2D", "RESHAPE", "FULLY_CONNECTED")
    ]
    conv, depthwise, add, pool, reshape, linear = graph.ops
    assert conv.arguments == {
        "inputs": [Ref(0), Ref(1), Ref(2)],
        "padding": "SAME",
        "stride_w": 2,
        "stride_h": 2,
        "fused_activation_function": "RELU6",
        "dilation_w_factor": 1,
        "dilation_h_factor": 1,
        "quantized_bias_type": "float32",
    }
    assert depthwise.inputs == (3, 4, 12)
    assert linear.arguments["inputs"][2] is None and len(linear.inputs) == 2
    assert (pool.arguments["filter_height"], pool.arguments["padding"]) == (4, "VALID")
    assert add.arguments["pot_scale_int16"] is True
    assert reshape.view and graph.tensors[reshape.outputs[0]].storage == graph.tensors[reshape.inputs[0]].storage
    assert not linear.view
    assert conv.path == "net.relu"
    assert graph.tensors[conv.outputs[0]].shape == (1, 4, 4, 4)
    assert (graph.storage(0).role, graph.storage(0).name) == ("input", "image")
    assert (graph.inputs, graph.outputs) == ((0,), (11,))
    assert graph.params == 108 + 4 + 36 + 4 + 8
    assert macs(graph) == 4 * 4 * 4 * 27 + 4 * 4 * 4 * 9 + 2 * 4


def test_constants_are_views_of_the_file_and_quantization_is_per_channel() -> None:
    model = parse_tflite(SMALL)
    weights = model.values[1]
    assert weights.dtype == np.int8 and weights.shape == (4, 3, 3, 3)
    assert np.array_equal(weights, np.random.default_rng(0).integers(-9, 9, (4, 3, 3, 3), np.int8))
    assert not weights.flags.writeable and not weights.flags.owndata
    found = model.quantization[1]
    assert found is not None and found.axis == 0
    np.testing.assert_array_equal(found.scale, np.asarray([0.1, 0.2, 0.3, 0.4], np.float32))
    np.testing.assert_array_equal(found.zero_point, [0, 0, 0, 0])
    image = model.quantization[0]
    assert image is not None and image.axis is None and (image.scale[0], image.zero_point[0]) == (0.5, -3)
    assert model.quantization[8] is None
    assert model.values[2].dtype == np.dtype("int32")
    assert model.graph.storage(8).role == "constant"
    assert model.names[11] == "logits"


def one_op(name: str, shapes: list[tuple[int, ...]], out: tuple[int, ...], number: int = 0, options=None) -> File:
    file = File()
    inputs = [file.tensor(shapes[0], "int32" if name == "TRANSPOSE_CONV" else "float32")]
    inputs += [file.tensor(shape, "float32", np.zeros(shape, np.float32)) for shape in shapes[1:]]
    y = file.tensor(out, "float32")
    file.op(name, inputs, [y], number, options)
    return file


def parse_one(file: File):
    return parse_tflite(file.data([0], [len(file.tensors) - 1])).graph


def test_narrow_types_are_unpacked_and_half_precision_is_read() -> None:
    file = File()
    file.tensor((2, 3), "int4", bytes([0x87, 0xF1, 0x20]), scale=1.0)
    file.tensor((5,), "int2", bytes([0b11_10_01_00, 0b01]), scale=1.0)
    file.tensor((2,), "uint4", bytes([0xF1]), scale=1.0)
    file.tensor((2,), "float16", np.asarray([1.5, -2], np.float16))
    file.tensor((2,), "bfloat16", np.asarray([0x3F80, 0x4000], np.uint16))
    file.tensor((1, 2), "int16", np.asarray([[-30000, 7]], np.int16), scale=0.01)
    model = parse_tflite(file.data([], []))
    np.testing.assert_array_equal(model.values[0], [[7, -8, 1], [-1, 0, 2]])
    np.testing.assert_array_equal(model.values[1], [0, 1, -2, -1, 1])
    np.testing.assert_array_equal(model.values[2], [1, 15])
    np.testing.assert_array_equal(model.values[3], np.asarray([1.5, -2], np.float16))
    np.testing.assert_array_equal(model.values[4], [0x3F80, 0x4000])
    np.testing.assert_array_equal(model.values[5], [[-30000, 7]])
    assert [storage.bytes for storage in model.graph.storages] == [3, 2, 1, 4, 4, 4]
    assert model.graph.params == 6 + 5 + 2 + 2 + 2 + 2


def test_a_state_that_is_kept_between_runs_is_a_buffer_that_is_written() -> None:
    file = File()
    x = file.tensor((2, 1, 3), "float32")
    weights = [file.tensor((4, 3), "float32", np.zeros((4, 3), np.float32)) for _ in range(4)]
    recurrent = [file.tensor((4, 4), "float32", np.zeros((4, 4), np.float32)) for _ in range(4)]
    biases = [file.tensor((4,), "float32", np.zeros(4, np.float32)) for _ in range(4)]
    states = [file.tensor((1, 4), "float32", extra={5: ("bool", True)}) for _ in range(2)]
    y = file.tensor((2, 1, 4), "float32")
    operands = [x, *weights, *recurrent, -1, -1, -1, *biases, -1, -1, *states]
    file.op("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, [y], 71, {0: ("int8", 4), 3: ("bool", True)})
    model = parse_tflite(file.data([x], [y]))
    assert model.variables == tuple(states)
    op = model.graph.ops[0]
    assert {model.graph.storages[number].role for number in op.writes} == {"buffer"} and len(op.writes) == 2
    assert macs(model.graph) == 2 * 4 * (12 + 16)  # two steps, four gates
    assert op.arguments["fused_activation_function"] == "TANH"


@pytest.mark.parametrize(
    ("name", "shapes", "out", "number", "options", "expected"),
    [
        ("TRANSPOSE_CONV", [(4,), (5, 3, 3, 2), (1, 4, 4, 2)], (1, 8, 8, 5), 49, {1: ("int32", 2), 2: ("int32", 2)}, 4 * 4 * 90),
        ("BATCH_MATMUL", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), 101, {}, 2 * 3 * 4 * 5),
        ("BATCH_MATMUL", [(2, 4, 3), (2, 4, 5)], (2, 3, 5), 101, {0: ("bool", True)}, 2 * 3 * 4 * 5),
        ("CONV_3D", [(1, 4, 4, 4, 2), (3, 3, 3, 2, 6)], (1, 4, 4, 4, 6), 106, {1: ("int32", 1), 2: ("int32", 1), 3: ("int32", 1)}, 64 * 6 * 54),
        ("CONV_2D", [(1, 4, 4, 8), (6, 1, 1, 2)], (1, 4, 4, 6), 1, {1: ("int32", 1), 2: ("int32", 1)}, 16 * 6 * 2),
        ("FULLY_CONNECTED", [(2, 3, 8), (5, 8)], (2, 3, 5), 8, {}, 6 * 8 * 5),
        ("SVDF", [(2, 8), (6, 8), (6, 10)], (2, 3), 6, {}, 2 * (48 + 60)),
        ("SOFTMAX", [(2, 8)], (2, 8), 9, {}, 0),
    ],
)  # fmt: skip
def test_products_are_counted(name, shapes, out, number, options, expected) -> None:
    graph = parse_one(one_op(name, shapes, out, number, options))
    assert macs(graph) == expected
    assert count(graph).macs_by_dtype == ({"float32": expected} if expected else {})


def test_flops_of_what_makes_no_products() -> None:
    def flops(name, shapes, out, number=0, options=None):
        graph = parse_one(one_op(name, shapes, out, number, options))
        work = RULES[graph.ops[0].kind](graph, graph.ops[0])
        assert work is not None and work.macs == 0
        return work.group, work.flops

    assert flops("ADD", [(2, 8), (2, 8)], (2, 8), 11, {0: ("int8", 3)}) == ("elementwise", 16 * 3)
    assert flops("MEAN", [(1, 4, 4, 2), (2,)], (1, 2), 27, {}) == ("norm", 32)
    pool = {1: ("int32", 2), 2: ("int32", 2), 3: ("int32", 3), 4: ("int32", 2)}
    assert flops("MAX_POOL_2D", [(1, 4, 4, 2)], (1, 2, 2, 2), 5, pool) == ("norm", 8 * 6)
    assert flops("PAD", [(1, 4, 4, 2), (4, 2)], (1, 6, 6, 2)) == ("move", 0)
    assert flops("HARD_SWISH", [(2, 8)], (2, 8)) == ("elementwise", 64)


def test_every_operator_without_a_price_runs_others_or_is_unknown() -> None:
    unpriced = {name for name in OPERATORS if f"tflite.{name}" not in RULES}
    assert unpriced == {
        *(
            "CUSTOM",
            "DELEGATE",
            "PLACEHOLDER_FOR_GREATER_OP_CODES",
            "CALL",
            "CALL_ONCE",
            "IF",
            "WHILE",
            "LSH_PROJECTION",
        ),
        *(
            "SKIP_GRAM",
            "EMBEDDING_LOOKUP_SPARSE",
            "RFFT2D",
            "BUCKETIZE",
            "STABLEHLO_CUSTOM_CALL",
            "STABLEHLO_COMPOSITE",
        ),
        *("STABLEHLO_WHILE", "STABLEHLO_CASE", "REDUCE_WINDOW"),
    }
    assert len(OPERATORS) == len(set(OPERATORS)) == 210


def test_a_custom_operator_keeps_its_options() -> None:
    file = one_op("TFLite_Detection_PostProcess", [(1, 4)], (1, 4))
    file.ops[0].fields[5] = b"\x01\x02"
    op = parse_one(file).ops[0]
    assert op.kind == "tflite.custom.TFLite_Detection_PostProcess"
    assert op.arguments["custom_options"].tolist() == [1, 2]


def test_the_newer_field_holds_operators_beyond_127() -> None:
    assert parse_one(one_op("GELU", [(2,)], (2,))).ops[0].kind == "tflite.GELU"


def test_files_from_before_the_newer_field_hold_operators_in_the_old_one() -> None:
    file = File()
    ends = [file.tensor((2,)), file.tensor((2,))]
    file.op("LOGISTIC", ends[:1], ends[1:])
    del file.codes[0].fields[3]
    assert parse_tflite(file.data(ends[:1], ends[1:])).graph.ops[0].kind == "tflite.LOGISTIC"


def test_an_invalid_quantized_dimension_is_read_where_only_one_axis_fits() -> None:
    file = File()
    file.tensor((4,), "int32", np.zeros(4, np.int32), scale=[1.0] * 4, zero_point=[0] * 4, axis=3)
    model = parse_tflite(file.data([], []))
    assert model.quantization[0] is not None and model.quantization[0].axis == 0
    assert "1 tensors have an invalid quantized_dimension" in model.graph.notes[0]
    file = File()
    file.tensor((4, 4), values=np.zeros((4, 4), np.int8), scale=[1.0] * 4, zero_point=[0] * 4, axis=3)
    with pytest.raises(NetwrightError, match="quantized_dimension 3, which does not fit"):
        parse_tflite(file.data([], []))


def test_other_subgraphs_are_said_to_be_left_out() -> None:
    file = one_op("RELU", [(2,)], (2,))
    graph = parse_tflite(file.data([0], [1], graphs=[Table({0: file.tensors})])).graph
    assert "1 further subgraphs" in graph.notes[0]


def _wrong(change: str) -> File:
    file = one_op("CONV_2D", [(1, 4, 4, 2), (3, 1, 1, 2)], (1, 4, 4, 3), 1, {1: ("int32", 1), 2: ("int32", 1)})
    fields, op = file.tensors[1].fields, file.ops[0].fields
    if change == "buffer too short":
        file.buffers[1].fields[0] = bytes(23)
    elif change == "huge shape":
        fields[0] = np.full(8, 2**31 - 1, np.int32)
    elif change == "negative side":
        fields[0] = np.asarray([-3, 1, 1, 2], np.int32)
    elif change == "type":
        fields[1] = ("int8", 99)
    elif change == "buffer":
        fields[2] = ("uint32", 2**32 - 1)
    elif change == "cycle":
        op[1] = np.asarray([0, 1, 2], np.int32)
    elif change == "made twice":
        file.op("RELU", [0], [2])
    elif change == "overwritten input":
        op[2] = np.asarray([0], np.int32)
    elif change == "operand":
        op[1] = np.asarray([0, 77], np.int32)
    elif change == "negative operand":
        op[1] = np.asarray([0, -2], np.int32)
    elif change == "code":
        op[0] = ("uint32", 5)
    elif change == "stride":
        op[4] = Table({1: ("int32", 0), 2: ("int32", 1)})
    elif change == "options":
        op[3] = ("uint8", 5)
    elif change == "enumeration":
        op[4] = Table({0: ("int8", 9), 1: ("int32", 1), 2: ("int32", 1)})
    elif change == "scale":
        fields[4] = Table({2: np.asarray([np.nan], np.float32), 3: np.zeros(1, np.int64)})
    elif change == "zero points":
        fields[4] = Table({2: np.ones(3, np.float32), 3: np.zeros(2, np.int64)})
    return file


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("buffer too short", "needs 24 bytes, its buffer holds 23"),
        ("huge shape", r"is of shape \(2147483647"),
        ("negative side", r"is of shape \(-3, 1"),
        ("type", "type number 99"),
        ("buffer", "buffer 4294967295 of 2"),
        ("cycle", "reads tensor 2, which nothing has made"),
        ("made twice", "operation 1 makes tensor 2 again"),
        ("overwritten input", "makes tensor 0 again"),
        ("operand", "reads tensor 77, which nothing"),
        ("negative operand", "reads tensor -2, which nothing"),
        ("code", "code 5 of 1"),
        ("stride", "has stride_w 0, at least 1"),
        ("options", "carries options of AVERAGE_POOL_2D"),
        ("enumeration", "no padding number 9"),
        ("scale", "scale that is negative or not a number"),
        ("zero points", "3 scales and 2 zero points"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(change: str, says: str) -> None:
    parse_one(_wrong("nothing"))
    with pytest.raises(NetwrightError, match=says):
        parse_one(_wrong(change))


def test_files_that_are_none(tmp_path: Path) -> None:
    for content in (b"", b"TFL3", bytes(100), b"\xff" * 4 + b"TFL3" + bytes(8)):
        (tmp_path / "m.tflite").write_bytes(content)
        with pytest.raises(NetwrightError):
            read_tflite(tmp_path / "m.tflite")
    for place in (tmp_path, tmp_path / "none.tflite", Path("/dev/zero")):
        with pytest.raises(NetwrightError, match="is not a file"):
            read_tflite(place)


def test_overlapping_parts_cannot_describe_more_than_the_file_holds() -> None:
    """Ten thousand operations that share one list of ten thousand operands would take gigabytes."""
    file = File()
    file.tensor((1,), "float32")
    file.op("ADD_N", [0] * 10_000, [])
    file.ops *= 10_000
    data = file.data([0], [])
    assert len(data) < 100_000
    tracemalloc.start()
    with pytest.raises(NetwrightError, match="its parts overlap"):
        parse_tflite(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


@settings(max_examples=400)
@given(st.integers(0, len(SMALL) - 1))
def test_truncated_files_raise_nothing_else(length: int) -> None:
    with pytest.raises(NetwrightError):
        parse_tflite(SMALL[:length])


@settings(max_examples=1500)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_raise_nothing_else_and_what_is_read_can_be_priced(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL)
    for place, value in changes:
        data[place] = value
    try:
        graph = parse_tflite(bytes(data)).graph
    except NetwrightError:
        return
    for op in graph.ops:
        if not op.view and op.kind in RULES:
            RULES[op.kind](graph, op)


@real_models
@pytest.mark.parametrize(
    ("name", "ops", "expected"),
    [
        ("mlperf-resnet8-cifar10-int8", 16, 12.502e6),
        ("mlperf-vww96-int8", 31, 7.490e6),
        ("tflm-person-detect-int8", 31, 7.158e6),
        ("mcunet-vww-int8", 63, 11.579e6),
    ],
)
def test_real_models_have_the_published_macs(name: str, ops: int, expected: float) -> None:
    model = load_tflite(MODELS / f"{name}.tflite")
    assert len(model.graph.ops) == ops
    assert macs(model.graph) == pytest.approx(expected, rel=1e-3)
    assert bool(model.graph.notes) == (name == "tflm-person-detect-int8")
