"""Operations that move values without computing: padding, shapes, slices, joins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.integer_call import Call


def pad(call: Call) -> NDArray[Any]:
    """PAD with the stored zero point, PADV2 with the value given."""
    x = call.array(0)
    widths = np.array(call.whole(1)).reshape(-1, 2)
    if len(widths) != x.ndim or (widths < 0).any():
        raise NetwrightError(f"{call.where} pads {x.ndim} dimensions by {widths.tolist()}.")
    if call.has(2):
        value = call.array(2).reshape(-1)[0]
    else:
        value = call.out()[1] if call.model.quantization[call.op.outputs[0]] is not None else 0
    return np.pad(x, widths, constant_values=value)


def reshape(call: Call) -> NDArray[Any]:
    """RESHAPE, SQUEEZE and EXPAND_DIMS, to the shape that the graph states, times the batch."""
    x, shape = call.array(0), call.out_shape()
    given = call.model.graph.tensors[call.tensor(0)]
    if given.elements == 0 or x.size == 0:
        return x.reshape(shape)
    times = x.size // given.elements
    return x.reshape((shape[0] * times, *shape[1:]) if shape else shape)


def transpose(call: Call) -> NDArray[Any]:
    """TRANSPOSE."""
    order = call.whole(1)
    if sorted(order) != list(range(call.array(0).ndim)):
        raise NetwrightError(f"{call.where} orders {call.array(0).ndim} dimensions as {order}.")
    return np.ascontiguousarray(call.array(0).transpose(order))
