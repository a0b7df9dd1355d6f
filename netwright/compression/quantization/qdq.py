"""Write integers as ONNX with QuantizeLinear and DequantizeLinear around float operations, as ONNX Runtime fuses them.

The stored inputs, weights, biases and scales are the same. ONNX Runtime rounds each result once, in float32, to the
nearest with ties to even, where the integer arithmetic here multiplies by a 32-bit mantissa and rounds twice: a stored
value may differ by 1 where the exact one lies near a half, and what follows from it by more.
benchmarks/compress_quantize.py counts.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper

from netwright.compression.quantization.qdq_operators import OPERATORS
from netwright.compression.quantization.qdq_writing import Writing
from netwright.core.errors import NetwrightError
from netwright.core.files import write_bytes
from netwright.graph.graph import Op
from netwright.graph.integers.quantized import QuantizedGraph

OPSET = 18


def write_qdq(model: QuantizedGraph, path: str | Path) -> None:
    """Write a quantized graph as an ONNX file, whose inputs and outputs are those of the graph for any batch.

    Images stay NHWC at both ends; inside, convolutions and pooling stand between transposes, which ONNX Runtime
    removes.

    Raises:
        NetwrightError: an operator has no such form, or the file cannot be written.
    """
    writing = Writing(model)
    for op in model.graph.ops:
        _write(writing, op)
    graph = model.graph
    proto = helper.make_graph(
        writing.nodes,
        model.description or "netwright",
        [writing.border(index) for index in graph.inputs],
        [writing.border(index) for index in graph.outputs],
        list(writing.constants.values()),
    )
    made = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="netwright")
    made.ir_version = 8
    onnx.checker.check_model(made)
    write_bytes(Path(path), made.SerializeToString())


def _write(writing: Writing, op: Op) -> None:
    """Write one operation: its inputs as real numbers, itself, its result as integers again."""
    kind = op.kind.removeprefix("tflite.")
    if kind not in OPERATORS:
        raise NetwrightError(
            f"{kind} {op.path!r} is not written as ONNX. Known are: {', '.join(sorted(OPERATORS))}. "
            "Write the model with write_tflite."
        )
    writing.keep(OPERATORS[kind](writing, op), op.outputs[0])
