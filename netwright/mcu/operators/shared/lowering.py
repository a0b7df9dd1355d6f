"""What the lowering rules of operators share: values by tensor, constants, quantization, and what waits to be folded.

Padding and transposition make no layer when they are met: they wait until something reads them, which may take them into
itself (a convolution its padding, a mean its axes). Only what must be in memory becomes a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.graph import Op, Ref
from netwright.graph.integers.call import Call
from netwright.graph.integers.fixed import activation_range
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.layer import Layer, NetworkValue
from netwright.mcu.operators.shared import copies

LARGEST_ELEMENTS = 1 << 24  # of one value: above any microcontroller, below what exhausts a workstation

LARGEST_REMEMBERED = 1 << 20  # elements of a moved value whose origins are kept
LARGEST_COUNTED = 1 << 30  # elements of all origins of one movement: their numbers stay within 32 bits


@dataclass(frozen=True, slots=True)
class Padded:
    """A value with `before` and `after` more elements on each dimension, which hold `fill`."""

    source: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    fill: int


@dataclass(frozen=True, slots=True)
class Permuted:
    """A value whose dimension `order[i]` is read as dimension i."""

    source: int
    order: tuple[int, ...]


class Lowering:
    """A network in the making: the rules append layers and say which value a tensor became (`value_of`).

    `arithmetic`: by operator, the function of the integer interpreter.
    """

    def __init__(self, model: QuantizedGraph, arithmetic: Mapping[str, Callable[[Call], Any]]):
        self.model, self.arithmetic = model, arithmetic
        self.values: list[NetworkValue] = []
        self.layers: list[Layer] = []
        self.notes: list[str] = []
        self.value_of: dict[int, int] = {}
        self.functions: dict[int, tuple[int, NDArray[np.int8]]] = {}  # by value: of which other, and the table
        self._moved: dict[int, tuple[tuple[int, ...], NDArray[np.int32]]] = {}  # by value: of which others, and where
        self._constants: dict[int, NDArray[np.int8]] = {}  # by value: what it holds
        self._waiting: dict[int, Padded | Permuted] = {}
        self._waiting_name: dict[int, str] = {}

    # -- tensors

    def refuse(self, op: Op, why: str, instead: str) -> NetwrightError:
        """Return the error for an operation that cannot become integer C."""
        name = op.kind.removeprefix("tflite.")
        return NetwrightError(f"{name} that makes {self._first_output(op)} cannot be compiled: {why}. {instead}")

    def _first_output(self, op: Op) -> str:
        return repr(self.model.names[op.outputs[0]]) if op.outputs else "nothing"

    def operands(self, op: Op) -> list[int | None]:
        """Return the tensors of an operation's operands in order, None for one that is left out."""
        return [given.tensor if isinstance(given, Ref) else None for given in op.arguments["inputs"]]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return a tensor's shape without a leading batch of 1."""
        return without_batch(self.model.graph.tensors[tensor].shape)

    def dtype(self, tensor: int) -> str:
        """Return a tensor's type."""
        return self.model.graph.tensors[tensor].dtype

    def constant(self, tensor: int | None) -> NDArray[Any] | None:
        """Return a constant's values in its tensor's shape, None for what is no constant."""
        if tensor is None or tensor not in self.model.values:
            return None
        values = self.model.values[tensor]
        return values if values.shape == self.model.graph.tensors[tensor].shape else None

    def integers(self, op: Op, tensor: int | None, what: str) -> list[int]:
        """Return the numbers of an operand that must be a constant list."""
        values = self.constant(tensor)
        if values is None or values.dtype.kind not in "iu":
            raise self.refuse(op, f"its {what} is computed while the network runs", "Only constants are compiled.")
        return [int(value) for value in values.reshape(-1)]

    def quantization(self, op: Op, tensor: int) -> tuple[float, int]:
        """Return (scale, zero point) of an int8 tensor that has one of each."""
        found = self.model.quantization[tensor]
        name, dtype = self.model.names[tensor], self.dtype(tensor)
        if dtype != "int8":
            raise self.refuse(
                op, f"{name!r} is of type {dtype}", "Activations of type int8 are compiled; quantize the model fully."
            )
        if found is None or len(found.scale) != 1 or not found.scale[0] > 0:
            raise self.refuse(
                op, f"{name!r} has no single positive scale", "Quantize the model fully, activations per tensor."
            )
        zero_point = int(found.zero_point[0])
        if not -128 <= zero_point <= 127:
            raise self.refuse(op, f"the zero point {zero_point} of {name!r} is none of int8's", "Allowed: -128 to 127.")
        return float(found.scale[0]), zero_point

    def call(self, op: Op) -> Call:
        """Return an operation as the interpreter is given it, with its constants only: the constants' arithmetic is there."""
        return Call(self.model, op, tuple(self.constant(tensor) for tensor in self.operands(op)))

    def clamp(self, op: Op, output: int) -> tuple[int, int]:
        """Return the range of an operation's fused activation."""
        scale, zero_point = self.quantization(op, output)
        return activation_range(op.arguments.get("fused_activation_function", "NONE"), scale, zero_point)

    # -- values

    def make(self, op: Op, tensor: int, *, shape: tuple[int, ...] | None = None, alias: int = -1) -> int:
        """Return a new value for a tensor that an operation makes; `shape` where it is not the tensor's."""
        scale, zero_point = self.quantization(op, tensor)
        index = self.new(shape or self.shape(tensor), self.model.names[tensor], scale, zero_point, alias=alias)
        if shape is None:
            self.value_of[tensor] = index
        return index

    def new(self, shape: tuple[int, ...], name: str, scale: float, zero_point: int, *, alias: int = -1) -> int:
        """Return a new value that is no tensor of the model."""
        if int(np.prod(shape, dtype=object)) > LARGEST_ELEMENTS:
            raise NetwrightError(f"{name!r} of shape {shape} is too large: at most {LARGEST_ELEMENTS:,} elements.")
        self.values.append(NetworkValue(name, shape, "int8", scale, zero_point, alias))
        return len(self.values) - 1

    def root(self, value: int) -> int:
        """Return the value whose bytes a value shares, itself if it has its own."""
        while self.values[value].alias >= 0:
            value = self.values[value].alias
        return value

    def waits(self, tensor: int, how: Padded | Permuted, name: str) -> None:
        """Say what a tensor is without making it."""
        self._waiting[tensor] = how
        self._waiting_name[tensor] = name

    def padded(self, tensor: int) -> Padded | None:
        """Return the padding that a tensor waits for, None if it does not."""
        found = self._waiting.get(tensor)
        return found if isinstance(found, Padded) else None

    def permuted(self, tensor: int) -> Permuted | None:
        """Return the transposition that a tensor waits for, None if it does not."""
        found = self._waiting.get(tensor)
        return found if isinstance(found, Permuted) else None

    def value(self, op: Op, tensor: int | None) -> int:
        """Return the value of a tensor that an operation reads, making it if it waits."""
        if tensor is None:
            raise self.refuse(op, "an operand is missing", "Convert the model again.")
        if tensor in self._waiting and tensor not in self.value_of:
            self._materialize(op, tensor)
        constant = self.constant(tensor)
        if constant is not None and constant.dtype == np.int8 and tensor not in self.value_of:
            self._held(op, tensor, constant)
        if tensor not in self.value_of:
            kind = "a constant" if tensor in self.model.values else f"of type {self.dtype(tensor)}"
            raise self.refuse(op, f"{self.model.names[tensor]!r} is {kind}", "It must be computed, of type int8.")
        return self.value_of[tensor]

    def _materialize(self, op: Op, tensor: int) -> None:
        how = self._waiting[tensor]
        source = self.values[how.source]
        if isinstance(how, Padded):
            blocks, fill = (copies.pad(source.shape, how.before, how.after),), how.fill
        else:
            index = np.arange(source.bytes, dtype=np.int32).reshape(source.shape).transpose(how.order)
            self.gather(op, tensor, (how.source,), index, self._waiting_name[tensor])
            return
        output = self.make(op, tensor)
        self.layers.append(copies.copy((how.source,), output, self._waiting_name[tensor], blocks, fill))

    def _held(self, op: Op, tensor: int, constant: NDArray[np.int8]) -> None:
        """Make a value of a constant: a copy from flash, which is left out where only movements read it."""
        scale, zero_point = self.quantization(op, tensor)
        name = self.model.names[tensor]
        value = self.new(self.shape(tensor), name, scale, zero_point)
        self.value_of[tensor] = value
        self._constants[value] = constant
        block = copies.take((constant.size,), (0,), (1,), (constant.size,))
        self.layers.append(copies.copy((), value, name, (block,), constants=(constant,)))

    # -- movements

    def gather(self, op: Op, tensor: int, sources: Sequence[int], index: NDArray[np.int32], name: str) -> None:
        """Make a tensor of elements of values: `index`, in the tensor's shape or one like it, counts them in the values one after another.

        Movements of what was only moved are made from where it came from: values between are dropped if nothing else
        reads them, and a tensor that comes back to where it was is a view.

        Raises:
            NetwrightError: the elements come in too many pieces.
        """
        for origins, places in self._readings(sources, index):
            sizes = [self.values[origin].bytes for origin in origins]
            if len(origins) == 1 and np.array_equal(places.reshape(-1), np.arange(sizes[0])):
                self.make(op, tensor, alias=origins[0])
                return
            if (blocks := copies.from_indices(places, sizes)) is not None:
                used = dict.fromkeys(origins[block.source] for block in blocks)
                read = tuple(value for value in used if value not in self._constants)
                held = tuple(value for value in used if value in self._constants)
                blocks = tuple(replace(block, source=(read + held).index(origins[block.source])) for block in blocks)
                output = self.make(op, tensor)
                constants = tuple(self._constants[value] for value in held)
                self.layers.append(copies.copy(read, output, name, blocks, constants=constants))
                if index.size <= LARGEST_REMEMBERED:
                    self._moved[output] = origins, places.reshape(-1)
                return
        raise self.refuse(op, "it moves elements in too many pieces", "Choose sizes that divide each other.")

    def _readings(
        self, sources: Sequence[int], index: NDArray[np.int32]
    ) -> Iterator[tuple[tuple[int, ...], NDArray[np.int32]]]:
        """Yield ways to read `index`: values, some perhaps more than once, and the places of the elements in them, concatenated.

        First from where the sources were moved from, each value once: what was split and joined again is whole. Then
        operand by operand, for one value at several places fills no box. Last from the sources themselves.
        """
        for once in (True, False):
            found = self._origins(sources, index, once=once)
            if found is not None:
                yield found
        yield tuple(sources), index

    def _origins(
        self, sources: Sequence[int], index: NDArray[np.int32], *, once: bool
    ) -> tuple[tuple[int, ...], NDArray[np.int32]] | None:
        """Return the values that `sources` were moved from, and the place of each element of `index` among them.

        `once`: a value that several sources come from is given once. None where there is too much of them to count.
        """
        starts: dict[tuple[int, int, int], int] = {}  # by (number of the source, place in its origins, value)
        moved, total = [], 0
        for number, source in enumerate(map(self.root, sources)):
            origins, places = self._moved.get(source, ((source,), np.arange(self.values[source].bytes, dtype=np.int32)))
            keys = [(0, 0, origin) if once else (number, place, origin) for place, origin in enumerate(origins)]
            for key in keys:
                if key not in starts:
                    starts[key], total = total, total + self.values[key[2]].bytes
            if total > LARGEST_COUNTED:
                return None
            ends = np.cumsum([self.values[origin].bytes for origin in origins])
            which = np.searchsorted(ends, places, side="right")
            shifts = [starts[key] - int(end) + self.values[key[2]].bytes for key, end in zip(keys, ends, strict=True)]
            moved.append(places + np.asarray(shifts, np.int32)[which])
        return tuple(origin for _, _, origin in starts), np.concatenate(moved)[index]


def without_batch(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop a leading dimension of 1, unless it is the only one."""
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
