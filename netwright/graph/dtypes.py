"""How many bits a value of each type takes, as it is stored; types carry torch's names. The only such table."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

BITS = {
    "bool": 8,
    "int2": 2,
    "uint2": 2,
    "int4": 4,
    "uint4": 4,
    "int8": 8,
    "uint8": 8,
    "int16": 16,
    "uint16": 16,
    "int32": 32,
    "uint32": 32,
    "int64": 64,
    "uint64": 64,
    "qint8": 8,
    "quint8": 8,
    "qint32": 32,
    "float4_e2m1": 4,
    "float4_e2m1fn_x2": 8,  # two values in each
    "float8_e4m3fn": 8,
    "float8_e4m3fnuz": 8,
    "float8_e5m2": 8,
    "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 8,
    "bfloat16": 16,
    "float16": 16,
    "float32": 32,
    "float64": 64,
    "complex32": 32,
    "complex64": 64,
    "complex128": 128,
}
FLOATS = ("float64", "float32", "float16", "bfloat16")  # those that activations are computed in


def bytes_of(shape: Sequence[int], dtype: str) -> int:
    """Return the bytes of a tensor, narrow types packed; 0 for types without a size, such as strings."""
    return (prod(shape) * BITS.get(dtype, 0) + 7) // 8
