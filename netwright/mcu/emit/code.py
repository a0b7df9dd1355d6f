"""Pieces of C: what the emitters of single layers hand to the one that writes the whole file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PER_LINE = {"int8": 24, "uint8": 24, "int16": 16, "int32": 8}


@dataclass(frozen=True)
class Data:
    """C definitions of one layer's constants; the kernel headers that they and its calls need ("conv": nw_conv.h)."""

    text: str
    kernels: frozenset[str]


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
