"""What one training step holds in memory, from the joint graph of its forward and backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from netwright.core.errors import NetwrightError, unknown
from netwright.cost.memory.saved_tensors import saved_by_autograd, saved_frozen_aware
from netwright.cost.memory.workspace import workspace_of
from netwright.graph.dtypes import BITS
from netwright.graph.graph import Graph


def _adam(elements: int, width: int) -> int:
    """Two moments, and the count of steps as one 32-bit number."""
    return 2 * elements * width + 4


def _adamw8bit(elements: int, width: int) -> int:
    """Two moments of a byte with a 32-bit scale for each block of 256; tensors below 4,096 elements stay as they are.

    Dettmers et al. 2022, arXiv:2110.02861.
    """
    if elements < 4096 or elements % 256:
        return _adam(elements, width)
    return 2 * (elements + elements // 256 * 4) + 4


# State of an optimizer for a tensor of so many elements, each of so many bytes.
OPTIMIZERS: Mapping[str, Callable[[int, int], int]] = {
    "sgd": lambda elements, width: 0,
    "momentum": lambda elements, width: elements * width,
    "adam": _adam,
    "adamw": _adam,
    "adamw8bit": _adamw8bit,
}


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one training step.

    `batch`: first side of the input. `saved_bytes`: what PyTorch keeps for the backward pass. `saved_bytes_frozen_aware`:
    what an engine must keep that knows what is frozen and packs masks into bits. `weight_bytes`, `buffer_bytes`:
    parameters and buffers. `peak_bytes`: the most that inputs, activations, their gradients and those of the parameters
    take together at any one time, as PyTorch frees them on a CPU; `workspace_bytes` is the part of it that is
    neither saved nor a parameter's gradient: activations and gradients on their way, and what a kernel needs for itself. `total_bytes` is weights + buffers + optimizer + peak, which is less than the sum of all
    entries, since the last activation is freed before the last gradient is there.
    """

    mode: str
    optimizer: str
    batch: int
    trained_params: int
    saved_bytes: int
    saved_bytes_frozen_aware: int
    gradient_bytes: int
    optimizer_bytes: int
    weight_bytes: int
    buffer_bytes: int
    workspace_bytes: int
    peak_bytes: int

    @property
    def total_bytes(self) -> int:
        """Weights, buffers, optimizer state, and the most that is alive beside them."""
        return self.weight_bytes + self.buffer_bytes + self.optimizer_bytes + self.peak_bytes

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        names = (
            "mode optimizer batch trained_params saved_bytes saved_bytes_frozen_aware gradient_bytes optimizer_bytes "
            "weight_bytes buffer_bytes workspace_bytes peak_bytes total_bytes"
        )
        return {name: getattr(self, name) for name in names.split()}


def training_memory(
    graph: Graph,
    *,
    mode: str = "full",
    optimizer: str = "sgd",
    weight_bits: int | None = None,
    frozen_bits: int | None = None,
) -> TrainingMemory:
    """Return what one step of training takes, given the joint graph of a module and a frozen set.

    `mode` only names the frozen set: what is trained is what the graph has gradients for. `weight_bits`, `frozen_bits`:
    width at which trained and frozen parameters are stored, in which they are by default.

    Raises:
        NetwrightError: the graph is not a joint one, or there is no such optimizer.
    """
    if optimizer not in OPTIMIZERS:
        raise unknown("The optimizer", optimizer, OPTIMIZERS)
    if graph.gradients and not any(op.stage == "backward" for op in graph.ops):
        raise NetwrightError("This graph has no backward pass. Capture it with trainable=, the names that learn.")
    trained = {graph.tensors[index].storage for index in _trained(graph)}
    gradients = {graph.tensors[index].storage for index in graph.gradients.values()}
    state = 0
    for index in graph.gradients.values():
        tensor = graph.tensors[index]
        state += OPTIMIZERS[optimizer](tensor.elements, BITS[tensor.dtype] // 8)
    line = timeline(graph)
    peak = max(range(len(line)), key=line.__getitem__, default=0)
    saved = saved_by_autograd(graph)
    kept = {number for number in saved.keys() | gradients if graph.storages[number].role in _COUNTED}
    held = sum(graph.storages[number].bytes for number in kept if _alive(graph, number, peak))
    return TrainingMemory(
        mode=mode,
        optimizer=optimizer,
        batch=_batch(graph),
        trained_params=sum(graph.tensors[index].elements for index in graph.gradients.values()),
        saved_bytes=sum(saved.values()),
        saved_bytes_frozen_aware=sum(saved_frozen_aware(graph).values()),
        gradient_bytes=sum(graph.storages[number].bytes for number in gradients),
        optimizer_bytes=state,
        weight_bytes=stored_bytes(graph, trained, weight_bits, frozen_bits),
        buffer_bytes=sum(storage.bytes for storage in graph.storages if storage.role == "buffer"),
        workspace_bytes=line[peak] - held if line else 0,
        peak_bytes=line[peak] if line else 0,
    )


_COUNTED = ("activation", "input")


def timeline(graph: Graph, *, standing: bool = False) -> tuple[int, ...]:
    """Return, for each operation, the bytes of inputs, activations and gradients that are alive while it runs.

    Storages live as long as they did in the captured run; the inputs, which the caller holds, all the time. What an
    operation allocates for itself counts too. `standing`: gradients of parameters are added to memory that stands
    from the step before and is not counted, so a new one lives only while it is made.
    """
    steps = [0] * (len(graph.ops) + 1)
    gradients = {graph.tensors[index].storage for index in graph.gradients.values()} if standing else set()
    for number, storage in enumerate(graph.storages):
        if storage.role in _COUNTED:
            first, last = _life(graph, number)
            last = min(last, first + 1) if number in gradients else last
            steps[first] += storage.bytes
            steps[last] -= storage.bytes
    return tuple(alive + workspace_of(graph, op) for alive, op in zip(accumulate(steps[:-1]), graph.ops, strict=True))


def _life(graph: Graph, number: int) -> tuple[int, int]:
    storage = graph.storages[number]
    end = len(graph.ops)
    return max(0, min(storage.born, end)), end if storage.freed is None or storage.role == "input" else storage.freed


def _alive(graph: Graph, number: int, place: int) -> bool:
    first, last = _life(graph, number)
    return first <= place < last


def _trained(graph: Graph) -> list[int]:
    """Return the tensors of the parameters that have gradients."""
    return [
        index
        for index, tensor in graph.tensors_of("parameter")
        if graph.storages[tensor.storage].name in graph.gradients
    ]


def stored_bytes(graph: Graph, trained: set[int], weight_bits: int | None, frozen_bits: int | None) -> int:
    """Return the bytes of all parameters, each storage once; trained and frozen ones at their widths, None: as they are."""
    total = 0
    widths: dict[int, int] = {}
    for _, tensor in graph.tensors_of("parameter"):
        widths.setdefault(tensor.storage, BITS.get(tensor.dtype, 8))
    for number, stored in widths.items():
        chosen = weight_bits if number in trained else frozen_bits
        total += graph.storages[number].bytes * (chosen or stored) // stored
    return total


def _batch(graph: Graph) -> int:
    shapes = [graph.tensors[index].shape for index in graph.inputs]
    return next((shape[0] for shape in shapes if shape), 1)
