"""The bytes that a compiled network takes and gives, and the tensors that its graph takes and gives.

In C both ends are int8. A graph that begins by quantizing a float32 image, or ends by dequantizing, is fed with the
values that these bytes mean, and its result is brought back to bytes: both ways without loss. A uint8 end is 128
higher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.layer import Network, NetworkValue


def as_tensors(model: QuantizedGraph, network: Network, bytes_NB: NDArray[np.int8]) -> list[NDArray[Any]]:
    """Return the graph's inputs for N inputs of the C code, each a row of bytes."""
    tensors, start = [], 0
    for index, value_index in zip(model.graph.inputs, network.inputs, strict=True):
        value, wanted = network.values[value_index], model.graph.tensors[index]
        part = np.ascontiguousarray(bytes_NB[:, start : start + value.bytes]).view(value.dtype)
        start += value.bytes
        stored = part.reshape(len(bytes_NB), *wanted.shape[1:])
        tensors.append(stored if wanted.dtype == value.dtype else _real(value, stored, wanted.dtype))
    return tensors


def as_bytes(model: QuantizedGraph, network: Network, tensors: Sequence[NDArray[Any]]) -> NDArray[np.int8]:
    """Return what the C code gives where the graph gives `tensors`: a row of bytes for each of N inputs.

    The first dimension of a tensor need not be N: one that joins 2 images to a batch makes 2 N.
    """
    rows = []
    for value_index, tensor in zip(network.outputs, tensors, strict=True):
        value = network.values[value_index]
        stored = tensor if tensor.dtype == value.dtype else _stored(value, tensor)
        rows.append(np.ascontiguousarray(stored).reshape(-1, math.prod(value.shape)).view(np.int8))
    return np.concatenate(rows, axis=1)


def _real(value: NetworkValue, stored: NDArray[Any], wanted: str) -> NDArray[Any]:
    if wanted == "uint8":
        return (stored.astype(np.int16) + 128).astype(np.uint8)
    return ((stored.astype(np.int32) - value.zero_point) * np.float32(value.scale)).astype(np.float32)


def _stored(value: NetworkValue, real: NDArray[Any]) -> NDArray[Any]:
    if real.dtype == np.uint8:
        return (real.astype(np.int16) - 128).astype(np.int8)
    limits = np.iinfo(value.dtype)
    return np.clip(np.rint(real / np.float64(value.scale)) + value.zero_point, limits.min, limits.max).astype(
        value.dtype
    )
