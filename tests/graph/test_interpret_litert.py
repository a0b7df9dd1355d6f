"""The integer interpreter against LiteRT's reference kernels, bit for bit: random operators, real models."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.mcu_cases import MAKERS, random_case
from netwright.core.errors import NetwrightError
from netwright.graph.interpret import interpret
from netwright.graph.quantized import QuantizedGraph
from netwright.graph.tflite import load_tflite
from netwright.graph.tflite_writer import tflite_bytes

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="the extra `litert` is not installed")
DATA = Path(os.environ.get("NETWRIGHT_DATA", "none"))
MODELS = (DATA if DATA.is_dir() else DATA.parent) / "models"


def runner(model: QuantizedGraph, keep: bool = False):
    return litert.Interpreter(
        model_content=tflite_bytes(model),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=keep,
        num_threads=1,
    )


@pytest.mark.parametrize("operator", MAKERS)
def test_random_cases_of_an_operator_are_bit_exact(operator: str) -> None:
    equal = 0
    for turn in range(12):
        number = list(MAKERS).index(operator) + (5000 + turn) * len(MAKERS)
        case = random_case(number)
        try:
            mine = interpret(case.model, case.inputs)
            theirs = runner(case.model)
            theirs.allocate_tensors()
        except (NetwrightError, RuntimeError):  # scales that neither takes, a convolution without bias
            continue
        for detail, values in zip(theirs.get_input_details(), case.inputs, strict=True):
            theirs.set_tensor(detail["index"], values)
        theirs.invoke()
        for detail, values in zip(theirs.get_output_details(), mine, strict=True):
            np.testing.assert_array_equal(values, theirs.get_tensor(detail["index"]), err_msg=f"case {number}")
        equal += 1
    assert equal >= 6


@pytest.mark.parametrize("name", ["mlperf-resnet8-cifar10", "mlperf-vww96", "tflm-person-detect", "mcunet-vww"])
def test_every_tensor_of_the_real_models_is_bit_exact(name: str) -> None:
    path = MODELS / f"{name}-int8.tflite"
    if not path.is_file():
        pytest.skip("NETWRIGHT_DATA has no folder models beside its data")
    model = load_tflite(path)
    theirs = runner(model, keep=True)
    theirs.allocate_tensors()
    tensor = model.graph.tensors[model.graph.inputs[0]]
    rng = np.random.default_rng(0)
    if tensor.dtype == "int8":
        x = rng.integers(-128, 128, tensor.shape).astype(np.int8)
    else:
        x = rng.normal(0, 1, tensor.shape).astype(np.float32)
    theirs.set_tensor(model.graph.inputs[0], x)
    theirs.invoke()
    for index, values in enumerate(interpret(model, [x], keep=True)):
        if index not in model.values and values is not None:
            np.testing.assert_array_equal(values, theirs.get_tensor(index), err_msg=model.names[index])
