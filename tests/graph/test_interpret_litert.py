"""The integer interpreter against LiteRT's reference kernels, bit for bit: random operators, real models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.mcu_cases import MAKERS, random_case
from netwright.core.errors import NetwrightError
from netwright.graph.files.tflite import load_tflite
from netwright.graph.files.tflite_writer import tflite_bytes
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.interpret import interpret
from netwright.graph.integers.quantized import QuantizedGraph

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


def sixteen(operator: str) -> QuantizedGraph:
    """One operator on int16 activations and, where it has any, int8 weights."""
    rng = np.random.default_rng(3)
    builder = GraphBuilder()
    operands = [builder.input("x", (1, 6, 6, 8), quantization(1e-4), "int16")]
    shape, scale = (1, 6, 6, 8), 2e-3
    options: dict[str, Any] = {}
    if operator in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        depthwise = operator != "CONV_2D"
        scales = rng.uniform(0.001, 0.01, 8).astype(np.float32)
        weights = rng.integers(-127, 128, (1, 3, 3, 8) if depthwise else (8, 3, 3, 8)).astype(np.int8)
        operands.append(builder.constant("w", weights, quantization(scales, 0, 3 if depthwise else 0)))
        bias = rng.integers(-1_000_000, 1_000_000, 8).astype(np.int64)
        operands.append(builder.constant("b", bias, quantization(scales * np.float32(1e-4), 0, 0)))
        options = {"stride_h": 1, "stride_w": 1, "fused_activation_function": "RELU"}
        options |= {"depth_multiplier": 1} if depthwise else {}
    elif operator in ("ADD", "SUB", "MUL"):
        operands.append(builder.input("y", shape, quantization(3e-4), "int16"))
        options = {} if operator == "MUL" else {"pot_scale_int16": False}
    elif operator == "AVERAGE_POOL_2D":
        shape, scale = (1, 3, 3, 8), 1e-4
        options = {"filter_height": 2, "filter_width": 2, "stride_h": 2, "stride_w": 2}
    elif operator == "MEAN":
        operands.append(builder.constant("axes", np.array([1, 2], np.int32)))
        shape, scale = (1, 8), 2e-4
    return builder.build([builder.op(operator, operands, shape, quantization(scale), dtype="int16", **options)])


@pytest.mark.parametrize(
    "operator", ["CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "SUB", "MUL", "AVERAGE_POOL_2D", "MEAN", "RELU", "QUANTIZE"]
)
def test_activations_of_16_bits_are_bit_exact(operator: str) -> None:
    model = sixteen(operator)
    rng = np.random.default_rng(4)
    inputs = [rng.integers(-(1 << 15), 1 << 15, (1, 6, 6, 8)).astype(np.int16) for _ in model.graph.inputs]
    theirs = runner(model)
    theirs.allocate_tensors()
    for detail, values in zip(theirs.get_input_details(), inputs, strict=True):
        theirs.set_tensor(detail["index"], values)
    theirs.invoke()
    found = interpret(model, inputs)[0]
    np.testing.assert_array_equal(found, theirs.get_tensor(theirs.get_output_details()[0]["index"]))
