"""Building a `QuantizedGraph` operation by operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Graph, Op, Ref, Role, Storage, Tensor
from netwright.graph.integers.quantized import Quantization, QuantizedGraph

OPTIONS: dict[str, dict[str, Any]] = {  # those of TensorFlow Lite's schema, with what they are unless told
    "ADD": {"fused_activation_function": "NONE", "pot_scale_int16": True},
    "SUB": {"fused_activation_function": "NONE", "pot_scale_int16": True},
    "MUL": {"fused_activation_function": "NONE"},
    "CONCATENATION": {"axis": 0, "fused_activation_function": "NONE"},
    "CONV_2D": {
        **{"padding": "VALID", "stride_w": 1, "stride_h": 1, "fused_activation_function": "NONE"},
        **{"dilation_w_factor": 1, "dilation_h_factor": 1, "quantized_bias_type": "float32"},
    },
    "DEPTHWISE_CONV_2D": {
        **{"padding": "VALID", "stride_w": 1, "stride_h": 1, "depth_multiplier": 1},
        **{"fused_activation_function": "NONE", "dilation_w_factor": 1, "dilation_h_factor": 1},
    },
    "TRANSPOSE_CONV": {
        **{"padding": "VALID", "stride_w": 1, "stride_h": 1, "fused_activation_function": "NONE"},
        "quantized_bias_type": "float32",
    },
    "FULLY_CONNECTED": {
        **{"fused_activation_function": "NONE", "weights_format": "DEFAULT", "keep_num_dims": False},
        **{"asymmetric_quantize_inputs": False, "quantized_bias_type": "float32"},
    },
    "AVERAGE_POOL_2D": {
        **{"padding": "VALID", "stride_w": 1, "stride_h": 1, "filter_width": 1, "filter_height": 1},
        "fused_activation_function": "NONE",
    },
    "MEAN": {"keep_dims": False},
    "SOFTMAX": {"beta": 1.0},
    "LEAKY_RELU": {"alpha": 0.0},
    "BATCH_MATMUL": {"adj_x": False, "adj_y": False, "asymmetric_quantize_inputs": False},
    "RESHAPE": {"new_shape": []},
    "RESIZE_BILINEAR": {"align_corners": False, "half_pixel_centers": False},
    "RESIZE_NEAREST_NEIGHBOR": {"align_corners": False, "half_pixel_centers": False},
    "STRIDED_SLICE": {
        **{"begin_mask": 0, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0},
        "offset": False,
    },
}
OPTIONS["MAX_POOL_2D"] = OPTIONS["AVERAGE_POOL_2D"]


@dataclass(frozen=True)
class Step:
    """An operation before the ones that nobody reads are left out."""

    name: str
    inputs: tuple[int | None, ...]
    output: int
    options: Mapping[str, Any]
    path: str


class Building:
    """Tensors and operations made so far. A tensor is known by its number."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.names: list[str] = []
        self.quantization: list[Quantization | None] = []
        self._dtypes: list[str] = []
        self._roles: list[Role] = []
        self._values: dict[int, NDArray[Any]] = {}
        self._steps: list[Step] = []
        self._known: dict[tuple[str, bytes, tuple[int, ...]], int] = {}
        self._taken: set[str] = set()

    def tensor(
        self, shape: Sequence[int], name: str, quantization: Quantization | None, role: Role = "activation"
    ) -> int:
        """Return a new int8 tensor."""
        return self._add(tuple(int(side) for side in shape), "int8", name, quantization, role)

    def constant(self, value: NDArray[Any], name: str, quantization: Quantization | None = None) -> int:
        """Return a constant; equal ones that only say how to compute are one tensor."""
        key = (value.dtype.name, value.tobytes(), value.shape)
        if quantization is None and key in self._known:
            return self._known[key]
        value = np.ascontiguousarray(value)
        value.flags.writeable = False
        role: Role = "constant" if quantization is None else "parameter"
        index = self._add(value.shape, value.dtype.name, name, quantization, role)
        self._values[index] = value
        if quantization is None:
            self._known[key] = index
        return index

    def whole(self, values: Sequence[int], name: str) -> int:
        """Return a constant of int32 values that say how to compute."""
        return self.constant(np.array(values, np.int32), name)

    def step(
        self,
        name: str,
        inputs: Sequence[int | None],
        shape: Sequence[int],
        quantization: Quantization | None,
        path: str,
        **options: Any,
    ) -> int:
        """Add an operation of one output and return it; options that are not given have the schema's usual value."""
        output = self.tensor(shape, f"{path}.{name.lower()}" if path else name.lower(), quantization)
        self._steps.append(Step(name, tuple(inputs), output, {**OPTIONS.get(name, {}), **options}, path))
        return output

    def finish(self, inputs: Sequence[int], outputs: Sequence[int], description: str) -> QuantizedGraph:
        """Return the graph, without operations and tensors that no output depends on."""
        needed, steps = set(outputs), []
        for step in reversed(self._steps):
            if step.output in needed:
                needed |= {index for index in step.inputs if index is not None}
                steps.append(step)
        kept = [index for index in range(len(self.shapes)) if index in needed or index in inputs]
        place = {index: number for number, index in enumerate(kept)}
        storages, tensors, held = self._storages(kept, place, steps)
        ops = [
            Op(
                f"tflite.{step.name}",
                tuple(place[index] for index in step.inputs if index is not None),
                (place[step.output],),
                {"inputs": [None if index is None else Ref(place[index]) for index in step.inputs], **step.options},
                step.path,
                view=step.name == "RESHAPE",
            )
            for step in reversed(steps)
        ]
        graph = Graph(
            tuple(tensors),
            tuple(storages),
            tuple(ops),
            tuple(place[index] for index in inputs),
            tuple(place[index] for index in outputs),
            "quantized module",
        )
        return QuantizedGraph(
            graph,
            tuple(self.names[index] for index in kept),
            tuple(self.quantization[index] for index in kept),
            held,
            description=description,
        )

    def _storages(
        self, kept: list[int], place: dict[int, int], steps: list[Step]
    ) -> tuple[list[Storage], list[Tensor], dict[int, NDArray[Any]]]:
        """Give every tensor bytes of its own, but reshaped ones those of what they reshape."""
        source = {step.output: int(step.inputs[0] or 0) for step in steps if step.name == "RESHAPE"}
        storages: list[Storage] = []
        tensors: list[Tensor] = []
        for index in kept:
            size = int(np.prod(self.shapes[index], dtype=np.int64)) * np.dtype(self._dtypes[index]).itemsize
            storages.append(Storage(0 if index in source else size, self._roles[index], self.names[index]))
            lies = index
            while lies in source:
                lies = source[lies]
            tensors.append(Tensor(self.shapes[index], self._dtypes[index], place[lies]))
        return storages, tensors, {place[index]: value for index, value in self._values.items() if index in place}

    def _add(self, shape: tuple[int, ...], dtype: str, name: str, quantization: Quantization | None, role: Role) -> int:
        self.shapes.append(shape)
        self.names.append(self._unique(name))
        self.quantization.append(quantization)
        self._dtypes.append(dtype)
        self._roles.append(role)
        return len(self.shapes) - 1

    def _unique(self, name: str) -> str:
        count, tried = 1, name
        while tried in self._taken:
            count += 1
            tried = f"{name}.{count}"
        self._taken.add(tried)
        return tried


def quantized(scale: Any, zero_point: Any = 0, axis: int | None = None) -> Quantization:
    """Return a `Quantization` of numbers or arrays."""
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    zero_points = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy()
    return Quantization(scales, zero_points, axis if len(scales) > 1 else None)
