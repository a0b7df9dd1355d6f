"""Peak memory of inference: what is alive when, under the rules of a planning compiler, of eager PyTorch or of ExecuTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from netwright.core.errors import NetwrightError, unknown
from netwright.graph.dtypes import BITS, FLOATS
from netwright.graph.graph import Graph, Op
from netwright.graph.memory.elementwise import nothing_overwritable
from netwright.graph.memory.executorch import executorch_overwritable, executorch_plan_bytes, lowered_by_executorch
from netwright.graph.memory.flow import Flow, flow
from netwright.graph.memory.lifetimes import Buffer, Lifetimes, lifetimes
from netwright.graph.memory.order import best_order
from netwright.graph.memory.plan import plan

Rules = Literal["planned", "eager", "executorch"]
BoundKind = Literal["reached by an order, proven over all orders", "no order needs less"]

ACTIVATION_TYPES = (*FLOATS, "int8")


@dataclass(frozen=True, slots=True)
class Alive:
    """A tensor in memory: `name` is the module path that made it, or the name of an input."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True)
class InferenceMemory:
    """Memory of the activations, parameters left out.

    `timeline`: bytes alive during each of `steps`, which are indices into `Graph.ops`, with `labels`. `peak_op`: the
    operation at the peak, `peak_tensors`: what is alive there, the largest first. `arena_bytes`: one block that holds it
    all, by the offsets planned; None where an allocator serves each tensor. `lower_bound_bytes`: what every order of the
    operations needs at least, under the same rules; None where the rules fix the order. `at_least`: the shape of
    something is not known, and its memory not counted.
    """

    rules: Rules
    peak_bytes: int
    peak_op: int
    peak_tensors: tuple[Alive, ...]
    timeline: tuple[int, ...]
    steps: tuple[int, ...]
    labels: tuple[str, ...]
    arena_bytes: int | None = None
    lower_bound_bytes: int | None = None
    lower_bound_kind: BoundKind | None = None
    at_least: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values without the timeline."""
        return {
            "rules": self.rules,
            "peak_bytes": self.peak_bytes,
            "peak_op": self.labels[self.steps.index(self.peak_op)] if self.steps else None,
            "peak_tensors": [
                {"name": t.name, "shape": list(t.shape), "dtype": t.dtype, "bytes": t.bytes} for t in self.peak_tensors
            ],
            "arena_bytes": self.arena_bytes,
            "lower_bound_bytes": self.lower_bound_bytes,
            "lower_bound_kind": self.lower_bound_kind,
            "at_least": self.at_least,
        }


_EFFORT = 8_000_000  # sets of steps times steps: keeps the search for an order to about a second


def inference_memory(
    graph: Graph,
    *,
    rules: Rules = "planned",
    dtype: str | None = None,
    workspace: Callable[[Graph, Op], int] | None = None,
) -> InferenceMemory:
    """Return the peak memory of one inference and what makes it up.

    planned: BatchNorm folded, elementwise operations in place where their input dies, views free, what depends on no
    input computed beforehand, the input counted until its last use, buffers laid out in one arena.
    eager: each storage from when torch allocated it until it freed it, the caller's input not counted; a graph that was
    read from a file and never ran takes data flow instead.
    executorch: what ExecuTorch's ahead-of-time memory plan takes, operations lowered, copied and shared as it does; in int8 that
    for the integer kernels of its Cortex-M backend.

    `dtype`: every floating-point activation takes this type, "float32", "float16", "bfloat16" or "int8". `workspace`: bytes
    that an operation takes while it runs, added under the eager rules; `workspace.convolution_workspace` knows torch's.

    Raises:
        NetwrightError: unknown rules or type.
    """
    if rules not in _RULES:
        raise unknown("memory rules", rules, _RULES)
    if dtype is not None and dtype not in ACTIVATION_TYPES:
        raise unknown("activation type", dtype, ACTIVATION_TYPES)
    if workspace is not None and rules != "eager":
        raise NetwrightError(f"Workspace is counted under the rules 'eager' only, not {rules!r}. Leave it out.")
    return _eager(graph, dtype, workspace) if rules == "eager" else _RULES[rules](graph, dtype)


def activation_bytes(graph: Graph, dtype: str | None) -> list[int]:
    """Return the bytes of each storage when every floating-point one holds `dtype`."""
    sizes = [storage.bytes for storage in graph.storages]
    if dtype is None:
        return sizes
    seen: set[int] = set()
    for tensor in graph.tensors:
        if tensor.storage not in seen and tensor.dtype in FLOATS:
            sizes[tensor.storage] = sizes[tensor.storage] * BITS[dtype] // BITS[tensor.dtype]
        seen.add(tensor.storage)
    return sizes


def _planned(graph: Graph, dtype: str | None) -> InferenceMemory:
    data = flow(graph, sizes=activation_bytes(graph, dtype))
    lives = lifetimes(data)
    best = best_order(data, states=max(100, _EFFORT // max(1, len(data.steps))))
    proven = best.exact and not graph.without_shape
    return _described(
        "planned",
        graph,
        data,
        lives,
        dtype,
        arena_bytes=plan(lives.buffers).arena_bytes,
        lower_bound_bytes=best.lower_bound_bytes,
        lower_bound_kind="reached by an order, proven over all orders" if proven else "no order needs less",
    )


def _eager(graph: Graph, dtype: str | None, workspace: Callable[[Graph, Op], int] | None = None) -> InferenceMemory:
    sizes = activation_bytes(graph, dtype)
    if all(storage.born < 0 for storage in graph.storages):  # read from a file: it never ran
        data = flow(graph, sizes=sizes, compiled=False, overwrites=nothing_overwritable)
        return _described("eager", graph, data, lifetimes(data), dtype)
    count, change = len(graph.ops), [0] * (len(graph.ops) + 2)
    allocated = [i for i, storage in enumerate(graph.storages) if storage.role == "activation" and storage.born < count]
    for index in allocated:
        storage = graph.storages[index]
        change[max(storage.born, 0)] += sizes[index]
        change[count if storage.freed is None else storage.freed] -= sizes[index]
    timeline = _running_sum(change, count)
    if workspace is not None:
        timeline = tuple(held + workspace(graph, op) for held, op in zip(timeline, graph.ops, strict=True))
    peak = max(range(count), key=lambda step: timeline[step], default=-1)
    first = {tensor.storage: tensor for tensor in reversed(graph.tensors)}
    alive = [
        _alive(graph.storages[i].name, first[i].shape, first[i].dtype, sizes[i], dtype)
        for i in allocated
        if sizes[i] and graph.storages[i].born <= peak < _end(graph, i, count)
    ]
    return InferenceMemory(
        "eager",
        timeline[peak] if count else 0,
        peak,
        tuple(sorted(alive, key=lambda tensor: -tensor.bytes)),
        timeline,
        tuple(range(count)),
        tuple(_label(graph, index) for index in range(count)),
    )


def _executorch(graph: Graph, dtype: str | None) -> InferenceMemory:
    lowered = lowered_by_executorch(graph, integer=dtype == "int8")
    if dtype == "int8":
        data = flow(lowered, overwrites=executorch_overwritable)
    else:
        data = flow(lowered, sizes=activation_bytes(lowered, dtype), compiled=False, overwrites=nothing_overwritable)
    lives = lifetimes(data)
    return _described("executorch", lowered, data, lives, dtype, arena_bytes=executorch_plan_bytes(lives.buffers))


def _described(
    rules: Rules, graph: Graph, data: Flow, lives: Lifetimes, dtype: str | None, **bounds: Any
) -> InferenceMemory:
    steps = tuple(step.op for step in data.steps)
    return InferenceMemory(
        rules,
        lives.peak_bytes,
        steps[lives.peak] if steps else -1,
        _named(lives.alive(lives.peak), data, lives.peak, dtype),
        lives.timeline,
        steps,
        tuple(_label(graph, index) for index in steps),
        at_least=graph.without_shape > 0,
        **bounds,
    )


def _named(buffers: Sequence[Buffer], data: Flow, place: int, dtype: str | None) -> tuple[Alive, ...]:
    """Name each buffer after the value that lies in it at that step: the last one made."""
    result = []
    for buffer in buffers:
        values = [data.values[index] for index in buffer.values if data.values[index].maker <= place]
        newest = max(values, key=lambda value: value.maker)
        if buffer.bytes:
            result.append(_alive(newest.name, newest.shape, newest.dtype, buffer.bytes, dtype))
    return tuple(result)


def _alive(name: str, shape: tuple[int, ...], stored: str, size: int, dtype: str | None) -> Alive:
    return Alive(name, shape, dtype if dtype and stored in FLOATS else stored, size)


def _label(graph: Graph, index: int) -> str:
    op = graph.ops[index]
    kind = op.kind.partition(".")[2] or op.kind
    return f"{op.path} {kind}".strip()


def _end(graph: Graph, storage: int, count: int) -> int:
    freed = graph.storages[storage].freed
    return count if freed is None else freed


def _running_sum(change: Sequence[int], count: int) -> tuple[int, ...]:
    total, timeline = 0, []
    for step in range(count):
        total += change[step]
        timeline.append(total)
    return tuple(timeline)


_RULES: dict[Rules, Callable[[Graph, str | None], InferenceMemory]] = {
    "planned": _planned,
    "eager": _eager,
    "executorch": _executorch,
}
