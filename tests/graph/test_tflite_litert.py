"""The .tflite reader against LiteRT's own: operators, operands, tensors, quantization, constants."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from netwright.graph.files.tflite import parse_tflite
from tests.graph.tflite_files import small_network

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="the extra `litert` is not installed")
DATA = Path(os.environ.get("NETWRIGHT_DATA", "none"))
MODELS = (DATA if DATA.is_dir() else DATA.parent) / "models"


def content(name: str) -> bytes:
    if name == "small":
        return small_network()
    if not (MODELS / name).is_file():
        pytest.skip("NETWRIGHT_DATA has no folder models beside its data")
    return (MODELS / name).read_bytes()


def litert(data: bytes):
    return interpreter.Interpreter(
        model_content=data,
        experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )


@pytest.mark.parametrize(
    "name", ["small", "mlperf-resnet8-cifar10-int8.tflite", "mlperf-vww96-int8.tflite", "mcunet-vww-int8.tflite"]
)
def test_everything_that_litert_tells_is_the_same(name: str) -> None:
    data = content(name)
    model, theirs = parse_tflite(data), litert(data)
    theirs.allocate_tensors()
    ops = theirs._get_ops_details()
    assert [op.kind.removeprefix("tflite.") for op in model.graph.ops] == [op["op_name"] for op in ops]
    for mine, op in zip(model.graph.ops, ops, strict=True):
        assert [-1 if ref is None else ref.tensor for ref in mine.arguments["inputs"]] == op["inputs"].tolist()
        assert list(mine.outputs) == op["outputs"].tolist()
    details = {detail["index"]: detail for detail in theirs.get_tensor_details()}
    for index, tensor in enumerate(model.graph.tensors):
        detail = details[index]
        assert model.names[index] == detail["name"]
        assert (tensor.shape, tensor.dtype) == (tuple(detail["shape"]), np.dtype(detail["dtype"]).name)
        scales = detail["quantization_parameters"]["scales"]
        mine = model.quantization[index]
        assert (mine is None) == (len(scales) == 0)
        if mine is not None:
            np.testing.assert_array_equal(mine.scale, scales)
            np.testing.assert_array_equal(mine.zero_point, detail["quantization_parameters"]["zero_points"])
            assert mine.axis in (None, detail["quantization_parameters"]["quantized_dimension"])
        if index in model.values:
            np.testing.assert_array_equal(model.values[index], theirs.get_tensor(index))
    assert [detail["index"] for detail in theirs.get_input_details()] == list(model.graph.inputs)
    assert [detail["index"] for detail in theirs.get_output_details()] == list(model.graph.outputs)


def test_litert_refuses_the_file_that_is_read_with_a_note() -> None:
    data = content("tflm-person-detect-int8.tflite")
    with pytest.raises(ValueError, match="quantized_dimension"):
        litert(data)
    assert "quantized_dimension" in parse_tflite(data).graph.notes[0]
