"""Write FlatBuffers, front to back: a table stands before what it refers to, as distances are unsigned and forward.

The format is that of `flatbuffer.py`. A table is given as its fields by number; positions are patched in when what they
lead to is written.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SCALARS: Final = {
    "bool": "?",
    "int8": "b",
    "uint8": "B",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
}


@dataclass(frozen=True)
class Scalar:
    """A number of one of the types of `SCALARS`."""

    kind: str
    value: float


@dataclass(frozen=True, eq=False)
class Vector:
    """Numbers of one type. `align`: of the first one, in bytes from the file's start."""

    values: NDArray[Any]
    align: int = 4


# What a field may hold: a number, a table, text, numbers, or a list of tables.
Field = Scalar | Vector | str | Mapping[int, Any] | Sequence[Mapping[int, Any]]


def serialize(root: Mapping[int, Field], identifier: bytes) -> bytes:
    """Return the file of a root table with a file identifier of four bytes."""
    writer = _Writer()
    writer.data += bytes(4) + identifier
    writer.refer(0, root)
    while writer.open:
        writer.refer(*writer.open.popleft())
    return bytes(writer.data)


class _Writer:
    """The bytes so far, and what is still to be written with the place of the distance that leads to it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.open: deque[tuple[int, Any]] = deque()

    def refer(self, place: int, value: Any) -> None:
        """Write a value at the end and the distance to it at a place."""
        if isinstance(value, str):
            raw = value.encode()
            position = self._vector(np.frombuffer(raw, np.uint8), 4)
            self.data += b"\0"
        elif isinstance(value, Vector):
            position = self._vector(value.values, max(value.align, value.values.itemsize))
        elif isinstance(value, Mapping):
            position = self._table(value)
        else:
            self._align(4)
            position = len(self.data)
            self.data += struct.pack("<I", len(value)) + bytes(4 * len(value))
            self.open.extend((position + 4 + 4 * index, table) for index, table in enumerate(value))
        struct.pack_into("<I", self.data, place, position - place)

    def _align(self, to: int, ahead: int = 0) -> None:
        """Fill up so that what comes `ahead` bytes from here is aligned."""
        self.data += bytes(-(len(self.data) + ahead) % to)

    def _vector(self, values: NDArray[Any], align: int) -> int:
        self._align(max(4, align), ahead=4)
        self.data += struct.pack("<I", len(values))
        self.data += np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
        return len(self.data) - 4 - values.nbytes

    def _table(self, fields: Mapping[int, Field]) -> int:
        """Write a vtable and its table; wide fields come first, so that all are aligned."""
        forms = {number: SCALARS[field.kind] if isinstance(field, Scalar) else "I" for number, field in fields.items()}
        sizes = {number: struct.calcsize(form) for number, form in forms.items()}
        slots = max(fields, default=-1) + 1
        self._align(8, ahead=4 + 2 * slots + 4)  # the first field after the distance to the vtable
        vtable = len(self.data)
        position = vtable + 4 + 2 * slots
        offsets, end = [0] * slots, 4
        for number in sorted(fields, key=lambda number: -sizes[number]):
            offsets[number], end = end, end + sizes[number]
        self.data += struct.pack(f"<{2 + slots}H", 4 + 2 * slots, end, *offsets) + struct.pack("<i", position - vtable)
        self.data += bytes(end - 4)
        for number, field in fields.items():
            place = position + offsets[number]
            if isinstance(field, Scalar):
                struct.pack_into("<" + forms[number], self.data, place, field.value)
            else:
                self.open.append((place, field))
        return position
