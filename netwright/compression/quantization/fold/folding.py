"""What folding a graph into integers works with: the int8 tensor of each node, and its memory layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.fx import GraphModule, Node

from netwright.compression.quantization.nodes import constant, kind, where
from netwright.core.errors import NetwrightError
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.quantized import Quantization


@dataclass(frozen=True)
class Int8Tensor:
    """The tensor of the integer graph that holds what a node of torch's graph computes.

    Attributes:
        index: the tensor's number in the builder.
        channels_last: the memory layout of an image. True: torch's (B, C, H, W) is stored as (B, H, W, C).
        flattened: (C, H, W) of the image of which this is the flattened form, stored in the order (H, W, C); None
            where torch's order and the stored one agree.
    """

    index: int
    channels_last: bool = False
    flattened: tuple[int, int, int] | None = None


def channels_last_order(rank: int) -> tuple[int, ...]:
    """Return torch's dimensions in the order in which an image is stored, channels last: (0, 2, 3, 1)."""
    return (0, rank - 2, rank - 1, *range(1, rank - 2))


class Folding:
    """One graph while it is folded.

    Args:
        module: torch's graph, converted.
        shapes: torch's, of every node, for a batch of one.
        description: a line that the integer graph keeps.
    """

    def __init__(self, module: GraphModule, shapes: Mapping[Node, Any], description: str = ""):
        self.module = module
        self.builder = GraphBuilder("quantized module", description)
        self.values: dict[Node, Int8Tensor] = {}
        self._shapes = shapes
        self._reshaped: dict[int, int] = {}

    def shape(self, node: Any) -> tuple[int, ...]:
        """Return torch's shape of a node."""
        return self._shapes[node]

    def refuse(self, node: Node, reason: str) -> NetwrightError:
        """Return the error that says where and why something has no integer form."""
        return NetwrightError(f"{where(node)}: {kind(node)} {reason}")

    def op(
        self,
        operator: str,
        inputs: Sequence[int | None],
        shape: Sequence[int],
        quantized: Quantization | None,
        path: str,
        **options: Any,
    ) -> int:
        """Add an operation, named after the module that it stands for, and return its output."""
        name = f"{path}.{operator.lower()}" if path else operator.lower()
        return self.builder.op(operator, inputs, shape, quantized, name=name, path=path, **options)

    def value(self, node: Node, reader: Node) -> Int8Tensor:
        """Return the tensor of a node that another one reads."""
        if node not in self.values:
            raise self.refuse(reader, "reads a value that is not quantized; annotate what makes it.")
        return self.values[node]

    def quantization(self, value: Int8Tensor) -> Quantization:
        """Return how a value is quantized."""
        found = self.builder.quantization(value.index)
        assert found is not None  # it is int8
        return found

    def stored_shape(self, value: Int8Tensor) -> tuple[int, ...]:
        """Return the shape in the order of the dimensions in memory."""
        return self.builder.shape(value.index)

    def channels_last(self, node: Node, reader: Node) -> Int8Tensor:
        """Return an image (B, C, H, W) stored with its channels last, as layers that read images need it."""
        value, shape = self.value(node, reader), self.shape(node)
        if value.channels_last:
            return value
        if len(shape) != 4:
            raise self.refuse(
                reader, f"reads a tensor of shape {shape}; an image (batch, channels, height, width) is needed."
            )
        return self._reordered(self.torch_order(node, reader), channels_last_order(4), where(reader), True)

    def torch_order(self, node: Node, reader: Node) -> Int8Tensor:
        """Return a tensor stored in torch's order of dimensions."""
        value = self.value(node, reader)
        if value.flattened:
            channels, height, width = value.flattened
            quantized, path = self.quantization(value), where(reader)
            image = self.reshape(value.index, (1, height, width, channels), quantized, path)
            moved = self._reordered(Int8Tensor(image), (0, 3, 1, 2), path, False)
            return Int8Tensor(self.reshape(moved.index, (1, channels * height * width), quantized, path))
        if not value.channels_last:
            return value
        rank = len(self.stored_shape(value))
        order = channels_last_order(rank)
        return self._reordered(value, tuple(order.index(place) for place in range(rank)), where(reader), False)

    def _reordered(self, value: Int8Tensor, order: Sequence[int], path: str, last: bool) -> Int8Tensor:
        return Int8Tensor(self.transpose(value.index, order, path), last)

    def transpose(self, tensor: int, order: Sequence[int], path: str) -> int:
        """Return a tensor with its dimensions in another order, as a view where only dimensions of size 1 move."""
        shape = self.builder.shape(tensor)
        quantized = self.builder.quantization(tensor)
        target = tuple(shape[place] for place in order)
        if list(order) == list(range(len(shape))):
            return tensor
        moving = [place for place in order if shape[place] != 1]
        if moving == sorted(moving):
            return self.reshape(tensor, target, quantized, path)
        places = self.builder.indices(f"{path}.order", order)
        return self.op("TRANSPOSE", (tensor, places), target, quantized, path)

    def reshape(self, tensor: int, shape: Sequence[int], quantized: Quantization | None, path: str) -> int:
        """Return a tensor under another shape; of one that was reshaped already, straight from what that was."""
        tensor = self._reshaped.get(tensor, tensor)
        if tuple(shape) == self.builder.shape(tensor):
            return tensor
        sides = self.builder.indices(f"{path}.shape", shape)
        options = {"new_shape": [int(side) for side in shape]}
        made = self.op("RESHAPE", (tensor, sides), shape, quantized, path, **options)
        self._reshaped[made] = tensor
        return made

    def requantize(self, value: Int8Tensor, quantized: Quantization, path: str) -> Int8Tensor:
        """Return a tensor under another scale and zero point."""
        if same(self.quantization(value), quantized):
            return value
        tensor = self.op("QUANTIZE", (value.index,), self.stored_shape(value), quantized, path)
        return Int8Tensor(tensor, value.channels_last, value.flattened)

    def numbers(self, node: Any) -> NDArray[np.float64] | None:
        """Return the values of a constant node or number; None of what is computed."""
        if isinstance(node, (int, float)):
            return np.array(node, np.float64)
        found = constant(self.module, node)
        return None if found is None else found.detach().cpu().double().numpy()

    def pad(
        self, value: Int8Tensor, edges: Sequence[tuple[int, int]], path: str, stored: int | None = None
    ) -> Int8Tensor:
        """Return a tensor padded at its edges (before, after) with zeros, or with the stored number `stored`."""
        if not any(side for edge in edges for side in edge):
            return value
        found = self.quantization(value)
        amounts = self.builder.constant(f"{path}.padding", np.array(edges, np.int32))
        shape = [side + before + after for side, (before, after) in zip(self.stored_shape(value), edges, strict=True)]
        if stored is None or stored == found.zero_point[0]:
            tensor = self.op("PAD", (value.index, amounts), shape, found, path)
        else:
            number = self.builder.constant(
                f"{path}.pad_value", np.array([stored], np.int8), quantization(found.scale, found.zero_point)
            )
            tensor = self.op("PADV2", (value.index, amounts, number), shape, found, path)
        return Int8Tensor(tensor, value.channels_last)

    def cut(self, value: Int8Tensor, bounds: Mapping[int, tuple[int, int, int]], path: str) -> Int8Tensor:
        """Return a slice of a tensor: start, stop and step for some of its dimensions in memory."""
        shape = self.stored_shape(value)
        bounds = {place: bound for place, bound in bounds.items() if bound != (0, shape[place], 1)}
        if not bounds:
            return value
        every = [bounds.get(place, (0, side, 1)) for place, side in enumerate(shape)]
        words = zip(zip(*every, strict=True), ("begin", "end", "strides"), strict=True)
        tensors = [self.builder.indices(f"{path}.{word}", values) for values, word in words]
        mask = sum(1 << place for place in range(len(shape)) if place not in bounds)
        target = [len(range(*bound)) for bound in every]
        step = self.op(
            "STRIDED_SLICE",
            (value.index, *tensors),
            target,
            self.quantization(value),
            path,
            begin_mask=mask,
            end_mask=mask,
        )
        return Int8Tensor(step, value.channels_last)


def same(one: Quantization, other: Quantization) -> bool:
    """Whether two tensors hold numbers of the same meaning."""
    return bool(np.array_equal(one.scale, other.scale) and np.array_equal(one.zero_point, other.zero_point))
