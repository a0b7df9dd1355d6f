"""TinyTL's accounting of training memory, and the one that also counts what GroupNorm needs.

Cai et al. 2020, arXiv:2007.11622, Section 3.1 and Table 4.2 of the thesis: parameters at their widths, and the peak over
the forward pass of what is saved so far, the block's shortcut, and what the current layer takes. A convolution, linear
layer or normalization saves its input if its weight is trained, a ReLU one bit for each element, another activation its
input. Left out there: the gradient of a normalization's input needs that input, however frozen its scale is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from netwright.core.errors import unknown
from netwright.cost.memory.training import stored_bytes
from netwright.graph.dtypes import bytes_of
from netwright.graph.graph import Graph, Op, Ref

Convention = Literal["tinytl", "tinytl+norms", "tinytl+needed"]
CONVENTIONS: tuple[Convention, ...] = ("tinytl", "tinytl+norms", "tinytl+needed")


@dataclass(frozen=True)
class TinyTLMemory:
    """Bytes: parameters at their widths, and activations at their peak."""

    parameter_bytes: int
    activation_bytes: int

    @property
    def total_bytes(self) -> int:
        """What the paper calls the training memory."""
        return self.parameter_bytes + self.activation_bytes


def tinytl_memory(graph: Graph, *, convention: Convention = "tinytl", frozen_bits: int = 8) -> TinyTLMemory:
    """Return the training memory of a joint graph by TinyTL's rules.

    "tinytl+norms": and every normalization keeps its input. "tinytl+needed": only one whose input wants a gradient does,
    which leaves out the first one behind a frozen convolution.

    Raises:
        NetwrightError: another convention.
    """
    if convention not in CONVENTIONS:
        raise unknown("The convention", str(convention), CONVENTIONS)
    forward = [op for op in graph.ops if op.stage == "forward"]
    trained = set(graph.gradients)
    learning = _needs_gradient(graph, forward, trained)
    shortcuts = [0] * len(forward)
    for first, last, size in _shortcuts(graph, forward):
        for place in range(first, last):
            shortcuts[place] += size
    backward = _reaches_back(graph, forward, trained)
    saved = peak = 0
    for place, op in enumerate(forward):
        taken, kept = _layer(graph, op, trained, backward)
        peak = max(peak, saved + shortcuts[place] + taken)
        if graph.traits(op).formula == "norm" and (
            convention == "tinytl+norms" or (convention == "tinytl+needed" and learning[place])
        ):
            kept = _bytes(graph, op.inputs[0])
        saved += kept
    storages = {tensor.storage for _, tensor in graph.tensors_of("parameter")}
    of_trained = {number for number in storages if graph.storages[number].name in trained}
    return TinyTLMemory(stored_bytes(graph, of_trained, None, frozen_bits), peak)


def _layer(graph: Graph, op: Op, trained: set[str], backward: bool) -> tuple[int, int]:
    """Return what a layer takes while it runs, and what it keeps for the backward pass."""
    traits = graph.traits(op)
    if traits.channels is not None:
        source = op.arguments[traits.operands[0]]
        taken_in = _bytes(graph, source.tensor)
        groups = op.arguments.get("groups", 1)
        return taken_in + _bytes(graph, op.outputs[0]) // groups, taken_in if _trained(graph, op, trained) else 0
    if traits.formula == "norm":
        size = _bytes(graph, op.inputs[0])
        return size, size if _trained(graph, op, trained) else 0
    if traits.activation:
        size = _bytes(graph, op.inputs[0])
        bits = graph.tensors[op.inputs[0]].elements // 8
        return size, (bits if traits.activation == "relu" else size) if backward else 0
    return 0, 0


def _trained(graph: Graph, op: Op, trained: set[str]) -> bool:
    """Tell whether the weight of a layer learns; its bias needs nothing saved."""
    names = [value for name, value in op.arguments.items() if name in ("weight", "mat2")]
    return any(isinstance(value, Ref) and graph.storage(value.tensor).name in trained for value in names)


def _needs_gradient(graph: Graph, forward: list[Op], trained: set[str]) -> list[bool]:
    """Return, for each operation, whether the gradient of its first input is wanted."""
    wanted = {
        number
        for number, storage in enumerate(graph.storages)
        if storage.role == "parameter" and storage.name in trained
    }
    result = []
    for op in forward:
        first = graph.tensors[op.inputs[0]].storage if op.inputs else -1
        result.append(first in wanted)
        if any(graph.tensors[index].storage in wanted for index in op.inputs):
            wanted |= {graph.tensors[index].storage for index in op.outputs}
    return result


def _reaches_back(graph: Graph, forward: list[Op], trained: set[str]) -> bool:
    """Tell whether anything but the last layer learns: otherwise activations keep nothing."""
    last = next((op for op in reversed(forward) if graph.traits(op).channels is not None), None)
    own = {graph.storage(index).name for index in last.inputs} if last else set()
    return bool(trained - own)


def _shortcuts(graph: Graph, forward: list[Op]) -> Iterator[tuple[int, int, int]]:
    """Yield where an identity shortcut starts, the addition that ends it, and its bytes."""
    uses: dict[int, list[int]] = {}
    for place, op in enumerate(forward):
        for index in op.inputs:
            uses.setdefault(index, []).append(place)
    for place, op in enumerate(forward):
        if op.kind.rstrip("_") != "aten.add" or len(op.inputs) != 2:
            continue
        for index in op.inputs:
            earlier = [use for use in uses[index] if use < place]
            if earlier and graph.storage(index).role == "activation":
                yield earlier[0], place, _bytes(graph, index)
                break


def _bytes(graph: Graph, index: int) -> int:
    tensor = graph.tensors[index]
    return bytes_of(tensor.shape, tensor.dtype)
