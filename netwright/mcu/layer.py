"""An integer network as its C code computes it, and what every layer of one answers about itself.

`lower` makes a `Network` from a `QuantizedGraph`; planning, pricing and emission read it. All constants are computed:
zero points, 32-bit multipliers with shifts, and clamps (Jacob et al. 2018, arXiv:1712.05877). Values are int8 tensors of
batch 1. The kinds of layers are defined in `operators`, one file each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from netwright.mcu.code import LayerData, RowPlace

CALL_INSTRUCTIONS = 60  # of a kernel, arguments and set-up: an estimate
Work = tuple[str, tuple[float, ...]]  # a kind of kernel, and the features that its instructions are linear in


@dataclass(frozen=True, slots=True)
class NetworkValue:
    """A tensor between layers. `shape` without the batch: (height, width, channels), or fewer dimensions.

    `alias`: the value whose bytes it shares (a reshape), -1 for its own. real = scale x (stored - zero_point).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: float = 0.0
    zero_point: int = 0
    alias: int = -1

    @property
    def bytes(self) -> int:
        """Bytes of the values, densely packed."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class Requantize:
    """How int32 sums of products become int8, with one entry for each output channel.

    result = clamp(rounded((sum + bias) x multiplier x 2**(shift - 31)) + zero_point, low, high), where `multiplier` has
    31 bits and the rounding is that of TensorFlow Lite's MultiplyByQuantizedMultiplier. `bias` includes
    -input_zero_point x (sum of the weights): kernels multiply stored values, and a padded element is
    `input_zero_point`. `reals`: for a dense layer whose results no 31-bit multiplier gives exactly, the factors in
    float64; `multiplier` and `shift` then are approximations and no kernel uses them.
    """

    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]
    zero_point: int
    low: int
    high: int
    reals: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel slides: size, stride and dilation as (height, width); padding as (top, bottom, left, right)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int] = (1, 1)


ONE_PIXEL = Window((1, 1), (1, 1), (0, 0, 0, 0))


@dataclass(frozen=True, slots=True)
class PlanarLine:
    """A padded line of one channel, as a layer that works channel by channel reads it.

    `bytes`: of a line; `left`: of them, the padding before the first column; `zero_point`: what padding holds.
    """

    bytes: int
    left: int
    zero_point: int


@dataclass(frozen=True, eq=False)
class Layer:
    """One computation: indices of the values that it reads and of the one that it makes, and its name in the model.

    A kind of layer is a class derived from this one. It must have `data` and `call`; everything else has a default that
    is right for a layer which runs on whole tensors, needs no scratch memory and does not overwrite its inputs.

    Attributes:
        elementwise: each element of the result is computed from the elements at its place in the inputs, so that it may
            overwrite an input of the result's shape.
        rows_adjacent: the rows under the window must follow one another in memory.
        writes_planar: `row` can write a planar ring (`RowPlace.planar`).
    """

    inputs: tuple[int, ...]
    output: int
    name: str

    elementwise: ClassVar[bool] = False
    rows_adjacent: ClassVar[bool] = False
    writes_planar: ClassVar[bool] = False

    @property
    def type_name(self) -> str:
        """What the layer is called in tables."""
        return type(self).__name__.lower()

    # What planning asks

    def macs(self, values: Sequence[NetworkValue]) -> int:
        """Return the multiplications of weights, or of two values, those with padding included."""
        del values
        return 0

    def scratch_bytes(self, network: Network) -> int:
        """Return the bytes that `call` needs besides its tensors."""
        del network
        return 0

    def in_place(self, network: Network) -> tuple[int, ...]:
        """Return the values (roots) at whose very offset the result may begin when the layer runs on whole tensors."""
        if not self.elementwise:
            return ()
        made = network.values[self.output]
        alike = (
            index
            for index in self.inputs
            if network.values[index].shape == made.shape and network.values[index].dtype == made.dtype
        )
        return tuple(dict.fromkeys(map(network.root, alike)))

    def streams(self, network: Network) -> bool:
        """Return whether `row` makes one row of the result; inputs and output are int8 images."""
        del network
        return False

    @property
    def row_window(self) -> Window:
        """How the rows that `row` reads depend on the row that it makes."""
        return ONE_PIXEL

    def planar_line(self, network: Network) -> PlanarLine | None:
        """Return the line of one channel that `row` reads; None: it reads pixels."""
        del network
        return None

    def clamped(self, low: int, high: int) -> Layer | None:
        """Return the layer with its results clamped once more; None: it clamps nothing."""
        del low, high
        return None

    # What prices ask

    def estimate(self, network: Network, rows: int) -> float:
        """Return roughly how many Cortex-M7 instructions it takes; `rows`: made one by one, 0 for one `call`."""
        share = rows / network.values[self.output].shape[0] if rows else 1.0
        read = sum(network.values[value].bytes for value in self.inputs)
        return 10 * share * read + max(1, rows) * CALL_INSTRUCTIONS

    def work(self, network: Network, by_rows: bool) -> Work:
        """Return the kind of its kernel and the features that its instructions are linear in."""
        del by_rows
        return self.type_name, (math.prod(network.values[self.output].shape),)

    def flash(self) -> tuple[Work, str]:
        """Return the features that its constants' bytes are linear in, and the kind of its code."""
        return (f"constants {self.type_name}", (1,)), self.type_name

    # What emission asks

    def data(self, network: Network, name: str) -> LayerData:
        """Return the C definitions of its constants, whose names begin with `name`, and the headers it includes."""
        raise NotImplementedError

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the C statement that runs the layer on whole tensors.

        `inputs`, `out`: int8_t * expressions of the tensors' bytes; `scratch`: of `scratch_bytes`, "0" where it needs
        none.
        """
        raise NotImplementedError

    def row(self, network: Network, name: str, place: RowPlace) -> list[str]:
        """Return the C statements that make one row of the result, for layers that stream."""
        raise NotImplementedError


@dataclass(frozen=True)
class Network:
    """Layers in an order in which they may run. `inputs`, `outputs`: indices of values."""

    values: tuple[NetworkValue, ...]
    layers: tuple[Layer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int
    notes: tuple[str, ...] = field(default=())

    def root(self, value: int) -> int:
        """Return the value whose bytes a value shares, itself if it has its own."""
        while self.values[value].alias >= 0:
            value = self.values[value].alias
        return value
