"""Put a `QuantizedGraph` together, operation by operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netwright.core.errors import NetwrightError, unknown
from netwright.graph.dtypes import bytes_of
from netwright.graph.graph import Graph, Op, Ref, Role, Storage, Tensor
from netwright.graph.integers.quantized import Origin, Quantization, QuantizedGraph
from netwright.graph.integers.schema import OPERATORS, option_fields

_VIEWS = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}
_INDICES = ("int32", "int64", "bool")  # types of constants that say how to compute: shapes, axes, paddings


def quantization(scale: ArrayLike, zero_point: ArrayLike = 0, axis: int | None = None) -> Quantization:
    """Return a tensor's quantization; more than one scale needs the axis along which they change."""
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    points = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy()
    return Quantization(scales, points, axis if len(scales) > 1 else None)


class GraphBuilder:
    """A graph in the making. Every method that adds something returns the number of the tensor that it makes.

    The finished graph holds what its outputs depend on, and all inputs: its tensors are numbered anew where something
    was left out. Names that are taken get a number: "bias", "bias.2".

    Args:
        source: where the graph comes from.
        description: a line that the graph keeps.
    """

    def __init__(self, source: str = "netwright", description: str = "") -> None:
        self.source = source
        self.description = description
        self.inputs: list[int] = []
        self.values: dict[int, NDArray[Any]] = {}
        self._tensors: list[Tensor] = []  # a tensor's storage has the number of the tensor that owns it
        self._storages: list[Storage] = []
        self._names: list[str] = []
        self._quantization: list[Quantization | None] = []
        self._ops: list[Op] = []
        self._taken: set[str] = set()
        self._indices: dict[tuple[str, bytes, tuple[int, ...]], int] = {}

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._tensors[tensor].shape

    def quantization(self, tensor: int) -> Quantization | None:
        """Return how a tensor is quantized."""
        return self._quantization[tensor]

    def input(self, name: str, shape: Sequence[int], quantized: Quantization | None, dtype: str = "int8") -> int:
        """Add an input, batch first."""
        self.inputs.append(self._tensor(name, shape, dtype, quantized, "input"))
        return self.inputs[-1]

    def constant(self, name: str, values: ArrayLike, quantized: Quantization | None = None, dtype: str = "") -> int:
        """Add a constant of its array's type (or `dtype`, for types that arrays lack).

        Equal constants that only say how to compute (int32, int64 or bool, not quantized) are one tensor.
        """
        array = np.array(values, order="C")
        array.flags.writeable = False
        if quantized is not None or array.dtype.name not in _INDICES:
            return self._constant(name, array, quantized, dtype, "parameter")
        key = dtype or array.dtype.name, array.tobytes(), array.shape
        if key not in self._indices:
            self._indices[key] = self._constant(name, array, quantized, dtype, "constant")
        return self._indices[key]

    def indices(self, name: str, values: Sequence[int]) -> int:
        """Add int32 numbers that say how to compute: a shape, axes, an order."""
        return self.constant(name, np.array(values, np.int32))

    def op(
        self,
        operator: str,
        inputs: Sequence[int | None],
        shape: Sequence[int],
        quantized: Quantization | None,
        *,
        dtype: str = "int8",
        name: str = "",
        path: str | None = None,
        **options: Any,
    ) -> int:
        """Add an operation with one output; options that are not given keep the schema's defaults, None leaves one out.

        Args:
            name: of the output; without one, it is made from the operator's.
            path: of the module that the operation stands for; without one, it is made from the name.

        Raises:
            NetwrightError: an operator or option that TensorFlow Lite does not have.
        """
        made = [(tuple(shape), quantized)]
        return self.op_many(operator, inputs, made, dtype=dtype, name=name, path=path, **options)[0]

    def op_many(
        self,
        operator: str,
        inputs: Sequence[int | None],
        outputs: Sequence[tuple[tuple[int, ...], Quantization | None]],
        *,
        dtype: str = "int8",
        name: str = "",
        path: str | None = None,
        **options: Any,
    ) -> tuple[int, ...]:
        """Add an operation with any number of outputs, each a shape and its quantization; see `op`."""
        if operator not in OPERATORS:
            raise unknown("TensorFlow Lite operator", operator, OPERATORS)
        known = defaults(operator)
        for option in options:
            if option not in known:
                raise unknown(f"option of {operator}", option, set(known))
        stated = {option: value for option, value in {**known, **options}.items() if value is not None}
        arguments = {"inputs": [None if index is None else Ref(index) for index in inputs], **stated}
        name = name or f"{operator.lower()}{len(self._ops)}"
        path = name.replace("/", ".") if path is None else path
        read = tuple(index for index in inputs if index is not None)
        made = tuple(
            self._tensor(name if not place else f"{name}.{place}", shape, dtype, quantized, "activation")
            for place, (shape, quantized) in enumerate(outputs)
        )
        view = operator in _VIEWS and self._share(read[0], made[0])
        self._ops.append(Op(f"tflite.{operator}", read, made, arguments, path, view=view))
        return made

    def build(
        self,
        outputs: Sequence[int],
        notes: Sequence[str] = (),
        *,
        origins: Sequence[Origin] = (),
        channels_last: Sequence[bool] = (),
    ) -> QuantizedGraph:
        """Return the graph without operations and tensors that no output depends on.

        Args:
            outputs: its outputs.
            notes: lines that it keeps.
            origins: which value of a network in float each tensor holds.
            channels_last: of the outputs, which are images stored so.

        Raises:
            NetwrightError: no outputs.
        """
        if not outputs:
            raise NetwrightError("A graph needs at least one output.")
        needed, kept_ops = {*outputs, *self.inputs}, []
        for op in reversed(self._ops):
            if needed.intersection(op.outputs):
                needed.update(op.inputs, op.outputs)
                kept_ops.append(op)
        kept = sorted(needed)
        number = {old: new for new, old in enumerate(kept)}
        graph = Graph(
            tuple(_on_storage(self._tensors[index], number) for index in kept),
            tuple(self._storages[index] for index in kept),
            tuple(_renumbered(op, number) for op in reversed(kept_ops)),
            tuple(number[index] for index in self.inputs),
            tuple(number[index] for index in outputs),
            self.source,
            notes=tuple(notes),
        )
        return QuantizedGraph(
            graph,
            tuple(self._names[index] for index in kept),
            tuple(self._quantization[index] for index in kept),
            {number[index]: array for index, array in self.values.items() if index in number},
            description=self.description,
            origins=tuple(replace(one, tensor=number[one.tensor]) for one in origins if one.tensor in number),
            outputs_channels_last=tuple(channels_last),
        )

    def _constant(self, name: str, array: NDArray[Any], quantized: Quantization | None, dtype: str, role: Role) -> int:
        index = self._tensor(name, array.shape, dtype or array.dtype.name, quantized, role)
        self.values[index] = array
        return index

    def _tensor(self, name: str, shape: Sequence[int], dtype: str, quantized: Quantization | None, role: Role) -> int:
        shape, name = tuple(int(side) for side in shape), self._unique(name)
        self._storages.append(Storage(bytes_of(shape, dtype), role, name))
        self._tensors.append(Tensor(shape, dtype, len(self._storages) - 1))
        self._names.append(name)
        self._quantization.append(quantized)
        return len(self._tensors) - 1

    def _unique(self, name: str) -> str:
        count, tried = 1, name
        while tried in self._taken:
            count += 1
            tried = f"{name}.{count}"
        self._taken.add(tried)
        return tried

    def _share(self, source: int, target: int) -> bool:
        """Put a view on its source's storage, as the reader of files does; the storage it had is left empty."""
        old, new = self._tensors[source], self._tensors[target]
        if old.dtype != new.dtype or old.elements != new.elements:
            return False
        self._storages[new.storage] = Storage(0, "activation", self._names[target])
        self._tensors[target] = Tensor(new.shape, new.dtype, old.storage)
        return True


def _on_storage(tensor: Tensor, number: dict[int, int]) -> Tensor:
    """Return a tensor with its storage numbered anew; a view's source is always kept."""
    return Tensor(tensor.shape, tensor.dtype, number[tensor.storage])


def _renumbered(op: Op, number: dict[int, int]) -> Op:
    operands = [None if operand is None else Ref(number[operand.tensor]) for operand in op.arguments["inputs"]]
    return Op(
        op.kind,
        tuple(number[index] for index in op.inputs),
        tuple(number[index] for index in op.outputs),
        {**op.arguments, "inputs": operands},
        op.path,
        view=op.view,
    )


def defaults(operator: str) -> dict[str, Any]:
    """Return an operator's options as they are where a file leaves them out."""
    return {field.name: field.default for field in option_fields(operator)}
