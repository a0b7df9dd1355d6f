"""Write small .tflite files for tests: tables as dictionaries from field number to value.

A value is (type, number), a text, bytes, an array (a vector of its numbers), a `Table` or a list of tables. Everything
is aligned as other readers ask for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netwright.graph.integers.schema import OPERATORS, TYPES

FORMATS = {"bool": "?", "int8": "b", "uint8": "B", "int32": "i", "uint32": "I", "int64": "q", "float32": "f"}


@dataclass
class Table:
    fields: dict[int, Any] = field(default_factory=dict)


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray(b"\0\0\0\0TFL3")

    def align(self, to: int, rest: int = 0) -> int:
        while len(self.data) % to != rest:
            self.data.append(0)
        return len(self.data)

    def patch(self, place: int, target: int) -> None:
        struct.pack_into("<I", self.data, place, target - place)

    def write(self, value: Any) -> int:
        if isinstance(value, Table):
            return self.table(value)
        if isinstance(value, list):
            start = self.align(4)
            self.data += struct.pack("<I", len(value)) + bytes(4 * len(value))
            written: dict[int, int] = {}  # a table that stands in a list twice is shared
            for number, part in enumerate(value):
                if id(part) not in written:
                    written[id(part)] = self.write(part)
                self.patch(start + 4 + 4 * number, written[id(part)])
            return start
        raw = value.encode() + b"\0" if isinstance(value, str) else value
        raw = raw.tobytes() if isinstance(raw, np.ndarray) else raw
        start = self.align(16, 12)
        self.data += struct.pack("<I", len(value)) + raw
        return start

    def table(self, table: Table) -> int:
        """Every field has eight bytes, in order; vtable first."""
        slots = max(table.fields, default=-1) + 1
        vtable = self.align(8)
        self.data += struct.pack("<HH", 4 + 2 * slots, 4 + 8 * slots)
        self.data += b"".join(struct.pack("<H", 4 + 8 * n if n in table.fields else 0) for n in range(slots))
        start = self.align(8, 4)
        self.data += struct.pack("<i", start - vtable) + bytes(8 * slots)
        children = []
        for number, value in table.fields.items():
            place = start + 4 + 8 * number
            if isinstance(value, tuple):
                struct.pack_into("<" + FORMATS[value[0]], self.data, place, value[1])
            else:
                children.append((place, value))
        for place, value in children:
            self.patch(place, self.write(value))
        return start


def flat(root: Table) -> bytes:
    writer = _Writer()
    writer.patch(0, writer.write(root))
    return bytes(writer.data)


@dataclass
class File:
    """A model in the making: `tensor` and `op` add to it and return indices, `data` gives the bytes."""

    tensors: list[Table] = field(default_factory=list)
    ops: list[Table] = field(default_factory=list)
    codes: list[Table] = field(default_factory=list)
    buffers: list[Table] = field(default_factory=lambda: [Table()])

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "int8",
        values: np.ndarray | bytes | None = None,
        *,
        scale: Any = None,
        zero_point: Any = 0,
        axis: int = 0,
        name: str = "",
        extra: dict[int, Any] | None = None,
    ) -> int:
        fields: dict[int, Any] = {
            0: np.asarray(shape, np.int32),
            1: ("int8", TYPES.index(dtype)),
            3: name or f"t{len(self.tensors)}",
        }
        if values is not None:
            self.buffers.append(Table({0: values.tobytes() if isinstance(values, np.ndarray) else values}))
            fields[2] = ("uint32", len(self.buffers) - 1)
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            points = np.atleast_1d(np.asarray(zero_point, np.int64))
            fields[4] = Table({2: scales, 3: points, 6: ("int32", axis)})
        self.tensors.append(Table(fields | (extra or {})))
        return len(self.tensors) - 1

    def op(
        self,
        name: str,
        inputs: list[int],
        outputs: list[int],
        number: int = 0,
        options: dict[int, Any] | None = None,
        *,
        version: int = 1,
    ) -> None:
        code = OPERATORS.index(name) if name in OPERATORS else OPERATORS.index("CUSTOM")
        fields = {0: ("int8", min(code, 127)), 2: ("int32", version), 3: ("int32", code)}
        self.codes.append(Table(fields if name in OPERATORS else fields | {1: name}))
        made: dict[int, Any] = {
            0: ("uint32", len(self.codes) - 1),
            1: np.asarray(inputs, np.int32),
            2: np.asarray(outputs, np.int32),
        }
        if options is not None:
            made |= {3: ("uint8", number), 4: Table(options)}
        self.ops.append(Table(made))

    def data(self, inputs: list[int], outputs: list[int], **more: Any) -> bytes:
        graph = Table(
            {
                0: self.tensors,
                1: np.asarray(inputs, np.int32),
                2: np.asarray(outputs, np.int32),
                3: self.ops,
                4: "main",
            }
        )
        return flat(
            Table({0: ("uint32", 3), 1: self.codes, 2: [graph, *more.get("graphs", [])], 3: "made", 4: self.buffers})
        )


def small_network() -> bytes:
    """Convolution, depthwise convolution, addition, pooling, reshape, a fully connected layer; int8, per channel."""
    file = File()
    random = np.random.default_rng(0)
    x = file.tensor((1, 8, 8, 3), scale=0.5, zero_point=-3, name="image")
    w = file.tensor(
        (4, 3, 3, 3),
        values=random.integers(-9, 9, (4, 3, 3, 3), np.int8),
        scale=[0.1, 0.2, 0.3, 0.4],
        zero_point=[0] * 4,
    )
    b = file.tensor((4,), "int32", np.arange(4, dtype=np.int32), scale=[0.05, 0.1, 0.15, 0.2], zero_point=[0] * 4)
    a = file.tensor((1, 4, 4, 4), scale=0.25, zero_point=5, name="net/relu;net/bias")
    dw = file.tensor(
        (1, 3, 3, 4), values=random.integers(-9, 9, (1, 3, 3, 4), np.int8), scale=[0.1] * 4, zero_point=[0] * 4, axis=3
    )
    c = file.tensor((1, 4, 4, 4), scale=0.25, zero_point=5)
    d = file.tensor((1, 4, 4, 4), scale=0.25, zero_point=5)
    e = file.tensor((1, 1, 1, 4), scale=0.25, zero_point=5)
    shape = file.tensor((2,), "int32", np.asarray([1, 4], np.int32))
    f = file.tensor((1, 4), scale=0.25, zero_point=5)
    fc = file.tensor((2, 4), values=random.integers(-9, 9, (2, 4), np.int8), scale=0.1)
    y = file.tensor((1, 2), scale=0.25, zero_point=5, name="logits")
    db = file.tensor((4,), "int32", np.zeros(4, np.int32), scale=[0.025] * 4, zero_point=[0] * 4)
    conv = {0: ("int8", 0), 1: ("int32", 2), 2: ("int32", 2), 3: ("int8", 3)}
    file.op("CONV_2D", [x, w, b], [a], 1, conv, version=3)
    depthwise = {0: ("int8", 0), 1: ("int32", 1), 2: ("int32", 1), 3: ("int32", 1), 4: ("int8", 1)}
    file.op("DEPTHWISE_CONV_2D", [a, dw, db], [c], 2, depthwise, version=3)
    file.op("ADD", [a, c], [d], 11, {0: ("int8", 0)}, version=2)
    pool = {0: ("int8", 1), 1: ("int32", 4), 2: ("int32", 4), 3: ("int32", 4), 4: ("int32", 4)}
    file.op("AVERAGE_POOL_2D", [d], [e], 5, pool, version=2)
    file.op("RESHAPE", [e, shape], [f], 17, {})
    file.op("FULLY_CONNECTED", [f, fc, -1], [y], 8, {0: ("int8", 0)}, version=6)
    return file.data([x], [y])
