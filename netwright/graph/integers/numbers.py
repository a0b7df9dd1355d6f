"""Operators on plain numbers: the arithmetic of shapes and indices, and of constants that are not quantized.

A network converted with a free batch computes shapes while it runs: SHAPE, STRIDED_SLICE, PACK before a RESHAPE. They are
known as soon as the batch is, so that `fold` computes them once. Integers divide towards zero, as C does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.integers.call import Call

_DTYPES = {
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
}


def _pair(function: Callable[[Any, Any], Any]) -> Callable[[Call], NDArray[Any]]:
    def compute(call: Call) -> NDArray[Any]:
        if call.op.arguments.get("fused_activation_function", "NONE") != "NONE":
            raise NetwrightError(f"{call.where} fuses an activation, which is not computed on plain numbers.")
        first, second = call.array(0), call.array(1)
        _fits(call, np.broadcast_shapes(first.shape, second.shape))
        return np.asarray(function(first, second))

    return compute


def _single(function: Callable[[Any], Any]) -> Callable[[Call], NDArray[Any]]:
    return lambda call: np.asarray(function(call.array(0)))


def _reduced(function: Callable[..., Any]) -> Callable[[Call], NDArray[Any]]:
    def compute(call: Call) -> NDArray[Any]:
        x = call.array(0)
        axes = tuple(sorted({axis % max(1, x.ndim) for axis in call.whole(1)}))
        return np.asarray(function(x, axis=axes, keepdims=bool(call.option("keep_dims")))).astype(x.dtype)

    return compute


def _divided(first: Any, second: Any) -> Any:
    if np.issubdtype(np.asarray(first).dtype, np.floating):
        return first / second
    return (np.sign(first) * np.sign(second)) * (np.abs(first) // np.abs(second))


def _fits(call: Call, shape: tuple[int, ...]) -> None:
    """Refuse to make another shape than the graph states: sizes from a file may be anything."""
    if shape != call.out_shape():
        raise NetwrightError(f"{call.where} makes the shape {shape}, the model says {call.out_shape()}.")


def cast(call: Call) -> NDArray[Any]:
    """CAST between types that arrays have."""
    if call.out_dtype() not in _DTYPES:
        raise NetwrightError(f"{call.where} casts to {call.out_dtype()}.")
    return call.array(0).astype(call.out_dtype())


def fill(call: Call) -> NDArray[Any]:
    """FILL of a shape with one value."""
    _fits(call, tuple(call.whole(0)))
    return np.full(call.whole(0), call.array(1).reshape(-1)[0], call.array(1).dtype)


def numbers_in_steps(call: Call) -> NDArray[Any]:
    """RANGE from a start to a limit, which is left out, in steps."""
    start, limit, step = (call.array(place).reshape(-1)[0].item() for place in range(3))
    count = max(0, math.ceil((limit - start) / step)) if step else -1
    _fits(call, (count,))
    return start + step * np.arange(count, dtype=call.array(0).dtype)


def where_true(call: Call) -> NDArray[Any]:
    """SELECT and SELECT_V2: of two tensors, the first where a condition holds."""
    shapes = [call.array(place).shape for place in range(3)]
    _fits(call, np.broadcast_shapes(*shapes))
    return np.where(call.array(0), call.array(1), call.array(2))


NUMBERS: dict[str, Callable[[Call], Any]] = {
    "ABS": _single(np.abs),
    "ADD": _pair(np.add),
    "CAST": cast,
    "DIV": _pair(_divided),
    "EQUAL": _pair(np.equal),
    "FILL": fill,
    "FLOOR_DIV": _pair(np.floor_divide),
    "FLOOR_MOD": _pair(np.mod),
    "GREATER": _pair(np.greater),
    "GREATER_EQUAL": _pair(np.greater_equal),
    "LESS": _pair(np.less),
    "LESS_EQUAL": _pair(np.less_equal),
    "LOGICAL_AND": _pair(np.logical_and),
    "LOGICAL_NOT": _single(np.logical_not),
    "LOGICAL_OR": _pair(np.logical_or),
    "MAXIMUM": _pair(np.maximum),
    "MINIMUM": _pair(np.minimum),
    "MUL": _pair(np.multiply),
    "NEG": _single(np.negative),
    "NOT_EQUAL": _pair(np.not_equal),
    "RANGE": numbers_in_steps,
    "REDUCE_MAX": _reduced(np.max),
    "REDUCE_MIN": _reduced(np.min),
    "REDUCE_PROD": _reduced(np.prod),
    "SELECT": where_true,
    "SELECT_V2": where_true,
    "SUB": _pair(np.subtract),
    "SUM": _reduced(np.sum),
    "ZEROS_LIKE": _single(np.zeros_like),
}
