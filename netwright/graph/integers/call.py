"""What an integer kernel is given: one operation, the arrays it reads, and how its tensors are quantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.graph import Op
from netwright.graph.integers.quantized import Quantization, QuantizedGraph


@dataclass(frozen=True, eq=False)
class Call:
    """One operation at work. `arrays`: its operands in the schema's order, None for one that is left out."""

    model: QuantizedGraph
    op: Op
    arrays: tuple[NDArray[Any] | None, ...]

    @property
    def where(self) -> str:
        """The operation by kind and name, for messages."""
        return f"{self.op.kind.removeprefix('tflite.')} {self.op.path!r}"

    def option(self, name: str) -> Any:
        """Return an option of the schema."""
        return self.op.arguments[name]

    def has(self, place: int) -> bool:
        """Return whether an operand is there."""
        return place < len(self.arrays) and self.arrays[place] is not None

    def array(self, place: int) -> NDArray[Any]:
        """Return an operand.

        Raises:
            NetwrightError: it is left out.
        """
        found = self.arrays[place] if place < len(self.arrays) else None
        if found is None:
            raise NetwrightError(f"{self.where} has no operand {place}, or nothing has made it, but needs it.")
        return found

    def whole(self, place: int) -> list[int]:
        """Return an operand that says how to compute, as whole numbers."""
        return [int(value) for value in self.array(place).reshape(-1)]

    def tensor(self, place: int) -> int:
        """Return an operand's index in the graph.

        Raises:
            NetwrightError: it is left out.
        """
        operands = self.op.arguments["inputs"]
        if place >= len(operands) or operands[place] is None:
            raise NetwrightError(f"{self.where} has no operand {place}, which it needs.")
        return operands[place].tensor

    def quantization(self, tensor: int) -> Quantization:
        """Return how a tensor is quantized.

        Raises:
            NetwrightError: it is not.
        """
        found = self.model.quantization[tensor]
        if found is None:
            raise NetwrightError(
                f"{self.where}: {self.model.names[tensor]!r} is not quantized ({self.model.graph.tensors[tensor].dtype}), "
                "but only integer arithmetic is run here. Convert the model to int8 with a representative dataset."
            )
        return found

    def one(self, tensor: int) -> tuple[np.float32, int]:
        """Return scale (float32, as the reference kernels hold it) and zero point of a tensor quantized as a whole."""
        found = self.quantization(tensor)
        if len(found.scale) != 1:
            raise NetwrightError(
                f"{self.where}: {self.model.names[tensor]!r} has a scale per channel; one is possible here."
            )
        if not found.scale[0] > 0:
            raise NetwrightError(
                f"{self.where}: {self.model.names[tensor]!r} has the scale {found.scale[0]}, not a positive one."
            )
        return np.float32(found.scale[0]), int(found.zero_point[0])

    def of(self, place: int) -> tuple[np.float32, int]:
        """Return scale and zero point of an operand."""
        return self.one(self.tensor(place))

    def out(self, place: int = 0) -> tuple[np.float32, int]:
        """Return scale and zero point of an output."""
        return self.one(self.op.outputs[place])

    def out_dtype(self, place: int = 0) -> str:
        """Return the type of an output."""
        return self.model.graph.tensors[self.op.outputs[place]].dtype

    def out_shape(self, place: int = 0) -> tuple[int, ...]:
        """Return the shape of an output as the graph states it, whose batch may be another."""
        return self.model.graph.tensors[self.op.outputs[place]].shape
