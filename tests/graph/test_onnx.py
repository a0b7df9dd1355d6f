"""Reading .onnx files: the same work as the module they were exported from, and clear refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.cost.rules.onnx import RULES
from netwright.cost.rules.torch_rules import RULES as ATEN
from netwright.graph.capture.trace import capture
from netwright.graph.files import onnx_shapes
from netwright.graph.files.onnx import graph_of, read_onnx
from netwright.graph.graph import Graph, Ref
from netwright.runtime.export import export_onnx, quick_onnx


def macs(graph: Graph) -> int:
    rules = RULES | ATEN
    return sum(work.macs for op in graph.ops if not op.view and (work := rules[op.kind](graph, op)))


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[Any]]],
    constants: dict[str, np.ndarray],
    outputs: tuple[str, ...] = ("y",),
    *,
    gives: int = TensorProto.FLOAT,
    **more: Any,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, gives, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, **{"opset_imports": opsets, "ir_version": 11} | more)


class Net(nn.Module):
    """Grouped, strided and transposed convolutions, normalization, attention by hand and fused."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1, groups=4))
        self.up = nn.ConvTranspose2d(8, 6, 2, 2, groups=2)
        self.norm = nn.LayerNorm(6)
        self.query = nn.Linear(6, 12)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.up(self.stem(x)).flatten(2).transpose(1, 2))
        q, k = self.query(x).chunk(2, -1)
        x = (q @ k.transpose(1, 2)).softmax(-1) @ x
        return self.head(nn.functional.scaled_dot_product_attention(x[:, None], k[:, None], q[:, None]).mean((1, 2)))


@pytest.mark.parametrize("exporter", ["current", "older"])
def test_an_exported_module_has_its_own_macs_parameters_and_paths(exporter: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net().eval()
    for parameter in net.parameters():  # constants that are equal would be written once
        nn.init.normal_(parameter)
    expected = capture(net, torch.zeros(1, 3, 12, 12))
    if exporter == "current":
        graph = read_onnx(export_onnx(net, (3, 12, 12), tmp_path / "net.onnx"))
        assert "free and was set to 1" in graph.notes[0]
    else:
        graph = graph_of(quick_onnx(net, (3, 12, 12)))
        assert not graph.notes
    assert macs(graph) == macs(expected)
    assert graph.params == expected.params
    first = graph.ops[0]
    assert (first.kind, first.path) == ("onnx.Conv", "stem.0" if exporter == "current" else "stem.stem.0")
    assert first.layer == ("Conv2d" if exporter == "current" else "")
    assert graph.tensors[first.outputs[0]].shape == (1, 8, 6, 6)


def test_attributes_have_the_defaults_of_the_standard_and_operands_their_places() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", ""], ["a"], name="/body/conv/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["a", "shape"], ["y"]),
    ]
    graph = graph_of(
        model(
            nodes,
            {"x": (TensorProto.FLOAT, ["N", 4, 6, 6])},
            {"w": np.zeros((8, 4, 3, 3), np.float32), "shape": np.asarray([0, -1])},
        )
    )
    conv, reshape = graph.ops
    assert conv.arguments["inputs"] == [Ref(0), Ref(1), None] and conv.inputs == (0, 1)
    assert (conv.arguments["group"], conv.arguments["auto_pad"], conv.arguments["pads"]) == (1, "NOTSET", [1, 1, 1, 1])
    assert conv.path == "body.conv"
    assert reshape.view and graph.tensors[graph.outputs[0]].shape == (1, 8 * 36)
    assert graph.tensors[graph.outputs[0]].storage == graph.tensors[conv.outputs[0]].storage
    assert [graph.storage(index).role for index in (0, 1, 2)] == ["input", "parameter", "constant"]
    assert graph.params == 288


def test_quantized_operators_have_the_macs_of_float_ones_and_their_weights_are_parameters() -> None:
    weights, bias = np.zeros((8, 4, 3, 3), np.int8), np.zeros(8, np.int32)
    scale, zero, scales, zeros = np.float32(1), np.int8(0), np.ones(8, np.float32), np.zeros(8, np.int8)
    constants = {"w": weights, "b": bias, "s": np.asarray(scale), "z": np.asarray(zero), "sw": scales, "zw": zeros}
    linear = helper.make_node("QLinearConv", ["x", "s", "z", "w", "sw", "zw", "s", "z", "b"], ["y"])
    graph = graph_of(model([linear], {"x": (TensorProto.INT8, [1, 4, 6, 6])}, constants, gives=TensorProto.INT8))
    assert macs(graph) == 16 * 8 * 36 and graph.params == 288 + 8
    assert graph.tensors[graph.outputs[0]].dtype == "int8"

    constants["sb"], constants["zb"] = scales, np.zeros(8, np.int32)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["dw"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["db"], axis=0),
        helper.make_node("Conv", ["d", "dw", "db"], ["y"]),
    ]
    graph = graph_of(model(nodes, {"x": (TensorProto.FLOAT, [1, 4, 6, 6])}, constants))
    assert macs(graph) == 16 * 8 * 36 and graph.params == 288 + 8
    assert graph.storage(graph.ops[0].outputs[0]).bytes == 144

    node = helper.make_node("QLinearMatMul", ["x", "s", "z", "w", "s", "z", "s", "z"], ["y"])
    constants = {"w": np.zeros((5, 7), np.int8), "s": np.asarray(scale), "z": np.asarray(zero)}
    graph = graph_of(model([node], {"x": (TensorProto.INT8, [3, 5])}, constants, gives=TensorProto.INT8))
    assert macs(graph) == 3 * 5 * 7 and graph.params == 35


