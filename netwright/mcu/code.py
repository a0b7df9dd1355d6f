"""Pieces of C: what layers hand to the emitter that writes the whole files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_PER_LINE = {"int8": 24, "uint8": 24, "int16": 16, "int32": 8}


@dataclass(frozen=True)
class LayerData:
    """C definitions of one layer's constants, and the headers that they and the layer's calls include.

    `kernels`: netwright's headers by name ("conv": nw_conv.h). `headers`: headers of an operator of one's own, by file
    name: the text, or the path of a file that holds it.
    """

    text: str
    kernels: frozenset[str] = frozenset()
    headers: Mapping[str, str | Path] = field(default_factory=dict)


class RowPlace(Protocol):
    """C expressions for making one output row of a layer in a streaming segment.

    `out`: address of the row. `width`: columns to make. `tiled`: whether `width` and what is read differ from tile to
    tile, so that they are no numbers but expressions. `planar`: bytes from one channel to the next where the row goes to
    a planar ring, 0 where it is stored pixel by pixel. `line`: bytes from one channel to the next in the planar ring
    that is read. `read_width`, `read_padding`: in a tile, the columns that are read and those of padding before them.
    """

    @property
    def out(self) -> str: ...
    @property
    def width(self) -> str: ...
    @property
    def tiled(self) -> bool: ...
    @property
    def planar(self) -> int: ...
    @property
    def line(self) -> int: ...
    @property
    def read_width(self) -> str: ...
    @property
    def read_padding(self) -> str: ...

    def inputs(self) -> list[str]:
        """Return the address of this row in each input, for layers that read just it."""
        ...

    def elements(self) -> str:
        """Return how many elements the row has."""
        ...

    def window(self) -> list[str]:
        """Return statements that set `rows` to the addresses of the rows under the window, NULL for padding."""
        ...

    def neighbours(self) -> tuple[list[str], str, int]:
        """Return statements that set `rows` to the number of rows under the window, which follow one another.

        Then the address of the first of them and the bytes from one to the next.
        """
        ...


def array(name: str, values: NDArray[np.integer], *, qualifiers: str = "static const") -> str:
    """Return the definition of a C array, values in C order; int32's least is written so that no literal overflows."""
    kind = values.dtype.name
    flat = values.reshape(-1).tolist()
    texts = ["(-2147483647 - 1)" if value == -(1 << 31) else str(value) for value in flat] or ["0"]
    step = _PER_LINE[kind]
    lines = ",\n  ".join(", ".join(texts[i : i + step]) for i in range(0, len(texts), step))
    return f"{qualifiers} {kind}_t {name}[{len(texts)}] = {{\n  {lines}}};\n"


def struct(kind: str, name: str, fields: Iterable[tuple[str, object]]) -> str:
    """Return the definition of a constant struct with named fields."""
    inside = ", ".join(f".{field} = {value}" for field, value in fields)
    return f"static const {kind} {name} = {{{inside}}};\n"
