"""A graph with what integer arithmetic needs beside it: scales, zero points and the constants' values.

Whatever an integer network was read or made from (a .tflite file, a list of layers, a PyTorch module), its operations carry
TensorFlow Lite's names and options ("tflite.CONV_2D"), and their arithmetic is that of its reference kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Graph
from netwright.graph.integers.comparison import Comparison


@dataclass(frozen=True, eq=False)
class Quantization:
    """real = scale x (stored - zero_point), per value along `axis`, or once for the whole tensor (`axis` None).

    `scale`: float32, `zero_point`: int64, of the same length.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int | None = None


@dataclass(frozen=True)
class Origin:
    """Which value of a network in float a tensor holds, and in which order.

    Attributes:
        tensor: its number.
        node: the value's name in torch's graph.
        path: of the module that computes it.
        channels_last: torch's (B, C, H, W) is stored as (B, H, W, C).
        flattened: (C, H, W) of the image of which this is the flattened form, stored in the order (H, W, C).
    """

    tensor: int
    node: str
    path: str
    channels_last: bool = False
    flattened: tuple[int, int, int] | None = None


@dataclass(frozen=True, eq=False)
class QuantizedGraph:
    """A graph of "tflite.*" operations with its numbers.

    `names`, `quantization`: by tensor; a tensor that is not quantized has None. `values`: the constants by tensor,
    read-only; int2, int4 and uint4 are unpacked to one value a byte, bfloat16 is given as uint16, float8 and strings as
    bytes. `variables`: tensors that keep their value between two runs. `images`: where the input is an image and it is known
    how files become it: "preparation", the JSON of a `data.preparation.Preparation`, and "classes", names in order.

    Of what was made from a network in float, else empty: `origins`: which value of that each tensor holds;
    `outputs_channels_last`: for every output, whether it is an image stored (B, H, W, C); `comparison`: how far it is from it.
    """

    graph: Graph
    names: tuple[str, ...]
    quantization: tuple[Quantization | None, ...]
    values: Mapping[int, NDArray[Any]]
    variables: tuple[int, ...] = ()
    description: str = ""
    origins: tuple[Origin, ...] = ()
    outputs_channels_last: tuple[bool, ...] = ()
    comparison: Comparison | None = None
    images: Mapping[str, Any] | None = None
