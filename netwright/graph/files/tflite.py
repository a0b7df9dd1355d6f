"""Read a .tflite file: the operations as a `Graph`, and what integer arithmetic needs beside it.

A tensor's index in the graph is its index in the file's first subgraph. An operation of kind "tflite.CONV_2D" holds all
of that operator's options under the names of TensorFlow Lite's schema, and under "inputs" its operands in order, None for
one that is left out. Reshaping shares the storage of what it reshapes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.dtypes import BITS, bytes_of
from netwright.graph.files.flatbuffer import FlatBuffer, Table
from netwright.graph.files.tflite_options import read_options
from netwright.graph.graph import Graph, Op, Ref, Role, Storage, Tensor
from netwright.graph.integers.dilation import dilated
from netwright.graph.integers.fold import folded
from netwright.graph.integers.quantized import Quantization, QuantizedGraph
from netwright.graph.integers.schema import OPERATORS, TYPES
from netwright.graph.operations.table import traits_of

LARGEST = 1 << 40  # bytes of one tensor; more is an attack or a broken file
_SIZELESS = {"string", "resource", "variant"}


def read_tflite(path: str | Path) -> Graph:
    """Return the operations of a .tflite file that depend on its inputs, dilated convolutions as such.

    Raises:
        NetwrightError: the file cannot be read, is damaged, or says what cannot be.
    """
    return dilated(folded(load_tflite(path))).graph


def load_tflite(path: str | Path) -> QuantizedGraph:
    """Return everything in a .tflite file that is needed to run it.

    Raises:
        NetwrightError: the file cannot be read, is damaged, or says what cannot be.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise NetwrightError(f"{path} is not a file. Give the path of a .tflite file.")
        data = path.read_bytes()
    except OSError as error:
        raise NetwrightError(f"Cannot read {path}: {error.strerror or error}.") from error
    return parse_tflite(data, str(path))


def parse_tflite(data: bytes, where: str = "The model") -> QuantizedGraph:
    """Return what the bytes of a .tflite file hold; `where` names it in errors.

    Raises:
        NetwrightError: the bytes are damaged, or say what cannot be.
    """
    if data[4:8] != b"TFL3":
        raise NetwrightError(f"{where} is not a .tflite file of version 3: its bytes 4 to 8 are not 'TFL3'.")
    return _Reading(FlatBuffer(data, where)).model()