@pytest.mark.parametrize(
    ("operator", "attributes", "shapes", "expected"),
    [
        ("Gemm", {"transA": 1, "transB": 1}, [(5, 3), (7, 5), (7,)], 3 * 5 * 7),
        ("MatMul", {}, [(2, 1, 3, 5), (4, 5, 6)], 2 * 4 * 3 * 6 * 5),
        ("Einsum", {"equation": "bhid,bhjd->bhij"}, [(2, 3, 4, 5), (2, 3, 6, 5)], 2 * 3 * 4 * 5 * 6),
        ("ConvTranspose", {"strides": [2, 2], "group": 2}, [(1, 4, 5, 5), (4, 3, 2, 2)], 4 * 25 * 3 * 4),
        ("LSTM", {"hidden_size": 3}, [(5, 2, 4), (1, 12, 4), (1, 12, 3)], 5 * 2 * 12 * 7),
        ("GRU", {"hidden_size": 3, "direction": "bidirectional"}, [(5, 2, 4), (2, 9, 4), (2, 9, 3)], 5 * 2 * 18 * 7),
        ("Attention", {}, [(2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 5)], 2 * 3 * 4 * 6 * 13),
        ("Attention", {"q_num_heads": 4, "kv_num_heads": 2}, [(2, 3, 16), (2, 6, 8), (2, 6, 10)], 2 * 4 * 3 * 6 * 9),
        ("Conv", {}, [(1, 4, 9), (6, 2, 3)], 6 * 7 * 6),
        ("Relu", {}, [(2, 3)], 0),
    ],
)
def test_products_are_counted(operator: str, attributes: dict[str, Any], shapes: list[Any], expected: int) -> None:
    if operator == "Conv":
        attributes = {"group": 2}
    names = [f"i{number}" for number in range(len(shapes))]
    node = helper.make_node(operator, names, ["y"], **attributes)
    inputs = {names[0]: (TensorProto.FLOAT, list(shapes[0]))}
    constants = {name: np.zeros(shape, np.float32) for name, shape in zip(names[1:], shapes[1:], strict=True)}
    assert macs(graph_of(model([node], inputs, constants))) == expected


def test_operators_of_onnx_runtime_are_priced_with_the_shapes_that_it_finds_or_the_file_states(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", transA=1)
    made = model([node], {"x": (TensorProto.FLOAT, [5, 3])}, {"w": np.zeros((5, 7), np.float32)}, ())
    assert macs(graph_of(made)) == 3 * 5 * 7
    monkeypatch.setattr(onnx_shapes, "runtime_shapes", lambda *_: {})
    assert "could not be inferred" in graph_of(made).notes[0]
    assert RULES["onnx.com.microsoft.FusedMatMul"](graph_of(made), graph_of(made).ops[0]) is None
    made.graph.value_info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 7]))
    assert macs(graph_of(made)) == 3 * 5 * 7


def test_weights_may_stand_in_constant_nodes_and_statistics_are_no_parameters() -> None:
    weights = numpy_helper.from_array(np.zeros((8, 4, 30, 30), np.float32))
    norm = ["scale", "bias", "mean", "var"]
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weights),
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2.0))),
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("BatchNormalization", ["a", *norm], ["b"]),
        helper.make_node("Mul", ["b", "two"], ["y"]),
    ]
    constants = {name: np.ones(8, np.float32) for name in norm}
    graph = graph_of(model(nodes, {"x": (TensorProto.FLOAT, [1, 4, 31, 31])}, constants))
    assert [op.kind for op in graph.ops] == ["onnx.Conv", "onnx.BatchNormalization", "onnx.Mul"]
    assert graph.params == 8 * 4 * 900 + 16
    assert graph.tensors[graph.outputs[0]].shape == (1, 8, 2, 2)


