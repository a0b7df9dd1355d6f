"""What folding a graph into integers works with: where each value lies, in which order, and how it is quantized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.fx import GraphModule, Node

from netwright.compression.quantization.building import Building, quantized
from netwright.compression.quantization.exported import constant, kind, where
from netwright.core.errors import NetwrightError
from netwright.graph.integers.quantized import Quantization


@dataclass(frozen=True)
class Value:
    """An int8 tensor in the graph that is built.

    `last`: its storage has the two dimensions of the image before those of the channels: torch's (B, C, H, W) lies as
    (B, H, W, C). `flat`: (C, H, W) of an image that was flattened as it lies, (H, W, C).
    """

    tensor: int
    last: bool = False
    flat: tuple[int, int, int] | None = None


def last_order(rank: int) -> tuple[int, ...]:
    """Return torch's dimensions in the order in which an image lies: (0, 2, 3, 1)."""
    return (0, rank - 2, rank - 1, *range(1, rank - 2))


class Folding:
    """One graph while it is folded. `shapes`: torch's, of every node, for a batch of one."""

    def __init__(self, module: GraphModule, shapes: Mapping[Node, Any]):
        self.module = module
        self.building = Building()
        self.values: dict[Node, Value] = {}
        self._shapes = shapes
        self._reshaped: dict[int, int] = {}

    def shape(self, node: Any) -> tuple[int, ...]:
        """Return torch's shape of a node."""
        return self._shapes[node]

    def refuse(self, node: Node, reason: str) -> NetwrightError:
        """Return the error that says where and why something has no integer form."""
        return NetwrightError(f"{where(node)}: {kind(node)} {reason}")

    def value(self, node: Node, reader: Node) -> Value:
        """Return what a node reads."""
        if node not in self.values:
            raise self.refuse(reader, "reads a value that is not quantized; annotate what makes it.")
        return self.values[node]

    def quantization(self, value: Value) -> Quantization:
        """Return how a value is quantized."""
        found = self.building.quantization[value.tensor]
        assert found is not None  # a Value is int8
        return found

    def layout(self, value: Value) -> tuple[int, ...]:
        """Return the shape as it lies."""
        return self.building.shapes[value.tensor]

    def last(self, node: Node, reader: Node) -> Value:
        """Return a value (B, C, H, W) as it is to lie for layers that read images."""
        value, shape = self.value(node, reader), self.shape(node)
        if value.last:
            return value
        if len(shape) != 4:
            raise self.refuse(
                reader, f"reads a tensor of shape {shape}; an image (batch, channels, height, width) is needed."
            )
        return self._reordered(self.plain(node, reader), last_order(4), where(reader), True)

    def plain(self, node: Node, reader: Node) -> Value:
        """Return a value in torch's order of dimensions."""
        value = self.value(node, reader)
        if value.flat:
            channels, height, width = value.flat
            quantization, path = self.quantization(value), where(reader)
            image = self.reshape(value.tensor, (1, height, width, channels), quantization, path)
            moved = self._reordered(Value(image), (0, 3, 1, 2), path, False)
            return Value(self.reshape(moved.tensor, (1, channels * height * width), quantization, path))
        if not value.last:
            return value
        rank = len(self.layout(value))
        order = last_order(rank)
        return self._reordered(value, tuple(order.index(place) for place in range(rank)), where(reader), False)

    def _reordered(self, value: Value, order: Sequence[int], path: str, last: bool) -> Value:
        return Value(self.transpose(value.tensor, order, path), last)

    def transpose(self, tensor: int, order: Sequence[int], path: str) -> int:
        """Return a tensor with its dimensions in another order, as a view where only sides of one are moved."""
        shape = self.building.shapes[tensor]
        quantization = self.building.quantization[tensor]
        target = tuple(shape[place] for place in order)
        if list(order) == list(range(len(shape))):
            return tensor
        moving = [place for place in order if shape[place] != 1]
        if moving == sorted(moving):
            return self.reshape(tensor, target, quantization, path)
        places = self.building.whole(order, f"{path}.order")
        return self.building.step("TRANSPOSE", (tensor, places), target, quantization, path)

    def reshape(self, tensor: int, shape: Sequence[int], quantization: Quantization | None, path: str) -> int:
        """Return a tensor under another shape; of one that was reshaped already, straight from what that was."""
        tensor = self._reshaped.get(tensor, tensor)
        if tuple(shape) == self.building.shapes[tensor]:
            return tensor
        sides = self.building.whole(shape, f"{path}.shape")
        options = {"new_shape": [int(side) for side in shape]}
        made = self.building.step("RESHAPE", (tensor, sides), shape, quantization, path, **options)
        self._reshaped[made] = tensor
        return made

    def requantize(self, value: Value, quantization: Quantization, path: str) -> Value:
        """Return a value under another scale and zero point."""
        if same(self.quantization(value), quantization):
            return value
        tensor = self.building.step("QUANTIZE", (value.tensor,), self.layout(value), quantization, path)
        return Value(tensor, value.last, value.flat)

    def numbers(self, node: Any) -> NDArray[np.float64] | None:
        """Return the values of a constant node or number; None of what is computed."""
        if isinstance(node, (int, float)):
            return np.array(node, np.float64)
        found = constant(self.module, node)
        return None if found is None else found.detach().cpu().double().numpy()

    def pad(self, value: Value, edges: Sequence[tuple[int, int]], path: str, stored: int | None = None) -> Value:
        """Return a value with more around it: zeros, or the stored number `stored`."""
        if not any(side for edge in edges for side in edge):
            return value
        quantization = self.quantization(value)
        amounts = self.building.constant(np.array(edges, np.int32), f"{path}.padding")
        shape = [side + before + after for side, (before, after) in zip(self.layout(value), edges, strict=True)]
        if stored is None or stored == quantization.zero_point[0]:
            tensor = self.building.step("PAD", (value.tensor, amounts), shape, quantization, path)
        else:
            number = self.building.constant(
                np.array([stored], np.int8), f"{path}.pad_value", quantized(quantization.scale, quantization.zero_point)
            )
            tensor = self.building.step("PADV2", (value.tensor, amounts, number), shape, quantization, path)
        return Value(tensor, value.last)

    def cut(self, value: Value, bounds: Mapping[int, tuple[int, int, int]], path: str) -> Value:
        """Return a part of a value: start, stop and step for some of the dimensions as they lie."""
        shape = self.layout(value)
        bounds = {place: bound for place, bound in bounds.items() if bound != (0, shape[place], 1)}
        if not bounds:
            return value
        every = [bounds.get(place, (0, side, 1)) for place, side in enumerate(shape)]
        words = zip(zip(*every, strict=True), ("begin", "end", "strides"), strict=True)
        tensors = [self.building.whole(values, f"{path}.{word}") for values, word in words]
        mask = sum(1 << place for place in range(len(shape)) if place not in bounds)
        target = [len(range(*bound)) for bound in every]
        step = self.building.step(
            "STRIDED_SLICE",
            (value.tensor, *tensors),
            target,
            self.quantization(value),
            path,
            begin_mask=mask,
            end_mask=mask,
        )
        return Value(step, value.last)


def same(one: Quantization, other: Quantization) -> bool:
    """Whether two tensors hold numbers of the same meaning."""
    return bool(np.array_equal(one.scale, other.scale) and np.array_equal(one.zero_point, other.zero_point))
