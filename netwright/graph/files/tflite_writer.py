"""Write a `QuantizedGraph` as a .tflite file that TensorFlow Lite runs and `load_tflite` reads back as it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, unknown
from netwright.core.files import write_bytes
from netwright.graph.dtypes import BITS, bytes_of
from netwright.graph.files.flatbuffer_writer import SCALARS, Field, Scalar, Vector, serialize
from netwright.graph.graph import Op
from netwright.graph.integers.quantized import Quantization, QuantizedGraph
from netwright.graph.integers.schema import ENUMS, OPERATORS, TYPES, option_fields, options_of

# The first version of an operator that takes int8; 2 for what is not named (lite/tools/versioning/op_version.cc).
_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "TRANSPOSE_CONV": 3,
    "RESHAPE": 1,
    "SQUEEZE": 1,
    "EXPAND_DIMS": 1,
    "HARD_SWISH": 1,
    "PRELU": 1,
    "RELU_N1_TO_1": 1,
    "SHAPE": 1,
    "RESIZE_BILINEAR": 3,
    "RESIZE_NEAREST_NEIGHBOR": 3,
}


def write_tflite(model: QuantizedGraph, path: str | Path) -> None:
    """Write a graph of "tflite.*" operations to a file.

    Raises:
        NetwrightError: an operation or option that the format does not have, or a file that cannot be written.
    """
    write_bytes(Path(path), tflite_bytes(model))


def tflite_bytes(model: QuantizedGraph) -> bytes:
    """Return what `write_tflite` writes."""
    graph = model.graph
    names = list(dict.fromkeys(op.kind.removeprefix("tflite.") for op in graph.ops))
    buffers: list[dict[int, Field]] = [{}]  # the first one stands for no values
    places: dict[int, int] = {}
    for index, values in model.values.items():
        raw = _raw(model, index, values)
        if len(raw):
            places[index] = len(buffers)
            buffers.append({0: Vector(raw, align=16)})
    subgraph: dict[int, Field] = {
        0: [_tensor(model, index, places.get(index, 0)) for index in range(len(graph.tensors))],
        1: Vector(np.array(graph.inputs, np.int32)),
        2: Vector(np.array(graph.outputs, np.int32)),
        3: [_operator(op, names) for op in graph.ops],
        4: "main",
    }
    root: dict[int, Field] = {
        0: Scalar("uint32", 3),
        1: [_code(name) for name in names],
        2: [subgraph],
        3: model.description,
        4: buffers,
    }
    return serialize(root, b"TFL3")


def _code(name: str) -> dict[int, Field]:
    if name.startswith("custom."):
        number, custom = OPERATORS.index("CUSTOM"), {1: name.removeprefix("custom.")}
    elif name in OPERATORS:
        number, custom = OPERATORS.index(name), {}
    else:
        raise unknown("TensorFlow Lite operator", name, OPERATORS)
    # Readers from before 2020 know the first field alone, whose 127 points to the other one.
    return {
        0: Scalar("int8", min(number, 127)),
        2: Scalar("int32", _VERSIONS.get(name, 2)),
        3: Scalar("int32", number),
        **custom,
    }


def _raw(model: QuantizedGraph, index: int, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a constant's bytes as the file holds them; types below 8 bits are packed, the lowest bits first."""
    tensor = model.graph.tensors[index]
    bits = BITS.get(tensor.dtype, 8)
    flat = np.ascontiguousarray(values).reshape(-1)
    if bits < 8:
        per_byte = 8 // bits
        padded = np.zeros(-(-len(flat) // per_byte) * per_byte, np.uint8)
        padded[: len(flat)] = flat.view(np.uint8) & ((1 << bits) - 1)
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        return np.bitwise_or.reduce(padded.reshape(-1, per_byte) << shifts, axis=1).astype(np.uint8)
    raw = flat.astype(flat.dtype.newbyteorder("<")).view(np.uint8)
    if tensor.dtype in BITS and len(raw) != bytes_of(tensor.shape, tensor.dtype):
        raise NetwrightError(
            f"The constant {model.names[index]!r} of shape {tensor.shape} and type {tensor.dtype} holds {len(raw):,} bytes "
            f"instead of {bytes_of(tensor.shape, tensor.dtype):,}; sparse constants cannot be written."
        )
    return raw


def _tensor(model: QuantizedGraph, index: int, buffer: int) -> dict[int, Field]:
    tensor = model.graph.tensors[index]
    if tensor.dtype not in TYPES:
        raise unknown("TensorFlow Lite type", tensor.dtype, TYPES)
    fields: dict[int, Field] = {
        0: Vector(np.array(tensor.shape, np.int32)),
        1: Scalar("int8", TYPES.index(tensor.dtype)),
        2: Scalar("uint32", buffer),
        3: model.names[index],
        8: Scalar("bool", value=True),
    }
    quantized = model.quantization[index]
    if quantized is not None:
        fields[4] = _quantization(quantized)
    if index in model.variables:
        fields[5] = Scalar("bool", value=True)
    return fields


def _quantization(quantized: Quantization) -> dict[int, Field]:
    return {
        2: Vector(np.asarray(quantized.scale, np.float32)),
        3: Vector(np.asarray(quantized.zero_point, np.int64)),
        6: Scalar("int32", quantized.axis or 0),
    }


def _operator(op: Op, names: list[str]) -> dict[int, Field]:
    name = op.kind.removeprefix("tflite.")
    operands = [-1 if operand is None else operand.tensor for operand in op.arguments["inputs"]]
    fields: dict[int, Field] = {
        0: Scalar("uint32", names.index(name)),
        1: Vector(np.array(operands, np.int32)),
        2: Vector(np.array(op.outputs, np.int32)),
    }
    if name.startswith("custom."):
        fields[5] = Vector(np.asarray(op.arguments.get("custom_options", ()), np.uint8))
        return fields
    union, number, _ = options_of(name)
    if number:
        kind, table = (3, 4) if union == 1 else (11, 12)
        fields[kind] = Scalar("uint8", number)
        fields[table] = _options(name, op.arguments)
    return fields


def _options(operator: str, given: Mapping[str, Any]) -> dict[int, Field]:
    """Return the table of an operator's options; what is not given keeps the schema's default."""
    table: dict[int, Field] = {}
    fields = option_fields(operator)
    known = {field.name for field in fields}
    for place, name, kind, _ in fields:
        if name not in given:
            continue
        value = given[name]
        if kind in ENUMS:
            if value not in ENUMS[kind]:
                raise unknown(f"{name} of {operator}", value, ENUMS[kind])
            table[place] = Scalar("int32" if kind == "Reduction" else "int8", ENUMS[kind].index(value))
        elif kind == "text":
            table[place] = str(value)
        elif kind.removesuffix("s") in SCALARS and kind.endswith("s"):
            dtype = "uint8" if kind == "bools" else kind.removesuffix("s")
            table[place] = Vector(np.array(value, dtype))
        else:
            table[place] = Scalar(kind, value)
    wrong = set(given) - known - {"inputs"}
    if wrong:
        raise unknown(f"option of {operator}", min(wrong), known)
    return table
