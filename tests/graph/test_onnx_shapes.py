"""Shapes of .onnx files whose sizes are computed by operations of the file, or left free."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import TensorProto, helper
from timm.layers import Conv2dSame  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.cost.count import count
from netwright.cost.profile import profile
from netwright.graph.capture.trace import capture
from netwright.graph.files import onnx_shapes
from netwright.graph.files.onnx import graph_of, read_onnx
from netwright.graph.files.read import read_graph
from tests.graph.test_onnx import model

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.fixture(params=["ONNX Runtime's folding", "our own"])
def folding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two ways alone: what one finds must not hide what the other lacks."""
    if request.param == "our own":
        monkeypatch.setattr(onnx_shapes, "runtime_shapes", lambda *_: {})
    else:
        monkeypatch.setattr(onnx_shapes, "fold", lambda *_: False)


def export(net: nn.Module, x: Tensor, path: Path, **more: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters warn of each other
        torch.onnx.export(net, (x,), path, verbose=False, **more)


def padded() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Conv2dSame(3, 8, 3, 2), nn.ReLU(), Conv2dSame(8, 8, 5, 2, groups=2), nn.Conv2d(8, 4, 1)).eval()


@pytest.mark.parametrize("form", ["older", "current", "free batch"])
@pytest.mark.usefixtures("folding")
def test_pads_computed_from_the_input_are_worked_out(form: str, tmp_path: Path) -> None:
    net, x, path = padded(), torch.zeros(1, 3, 33, 30), tmp_path / "net.onnx"
    more: dict[str, Any] = {} if form == "current" else {"dynamo": False}
    if form == "free batch":
        more |= {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    export(net, x, path, **more)
    graph = read_onnx(path)
    counts = count(graph)
    assert counts.macs == count(capture(net, x)).macs > 0
    assert not counts.at_least and not counts.unpriced and graph.without_shape == 0


@pytest.mark.slow
def test_efficientnet_lite0_as_torch_exports_it(tmp_path: Path) -> None:
    net = timm.create_model("tf_efficientnet_lite0").eval()
    export(net, torch.zeros(1, 3, 128, 128), tmp_path / "net.onnx", dynamo=False)
    found = profile(read_onnx(tmp_path / "net.onnx"))
    assert found.macs == 126_637_568 and not found.at_least


# An operation that turns the size 5 of the input into another number, with its other operands, and that number.
ARITHMETIC = [
    ("Abs", [], {}, 5),
    ("Clip", [np.int64(0), np.int64(4)], {}, 4),
    ("CumSum", [np.int64(0)], {}, 5),
    ("Mod", [np.int64(3)], {}, 2),
    ("Pow", [np.int64(2)], {}, 25),
    ("ReduceMin", [], {"keepdims": 1}, 5),
    ("ReduceSumSquare", [], {"keepdims": 1}, 25),
    ("Sign", [], {}, 1),
    ("TopK", [np.asarray([1])], {}, 5),
    ("Gather", [np.asarray([0])], {"axis": 0}, 5),
    ("Max", [np.asarray([7])], {}, 7),
    ("Where", [np.asarray([9]), np.asarray([8])], {}, 9),
]


@pytest.mark.parametrize(("operator", "others", "attributes", "size"), ARITHMETIC, ids=[row[0] for row in ARITHMETIC])
def test_whatever_computes_a_size_is_folded(
    operator: str, others: list[Any], attributes: dict[str, Any], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_shapes, "runtime_shapes", lambda *_: {})
    constants = {f"c{place}": np.asarray(value) for place, value in enumerate(others)}
    constants |= {"one": np.asarray([1]), "value": np.zeros((1, 1), np.float32)}
    first = "flag" if operator == "Where" else "side"
    nodes = [
        helper.make_node("Shape", ["x"], ["sides"]),
        helper.make_node("Gather", ["sides", "one"], ["side"], axis=0),
        helper.make_node("Cast", ["side"], ["flag"], to=TensorProto.BOOL),
        helper.make_node(operator, [first, *(f"c{k}" for k in range(len(others)))], ["size"], **attributes),
        helper.make_node("Concat", ["one", "size"], ["shape"], axis=0),
        helper.make_node("Expand", ["value", "shape"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["y"]),
    ]
    if operator == "TopK":
        nodes[3].output.append("places")
    graph = graph_of(model(nodes, {"x": (FLOAT, [1, 5])}, constants))
    assert graph.tensors[graph.outputs[0]].shape == (1, size)
    assert graph.without_shape == 0


def depends_on_values() -> onnx.ModelProto:
    """A convolution, then a product with as many rows as there are positive values."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Greater", ["a", "zero"], ["b"]),
        helper.make_node("NonZero", ["b"], ["places"]),
        helper.make_node("Cast", ["places"], ["c"], to=FLOAT),
        helper.make_node("MatMul", ["four", "c"], ["y"]),
    ]
    constants = {"w": np.zeros((8, 3, 3, 3), np.float32), "four": np.zeros((2, 4), np.float32)}
    constants["zero"] = np.zeros((), np.float32)
    return model(nodes, {"x": (FLOAT, [1, 3, 6, 6])}, constants)


def test_a_shape_that_nobody_knows_makes_every_figure_a_lower_bound() -> None:
    found = profile(graph_of(depends_on_values()), name="net")
    assert found.macs == 8 * 16 * 27 and found.at_least and found.memory.at_least
    assert found.memory.lower_bound_kind == "no order needs less"
    assert found.macs_text == f"at least {8 * 16 * 27:,}" and found.missing
    told = found.to_json()
    assert told["at_least"] is True and told["peak_memory_at_least"] is True
    assert "proven" not in str(told)
    assert "at least" in found._repr_html_()


def test_of_which_nothing_is_known_is_not_zero() -> None:
    made = depends_on_values()
    del made.graph.node[0]
    made.graph.node[0].input[0] = "x"
    found = profile(graph_of(made), name="net")
    assert (found.macs_text, found.to_json()["macs"]) == ("not known", None)


def test_whole_figures_are_marked_whole() -> None:
    found = profile(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8))
    assert not found.at_least and found.to_json()["at_least"] is False and found.missing is None
    assert found.macs_text == f"{found.macs:,}"


def test_free_sizes_take_the_shapes_that_are_given(tmp_path: Path) -> None:
    shape = ["N", 3, "side", "side"]
    made = model([helper.make_node("Relu", ["x"], ["y"])], {"x": (FLOAT, shape), "z": (FLOAT, ["N", None])}, {})
    onnx.save(made, tmp_path / "net.onnx")
    graph = read_graph(tmp_path / "net.onnx", shapes=[(2, 3, 8, 8), (2, 5)])
    assert [graph.tensors[index].shape for index in graph.inputs] == [(2, 3, 8, 8), (2, 5)]
    assert graph.tensors[graph.outputs[0]].shape == (2, 3, 8, 8) and not graph.notes
    with pytest.raises(NetwrightError, match=r"1x3xsidexside.*--input 1x3x224x224"):
        read_graph(tmp_path / "net.onnx")
    for wrong in ([(2, 3, 8, 9), (2, 5)], [(2, 4, 8, 8), (2, 5)], [(2, 3, 8), (2, 5)], [(2, 3, 8, 8), (3, 5)]):
        with pytest.raises(NetwrightError, match="was given"):
            read_graph(tmp_path / "net.onnx", shapes=wrong)
    with pytest.raises(NetwrightError, match=r"has 2 inputs, and 1 shapes.*1x3x224x224,1x224"):
        read_graph(tmp_path / "net.onnx", shapes=[(2, 3, 8, 8)])


class Recurrent(nn.Module):
    """A recurrent layer; with `learned`, its initial state is a parameter."""

    def __init__(self, layer: nn.RNNBase, *, learned: bool):
        super().__init__()
        self.layer = layer
        self.state = nn.Parameter(torch.ones(1, 2, 6)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, self.state)[0]


# The current exporter writes an nn.RNN as products of its own, and its initial state as a matrix like any other.
CELLS = [(kind, dynamo, False) for kind in (nn.LSTM, nn.GRU) for dynamo in (False, True)]
CELLS += [(nn.GRU, False, True), (nn.GRU, True, True), (nn.RNN, False, False), (nn.RNN, False, True)]


@pytest.mark.parametrize(("kind", "dynamo", "learned"), CELLS)
def test_the_initial_state_of_a_recurrent_layer_is_no_parameter_unless_it_was_learned(
    kind: Any, dynamo: bool, learned: bool, tmp_path: Path
) -> None:
    net = Recurrent(kind(4, 6, 1), learned=learned).eval()
    export(net, torch.zeros(5, 2, 4), tmp_path / "net.onnx", dynamo=dynamo)
    assert read_onnx(tmp_path / "net.onnx").params == sum(parameter.numel() for parameter in net.parameters())