def test_local_functions_are_inlined_and_those_that_call_themselves_refused() -> None:
    def with_body(body: onnx.NodeProto) -> onnx.ModelProto:
        function = helper.make_function("mine", "Twice", ["a"], ["b"], [body], [helper.make_opsetid("", 23)])
        node = helper.make_node("Twice", ["x"], ["y"], domain="mine")
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid("mine", 1)]
        inputs = {"x": (TensorProto.FLOAT, [2, 3])}
        return model([node], inputs, {}, functions=[function], opset_imports=opsets)

    graph = graph_of(with_body(helper.make_node("Add", ["a", "a"], ["b"])))
    assert [op.kind for op in graph.ops] == ["onnx.Add"]
    with pytest.raises(NetwrightError, match="calls itself"):
        graph_of(with_body(helper.make_node("Twice", ["a"], ["b"], domain="mine")))


def test_free_dimensions_are_asked_for_by_name() -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], {"x": (TensorProto.FLOAT, ["N", 3, "H", "W"])}, {})
    with pytest.raises(NetwrightError, match=r"dimension 2 of its input 'x' free.*H="):
        graph_of(made)
    graph = graph_of(onnx.ModelProto.FromString(made.SerializeToString()), sizes={"H": 8, "W": 9, "N": 4})
    assert graph.tensors[graph.outputs[0]].shape == (4, 3, 8, 9)
    with pytest.raises(NetwrightError, match="free dimension 'height' is not known"):
        graph_of(made, sizes={"height": 8, "H": 8, "W": 8})


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    for content in (b"not a model", b"\xff" * 40):
        (tmp_path / "m.onnx").write_bytes(content)
        with pytest.raises(NetwrightError):
            read_onnx(tmp_path / "m.onnx")
    with pytest.raises(NetwrightError, match="is not a file"):
        read_onnx(tmp_path / "none.onnx")
    inputs = {"x": (TensorProto.FLOAT, [2, 3])}
    with pytest.raises(NetwrightError, match="reads 'lost', which nothing has made"):
        graph_of(model([helper.make_node("Relu", ["lost"], ["y"])], inputs, {}))
    twice = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["y"])]
    with pytest.raises(NetwrightError):
        graph_of(model(twice, inputs, {}))
    with pytest.raises(NetwrightError, match="of shape"):
        graph_of(model([helper.make_node("Relu", ["x"], ["y"])], {"x": (TensorProto.FLOAT, [2**40, 2**20])}, {}))


def small() -> bytes:
    norm = ["scale", "bias", "mean", "var"]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["a", *norm], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["c"]),
        helper.make_node("Gemm", ["c", "v"], ["y"], transB=1),
    ]
    constants = {name: np.ones(2, np.float32) for name in norm}
    constants |= {
        "w": np.ones((2, 1, 2, 2), np.float32),
        "v": np.ones((3, 8), np.float32),
        "shape": np.asarray([0, -1]),
    }
    return model(nodes, {"x": (TensorProto.FLOAT, ["N", 1, 4, 4])}, constants).SerializeToString()


SMALL = small()


@settings(max_examples=400)
@given(
    st.integers(1, len(SMALL)),
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=4),
)
def test_damaged_files_raise_nothing_else(tmp_path_factory: Any, length: int, changes: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL)
    for place, value in changes:
        data[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(bytes(data[:length]) if len(changes) < 2 else bytes(data))
    try:
        graph = read_onnx(path)
    except NetwrightError:
        return
    for op in graph.ops:
        if not op.view and op.kind in RULES:
            RULES[op.kind](graph, op)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.filterwarnings("ignore")
def test_models_that_onnx_runtime_quantized_keep_macs_and_parameters(form: str, tmp_path: Path) -> None:
    from onnxruntime import quantization as ort

    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(288, 5)
    ).eval()
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    plain, path = tmp_path / "plain.onnx", tmp_path / "quantized.onnx"
    onnx.save(quick_onnx(net, (3, 10, 10)), plain)

    class Images(ort.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [np.ones((1, 3, 10, 10), np.float32)]

        def get_next(self) -> Any:
            name = onnx.load(plain).graph.input[0].name
            return {name: self.left.pop()} if self.left else None

    ort.quantize_static(plain, path, Images(), quant_format=ort.QuantFormat[form], per_channel=True)
    graph, expected = read_onnx(path), capture(net, torch.zeros(1, 3, 10, 10))
    assert macs(graph) == macs(expected)
    assert graph.params == expected.params
    kinds = {op.kind.removeprefix("onnx.") for op in graph.ops}
    assert kinds > ({"QLinearConv"} if form == "QOperator" else {"DequantizeLinear", "Conv"})
    work = [RULES[op.kind](graph, op) for op in graph.ops if not op.view]
    assert None not in work
