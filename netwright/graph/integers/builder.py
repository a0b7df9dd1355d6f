"""Put a `QuantizedGraph` together, operation by operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netwright.core.errors import NetwrightError, unknown
from netwright.graph.dtypes import bytes_of
from netwright.graph.graph import Graph, Op, Ref, Role, Storage, Tensor
from netwright.graph.integers.quantized import Quantization, QuantizedGraph
from netwright.graph.integers.schema import ENUMS, OPERATORS, options_of

_VIEWS = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}


def quantization(scale: ArrayLike, zero_point: ArrayLike = 0, axis: int | None = None) -> Quantization:
    """Return a tensor's quantization; more than one scale needs the axis that they lie along."""
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    points = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy()
    return Quantization(scales, points, axis)


class GraphBuilder:
    """A graph in the making: every method returns the index of the tensor that it makes."""

    def __init__(self, source: str = "netwright", description: str = "") -> None:
        self.source = source
        self.description = description
        self.inputs: list[int] = []
        self.values: dict[int, NDArray[Any]] = {}
        self._tensors: list[Tensor] = []
        self._storages: list[Storage] = []
        self._names: list[str] = []
        self._quantization: list[Quantization | None] = []
        self._ops: list[Op] = []

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._tensors[tensor].shape

    def quantization(self, tensor: int) -> Quantization | None:
        """Return how a tensor is quantized."""
        return self._quantization[tensor]

    def input(self, name: str, shape: Sequence[int], quantized: Quantization | None, dtype: str = "int8") -> int:
        """Add an input, batch first."""
        self.inputs.append(self._tensor(name, tuple(shape), dtype, quantized, "input"))
        return self.inputs[-1]

    def constant(self, name: str, values: ArrayLike, quantized: Quantization | None = None, dtype: str = "") -> int:
        """Add a constant of its array's type (or `dtype`, for types that arrays lack)."""
        array = np.array(values)
        array.flags.writeable = False
        plain = quantized is None and array.dtype.name in ("int32", "int64", "bool")
        role: Role = "constant" if plain else "parameter"
        index = self._tensor(name, array.shape, dtype or array.dtype.name, quantized, role)
        self.values[index] = array
        return index

    def op(
        self,
        operator: str,
        inputs: Sequence[int | None],
        shape: Sequence[int],
        quantized: Quantization | None,
        *,
        dtype: str = "int8",
        name: str = "",
        **options: Any,
    ) -> int:
        """Add an operation with one output; options that are not given keep the schema's defaults.

        Raises:
            NetwrightError: an operator or option that TensorFlow Lite does not have.
        """
        return self.op_many(operator, inputs, [(tuple(shape), quantized)], dtype=dtype, name=name, **options)[0]

    def op_many(
        self,
        operator: str,
        inputs: Sequence[int | None],
        outputs: Sequence[tuple[tuple[int, ...], Quantization | None]],
        *,
        dtype: str = "int8",
        name: str = "",
        **options: Any,
    ) -> tuple[int, ...]:
        """Add an operation with any number of outputs, each a shape and its quantization; see `op`."""
        if operator not in OPERATORS:
            raise unknown("TensorFlow Lite operator", operator, OPERATORS)
        arguments = {"inputs": [None if index is None else Ref(index) for index in inputs], **defaults(operator)}
        for option in options:
            if option not in arguments:
                raise unknown(f"option of {operator}", option, set(arguments) - {"inputs"})
        arguments.update(options)
        name = name or f"{operator.lower()}{len(self._ops)}"
        read = tuple(index for index in inputs if index is not None)
        made = []
        for place, (shape, quantized) in enumerate(outputs):
            made.append(
                self._tensor(name if not place else f"{name}.{place}", tuple(shape), dtype, quantized, "activation")
            )
        view = operator in _VIEWS and self._share(read[0], made[0])
        self._ops.append(Op(f"tflite.{operator}", read, tuple(made), arguments, name.replace("/", "."), view=view))
        return tuple(made)

    def build(self, outputs: Sequence[int], notes: Sequence[str] = ()) -> QuantizedGraph:
        """Return the graph."""
        if not self._ops or not outputs:
            raise NetwrightError("A graph needs at least one operation and one output.")
        graph = Graph(
            tuple(self._tensors),
            tuple(self._storages),
            tuple(self._ops),
            tuple(self.inputs),
            tuple(outputs),
            self.source,
            notes=tuple(notes),
        )
        return QuantizedGraph(
            graph, tuple(self._names), tuple(self._quantization), dict(self.values), description=self.description
        )

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: str, quantized: Quantization | None, role: Role) -> int:
        shape = tuple(int(side) for side in shape)
        self._storages.append(Storage(bytes_of(shape, dtype), role, name))
        self._tensors.append(Tensor(shape, dtype, len(self._storages) - 1))
        self._names.append(name)
        self._quantization.append(quantized)
        return len(self._tensors) - 1

    def _share(self, source: int, target: int) -> bool:
        """Lay a view on its source's storage, as the reader of files does; what it had is left empty."""
        old, new = self._tensors[source], self._tensors[target]
        if old.dtype != new.dtype or old.elements != new.elements:
            return False
        self._storages[new.storage] = Storage(0, "activation", self._names[target])
        self._tensors[target] = Tensor(new.shape, new.dtype, old.storage)
        return True


def defaults(operator: str) -> dict[str, Any]:
    """Return an operator's options as they are where a file leaves them out."""
    found: dict[str, Any] = {}
    for field in options_of(operator)[2].split():
        name, _, kind = field.partition(":")
        kind, _, default = kind.partition("=")
        if name == "_":
            continue
        if kind in ENUMS:
            found[name] = ENUMS[kind][int(default or 0)]
        elif kind == "text":
            found[name] = ""
        elif kind.endswith("s"):
            found[name] = ()
        else:
            found[name] = int(default or 0)
    return found