class _Reading:
    """Reading one file: its tables, and what has been made of them so far."""

    def __init__(self, file: FlatBuffer):
        self.file = file
        self.root = file.root
        subgraphs = self.root.tables(2)
        if not subgraphs:
            raise file.broken("it holds no graph")
        self.main = subgraphs[0]
        self.notes: list[str] = []
        if len(subgraphs) > 1:
            self.notes.append(
                f"{len(subgraphs) - 1} further subgraphs, which IF, WHILE and CALL run, are not read: "
                "what they do is counted nowhere"
            )
        self.buffers = self.root.tables(4)
        self.codes = [self._operator(code) for code in self.root.tables(1)]
        self.tables = self.main.tables(0)
        self._misplaced: list[str] = []
        self._sparse: list[str] = []
        self.names: list[str] = []
        self.quantization: list[Quantization | None] = []
        self.values: dict[int, NDArray[Any]] = {}
        self.variables: list[int] = []
        self._tensors: list[Tensor] = []
        self._storages: list[Storage] = []
        self._of_buffer: dict[int, int] = {}
        self._unpacked: dict[tuple[int, str], NDArray[Any]] = {}

    def model(self) -> QuantizedGraph:
        inputs, outputs = self._indices(self.main, 1), self._indices(self.main, 2)
        for index, table in enumerate(self.tables):
            self._read_tensor(index, table, index in inputs)
        ops = self._operations(set(inputs))
        if self._misplaced:
            self.notes.append(
                f"{len(self._misplaced)} tensors have an invalid quantized_dimension, for which other readers refuse the "
                f"file; the first is {self._misplaced[0]}"
            )
        if self._sparse:
            self.notes.append(
                f"{len(self._sparse)} tensors are stored sparsely, {self._sparse[0]!r} first; their values are given as stored"
            )
        graph = Graph(
            tuple(self._tensors), tuple(self._storages), ops, inputs, outputs, "tflite", notes=tuple(self.notes)
        )
        return QuantizedGraph(
            graph,
            tuple(self.names),
            tuple(self.quantization),
            self.values,
            tuple(self.variables),
            self.root.text(3),
        )

    def _operator(self, code: Table) -> str:
        # Codes beyond 127 stand in the newer field; files older than it have only the first.
        number = max(code.integer(0, "int8"), code.integer(3))
        if not 0 <= number < len(OPERATORS):
            raise NetwrightError(
                f"{self.file.where} uses operator number {number}, which is newer than the {len(OPERATORS)} known here."
            )
        return f"custom.{code.text(1) or 'unnamed'}" if OPERATORS[number] == "CUSTOM" else OPERATORS[number]

    def _indices(self, table: Table, field: int) -> tuple[int, ...]:
        """Return a list of tensors that must all exist."""
        found = tuple(table.vector(field, "int32").tolist())
        wrong = [index for index in found if not 0 <= index < len(self.tables)]
        if wrong:
            raise self.file.broken(f"it refers to tensor {wrong[0]} of {len(self.tables)}")
        return found

    def _read_tensor(self, index: int, table: Table, is_input: bool) -> None:
        name = table.text(3) or f"tensor {index}"
        shape = tuple(table.vector(0, "int32").tolist())
        kind = table.integer(1, "int8")
        if not 0 <= kind < len(TYPES):
            raise self.file.broken(f"tensor {name!r} is of type number {kind}, which does not exist")
        dtype = TYPES[kind]
        if any(side < 0 for side in shape) or bytes_of(shape, dtype) > LARGEST:
            raise self.file.broken(f"tensor {name!r} is of shape {shape}")
        self.names.append(name)
        self.quantization.append(self._quantization(table.table(4), name, shape))
        self._tensors.append(Tensor(shape, dtype, self._storage(index, table, name, shape, dtype, is_input)))

    def _storage(self, index: int, table: Table, name: str, shape: tuple[int, ...], dtype: str, is_input: bool) -> int:
        buffer = table.integer(2, "uint32")
        if buffer >= max(1, len(self.buffers)):
            raise self.file.broken(f"tensor {name!r} lies in buffer {buffer} of {len(self.buffers)}")
        raw = self._bytes(buffer) if buffer else np.empty(0, np.uint8)
        role: Role = "input" if is_input else "activation"
        size = bytes_of(shape, dtype)
        if len(raw):
            role = self._constant(index, table, name, raw, buffer, shape, dtype)
            size = len(raw)
            if buffer in self._of_buffer:
                return self._of_buffer[buffer]
            self._of_buffer[buffer] = len(self._storages)
        elif table.integer(10, "uint32"):
            role = "parameter"
            self.notes.append(f"the values of {name!r} lie in another file and are not read")
        elif table.scalar(5, "bool"):
            role = "buffer"
            self.variables.append(index)
        self._storages.append(Storage(size, role, name))
        return len(self._storages) - 1

    def _bytes(self, buffer: int) -> NDArray[Any]:
        """Return a buffer's content; in files above 2 GB it lies behind the tables, at an offset from the start."""
        table = self.buffers[buffer]
        offset = table.integer(1, "uint64")
        if offset > 1:
            return self.file.array("uint8", offset, table.integer(2, "uint64"))
        return table.bytes(0)

    def _constant(
        self,
        index: int,
        table: Table,
        name: str,
        raw: NDArray[Any],
        buffer: int,
        shape: tuple[int, ...],
        dtype: str,
    ) -> Role:
        """Keep a constant's values; return whether it was learned or only says how to compute."""
        if table.table(6) is not None:
            self._sparse.append(name)
            self.values[index] = raw
            return "parameter"
        if dtype in _SIZELESS:
            self.values[index] = raw
            return "constant"
        if len(raw) != bytes_of(shape, dtype):
            raise self.file.broken(
                f"tensor {name!r} of shape {shape} and type {dtype} needs {bytes_of(shape, dtype):,} bytes, "
                f"its buffer holds {len(raw):,}"
            )
        if BITS[dtype] < 8:
            if (buffer, dtype) not in self._unpacked:
                self.file.spend(len(raw))
                self._unpacked[buffer, dtype] = _unpack(raw, BITS[dtype], signed=dtype.startswith("int"))
            self.values[index] = self._unpacked[buffer, dtype][: int(np.prod(shape))].reshape(shape)
        else:
            stands_in = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}.get(dtype, dtype)
            self.values[index] = raw.view(np.dtype(stands_in).newbyteorder("<")).reshape(shape)
        plain_integer = dtype in ("int32", "int64", "bool", "uint32", "uint64") and self.quantization[index] is None
        return "constant" if plain_integer else "parameter"

    def _quantization(self, table: Table | None, name: str, shape: tuple[int, ...]) -> Quantization | None:
        if table is None:
            return None
        if table.integer(4, "uint8") > 1:
            self.notes.append(f"{name!r} is quantized block by block, which is not read")
        scale, zero_point = table.vector(2, "float32"), table.vector(3, "int64")
        if not len(scale):
            return None
        if not np.isfinite(scale).all() or (scale < 0).any():
            raise self.file.broken(f"tensor {name!r} has a scale that is negative or not a number")
        if len(zero_point) not in (0, 1, len(scale)):
            raise self.file.broken(f"tensor {name!r} has {len(scale)} scales and {len(zero_point)} zero points")
        if len(zero_point) < len(scale):
            shared = zero_point[0] if len(zero_point) else 0
            zero_point = np.full(len(scale), shared, np.int64)
        axis = self._axis(table.integer(6), len(scale), name, shape) if len(scale) > 1 else None
        return Quantization(scale, zero_point, axis)  # pyright: ignore[reportArgumentType]

    def _axis(self, axis: int, count: int, name: str, shape: tuple[int, ...]) -> int:
        if 0 <= axis < len(shape) and shape[axis] == count:
            return axis
        fitting = [place for place, side in enumerate(shape) if side == count]
        if len(fitting) != 1:
            raise self.file.broken(
                f"tensor {name!r} of shape {shape} has {count} scales along quantized_dimension {axis}, which does not fit"
            )
        self._misplaced.append(
            f"{name!r} of shape {shape}: {axis}, read as {fitting[0]}, the only axis that its scales fit"
        )
        return fitting[0]

    def _operations(self, ready: set[int]) -> tuple[Op, ...]:
        ready |= {index for index, tensor in enumerate(self._tensors) if self._role(tensor) != "activation"}
        ops = []
        for place, table in enumerate(self.main.tables(3)):
            code = table.integer(0, "uint32")
            if code >= len(self.codes):
                raise self.file.broken(f"operation {place} is of code {code} of {len(self.codes)}")
            operands = table.vector(1, "int32").tolist()
            inputs = tuple(index for index in operands if index != -1)
            outputs = self._indices(table, 2)
            missing = [index for index in inputs if index not in ready]
            if missing:
                raise self.file.broken(f"operation {place} reads tensor {missing[0]}, which nothing has made yet")
            again = [index for index in outputs if index in ready and self._role(self._tensors[index]) != "buffer"]
            if again or len(set(outputs)) < len(outputs):
                raise self.file.broken(f"operation {place} makes tensor {(again or outputs)[0]} again")
            ready.update(outputs)
            ops.append(self._operation(place, self.codes[code], table, operands, inputs, outputs))
        lost = [index for index in self._indices(self.main, 2) if index not in ready]
        if lost:
            raise self.file.broken(f"nothing makes its output, tensor {lost[0]}")
        return tuple(ops)

    def _operation(
        self,
        place: int,
        operator: str,
        table: Table,
        operands: list[int],
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
    ) -> Op:
        given = {1: (table.integer(3, "uint8"), table.table(4)), 2: (table.integer(11, "uint8"), table.table(12))}
        try:
            options = read_options(operator, given)
        except ValueError as error:
            raise self.file.broken(f"operation {place}, {operator}, {error}") from None
        if operator.startswith("custom."):
            options["custom_options"] = table.bytes(5)
        arguments: dict[str, Any] = {"inputs": [None if index == -1 else Ref(index) for index in operands], **options}
        view = (
            traits_of(f"tflite.{operator}").view
            and bool(inputs)
            and len(outputs) == 1
            and self._share(inputs[0], outputs[0])
        )
        path = self.names[outputs[0]].split(";")[0].replace("/", ".") if outputs else ""
        touched = (self._tensors[index] for index in (*inputs, *outputs))
        writes = tuple(tensor.storage for tensor in touched if self._role(tensor) == "buffer")  # recurrent states
        return Op(f"tflite.{operator}", inputs, outputs, arguments, path, view=view, writes=writes)

    def _share(self, source: int, target: int) -> bool:
        """Lay the target on the source's storage, if both hold the same bytes; what it had is left empty."""
        old, new = self._tensors[source], self._tensors[target]
        if old.dtype != new.dtype or old.elements != new.elements or self._role(new) != "activation":
            return False
        self._storages[new.storage] = Storage(0, "activation", self.names[target])
        self._tensors[target] = Tensor(new.shape, new.dtype, old.storage)
        return True

    def _role(self, tensor: Tensor) -> Role:
        return self._storages[tensor.storage].role


def _unpack(raw: NDArray[Any], bits: int, *, signed: bool) -> NDArray[Any]:
    """Return values of 2 or 4 bits, the lowest bits of a byte first, as one int8 or uint8 each."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    values = (raw[:, None] >> shifts) & np.uint8((1 << bits) - 1)
    if signed:
        values = (values << np.uint8(8 - bits)).view(np.int8) >> np.int8(8 - bits)
    values = values.reshape(-1)
    values.flags.writeable = False
    return values
