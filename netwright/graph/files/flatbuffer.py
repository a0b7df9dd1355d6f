"""Read FlatBuffers that nobody vouches for: every offset is checked, nothing is copied, work is bounded by the file's size.

The format (google.github.io/flatbuffers, "FlatBuffer internals"): a table starts with the signed distance back to its
vtable, which holds its own size, the table's size and one 16-bit offset per field, 0 for a field left at its default.
Strings, vectors and tables are reached through unsigned 32-bit distances forward.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError

_FORMATS = {
    "bool": struct.Struct("<?"),
    "int8": struct.Struct("<b"),
    "uint8": struct.Struct("<B"),
    "uint16": struct.Struct("<H"),
    "int32": struct.Struct("<i"),
    "uint32": struct.Struct("<I"),
    "int64": struct.Struct("<q"),
    "uint64": struct.Struct("<Q"),
    "float32": struct.Struct("<f"),
}
_ARRAYS = {name: np.dtype(name).newbyteorder("<") for name in _FORMATS}


class FlatBuffer:
    """The bytes of one file.

    `where` names it in errors. Tables and vectors may overlap in a hostile file, so that a few bytes describe endless
    lists; what is read out is therefore counted, and may not exceed the number of bytes.
    """

    def __init__(self, data: bytes, where: str):
        self.data = data
        self.where = where
        self._left = len(data)

    @property
    def root(self) -> Table:
        """The table that the file starts with."""
        return self.table(self.distance(0))

    def broken(self, why: str) -> NetwrightError:
        """Return the error that says the file is damaged, and how."""
        return NetwrightError(f"{self.where} is damaged: {why}. Fetch or convert it again.")

    def scalar(self, kind: str, position: int) -> int | float | bool:
        """Return the number of a type at a position."""
        form = _FORMATS[kind]
        if position < 0 or position + form.size > len(self.data):
            raise self.broken(f"it ends before byte {position + form.size}, which it refers to")
        return form.unpack_from(self.data, position)[0]

    def distance(self, position: int) -> int:
        """Return the place that the forward distance at a position leads to."""
        return position + int(self.scalar("uint32", position))

    def table(self, position: int) -> Table:
        """Return the table at a position."""
        self.spend(1)
        return Table(self, position)

    def array(self, kind: str, position: int, count: int) -> NDArray[Any]:
        """Return `count` numbers from a position on as a view of the file's bytes, read-only."""
        dtype = _ARRAYS[kind]
        if position < 0 or count < 0 or position + count * dtype.itemsize > len(self.data):
            raise self.broken(f"{count:,} values at byte {position} go beyond its {len(self.data):,} bytes")
        return np.frombuffer(self.data, dtype, count, position)

    def vector(self, kind: str, position: int) -> NDArray[Any]:
        """Return the vector of numbers at a position, read-only."""
        return self.array(kind, position + 4, int(self.scalar("uint32", position)))

    def spend(self, items: int) -> None:
        """Count what was read; see the class."""
        self._left -= items
        if self._left < 0:
            raise self.broken("it describes more than its bytes can hold, so its parts overlap")


class Table:
    """One table; fields are named by their number in the schema, a missing one has its default."""

    __slots__ = ("_file", "_position", "_size", "_slots", "_vtable")

    def __init__(self, file: FlatBuffer, position: int):
        self._file = file
        self._position = position
        self._vtable = position - int(file.scalar("int32", position))
        self._slots = (int(file.scalar("uint16", self._vtable)) - 4) // 2
        self._size = int(file.scalar("uint16", self._vtable + 2))

    def _field(self, number: int) -> int:
        """Return where a field lies; 0 if it is not there."""
        if number >= self._slots:
            return 0
        offset = int(self._file.scalar("uint16", self._vtable + 4 + 2 * number))
        if offset >= max(self._size, 1):
            raise self._file.broken(f"field {number} of the table at byte {self._position} lies outside of it")
        return self._position + offset if offset else 0

    def integer(self, number: int, kind: str = "int32", default: int = 0) -> int:
        """Return a whole number."""
        place = self._field(number)
        return int(self._file.scalar(kind, place)) if place else default

    def scalar(self, number: int, kind: str, default: float = 0) -> int | float | bool:
        """Return a number of any type, bool among them."""
        place = self._field(number)
        return self._file.scalar(kind, place) if place else _FORMATS[kind].unpack(_FORMATS[kind].pack(default))[0]

    def text(self, number: int) -> str:
        """Return a string; what is not UTF-8 in it is replaced."""
        place = self._field(number)
        if not place:
            return ""
        raw = self._file.vector("uint8", self._file.distance(place))
        self._file.spend(len(raw))
        return raw.tobytes().decode("utf-8", "replace")

    def bytes(self, number: int) -> NDArray[Any]:
        """Return a vector of bytes, however long, as a view."""
        place = self._field(number)
        return self._file.vector("uint8", self._file.distance(place)) if place else np.empty(0, np.uint8)

    def vector(self, number: int, kind: str) -> NDArray[Any]:
        """Return a vector of numbers as a view."""
        place = self._field(number)
        if not place:
            return np.empty(0, _ARRAYS[kind])
        found = self._file.vector(kind, self._file.distance(place))
        self._file.spend(len(found))
        return found

    def table(self, number: int) -> Table | None:
        """Return a table, or None."""
        place = self._field(number)
        return self._file.table(self._file.distance(place)) if place else None

    def tables(self, number: int) -> Sequence[Table]:
        """Return a vector of tables."""
        place = self._field(number)
        if not place:
            return []
        start = self._file.distance(place)
        count = len(self._file.vector("uint32", start))
        self._file.spend(count)
        return [self._file.table(self._file.distance(start + 4 + 4 * index)) for index in range(count)]
