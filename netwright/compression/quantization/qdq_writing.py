"""Nodes and constants of an ONNX file in the making, with QuantizeLinear and DequantizeLinear around each operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from netwright.core.errors import NetwrightError
from netwright.graph.graph import Op
from netwright.graph.integers.quantized import Quantization, QuantizedGraph

_TYPES = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


class Writing:
    """Nodes and constants written so far. A tensor has a name for its integers and one for its real values."""

    def __init__(self, model: QuantizedGraph):
        self.model = model
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._real: dict[int, str] = {}
        self._count = 0

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self.model.graph.tensors[index].shape

    def operand(self, op: Op, place: int) -> int | None:
        """Return an operand's index; None if it is left out."""
        operands = op.arguments["inputs"]
        return None if place >= len(operands) or operands[place] is None else operands[place].tensor

    def needed(self, op: Op, place: int) -> int:
        """Return the index of an operand that must be there."""
        found = self.operand(op, place)
        if found is None:
            raise NetwrightError(
                f"{op.kind.removeprefix('tflite.')} {op.path!r} has no operand {place}, which it needs."
            )
        return found

    def stored(self, op: Op, place: int) -> NDArray[Any]:
        """Return the values of a constant operand."""
        index = self.needed(op, place)
        if index not in self.model.values:
            raise NetwrightError(
                f"{op.kind.removeprefix('tflite.')} {op.path!r}: operand {place} is computed; a constant is needed."
            )
        return self.model.values[index]

    def real(self, index: int, layout: tuple[int, ...] | None = None) -> str:
        """Return the name of a tensor's real values; of a constant, with its dimensions in the order `layout`."""
        if index in self._real and layout is None:
            return self._real[index]
        tensor, values = self.model.graph.tensors[index], self.model.values.get(index)
        if tensor.dtype == "float32" and values is None:
            return self._name(index)
        if tensor.dtype == "float32" and values is not None:
            return self.constant(np.asarray(values), self._name(index))
        quantization = self._quantization(index)
        source, axis = self._name(index), quantization.axis
        if values is not None:
            if layout is not None:
                values, axis = values.transpose(layout), None if axis is None else layout.index(axis)
            source = self.constant(np.ascontiguousarray(values), source)
        if tensor.dtype == "int32":  # a bias: its zero point is none
            quantization = Quantization(quantization.scale, np.zeros_like(quantization.zero_point), quantization.axis)
        name = self.node(
            "DequantizeLinear", [source, *self._scale_and_zero_point(quantization, tensor.dtype)], axis=axis
        )
        if layout is None:
            self._real[index] = name
        return name

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Write a node of one output and return the name of that; attributes that are None are left out."""
        self._count += 1
        name = f"{kind}.{self._count}"
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **given))
        return name

    def constant(self, values: NDArray[Any], name: str = "") -> str:
        """Return the name of a constant."""
        self._count += not name
        name = name or f"constant.{self._count}"
        self.constants[name] = numpy_helper.from_array(values, name)
        return name

    def border(self, index: int) -> onnx.ValueInfoProto:
        """Describe an input or output, of any batch."""
        tensor = self.model.graph.tensors[index]
        shape: list[Any] = list(tensor.shape)
        if shape:
            shape[0] = "batch"
        return helper.make_tensor_value_info(self._name(index), self._type(tensor.dtype), shape)

    def _type(self, dtype: str) -> int:
        if dtype not in _TYPES:
            raise NetwrightError(f"Tensors of {dtype} are not written as ONNX QDQ; int8, uint8 and float32 are.")
        return _TYPES[dtype]

    def _name(self, index: int) -> str:
        return f"{self.model.names[index]}#{index}"

    def _quantization(self, index: int) -> Quantization:
        found = self.model.quantization[index]
        if found is None:
            raise NetwrightError(f"{self.model.names[index]!r} is not quantized and cannot be read as real numbers.")
        return found

    def _scale_and_zero_point(self, quantization: Quantization, dtype: str) -> list[str]:
        scale, zero_point = quantization.scale.astype(np.float32), quantization.zero_point.astype(dtype)
        if quantization.axis is None:
            scale, zero_point = scale[0], zero_point[0]
        return [self.constant(np.asarray(scale)), self.constant(np.asarray(zero_point))]

    def keep(self, real: str, index: int) -> None:
        """Write real values as a tensor of the model."""
        dtype = self.model.graph.tensors[index].dtype
        if dtype == "float32":
            self.nodes.append(helper.make_node("Identity", [real], [self._name(index)]))
            return
        self._type(dtype)
        parameters = self._scale_and_zero_point(self._quantization(index), dtype)
        self.nodes.append(helper.make_node("QuantizeLinear", [real, *parameters], [self._name(index)]))
