"""Random small graphs and flows, and a memory that really allocates, overwrites and frees."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from netwright.graph.graph import Graph, Op, Ref, Storage, Tensor
from netwright.graph.memory.flow import Flow
from netwright.graph.memory.lifetimes import Buffer

KINDS = ("aten.relu", "aten.add", "aten.convolution", "aten.cat", "aten.relu_")


def random_graph(seed: int, ops: int) -> Graph:
    """Return a graph of elementwise, in-place and other operations on tensors of few sizes, one or two of them outputs."""
    pick = random.Random(seed)
    storages, tensors = [Storage(8, "input", "input 0")], [Tensor((2,), "float32", 0)]
    graph_ops: list[Op] = []
    alive = [0]
    for index in range(ops):
        kind = pick.choice(KINDS)
        sources = [pick.choice(alive) for _ in range(1 + (kind in ("aten.add", "aten.cat")))]
        arguments = {f"a{place}": Ref(source) for place, source in enumerate(sources)}
        if kind == "aten.relu_":
            graph_ops.append(Op(kind, tuple(sources), tuple(sources), arguments, writes=(tensors[sources[0]].storage,)))
            continue
        wide = tensors[sources[0]].shape[0] if kind in ("aten.relu", "aten.add") else pick.randint(1, 4)
        storages.append(Storage(4 * wide, "activation", f"op {index}", index))
        tensors.append(Tensor((wide,), "float32", len(storages) - 1))
        alive.append(len(tensors) - 1)
        graph_ops.append(Op(kind, tuple(sources), (alive[-1],), arguments))
    outputs = {alive[-1], pick.choice(alive)}
    return Graph(tuple(tensors), tuple(storages), tuple(graph_ops), (0,), tuple(sorted(outputs)), "test")


def every_order(flow: Flow) -> Iterator[tuple[int, ...]]:
    """Yield every order that respects the dependencies."""

    def extend(done: list[int]) -> Iterator[tuple[int, ...]]:
        if len(done) == len(flow.steps):
            yield tuple(done)
        for index, step in enumerate(flow.steps):
            if index not in done and all(before in done for before in step.after):
                yield from extend([*done, index])

    return extend([])


def run(flow: Flow, order: Sequence[int]) -> list[int]:
    """Return the bytes held during each step by an interpreter that frees a value once nobody waits for it.

    It writes over the first value it may, if that step is the last to wait for it.
    """
    waiting = {i: set(value.users) for i, value in enumerate(flow.values)}
    held = {i: value.bytes for i, value in enumerate(flow.values) if value.maker < 0}
    timeline = []
    for index in order:
        step = flow.steps[index]
        assert all(value in held for value in step.touched), "a step reads what was freed"
        for value in step.touched:
            waiting[value].discard(index)
        dying = [v for v in step.overwritable if not waiting[v] and not flow.values[v].kept]
        if dying:
            del held[dying[0]]
        held |= {value: flow.values[value].bytes for value in step.made}
        timeline.append(sum(held.values()))
        held = {v: size for v, size in held.items() if waiting[v] or flow.values[v].kept}
    return timeline


def random_buffers(seed: int, count: int, steps: int = 6, largest: int = 5) -> list[Buffer]:
    """Return buffers of random sizes and lifetimes."""
    pick = random.Random(seed)
    buffers = []
    for index in range(count):
        first, last = sorted((pick.randrange(steps), pick.randrange(steps)))
        buffers.append(Buffer(pick.randint(1, largest), first, last, (index,)))
    return buffers


def tight_buffers(seed: int, count: int, steps: int, largest: int) -> list[Buffer]:
    """Return random buffers with more of them put in where less than the most is alive, which makes packing hard."""
    buffers = random_buffers(seed, count, steps, largest)
    alive = [sum(b.bytes for b in buffers if b.first <= step <= b.last) for step in range(steps)]
    step = 0
    while step < steps:
        missing, end = max(alive) - alive[step], step
        while end + 1 < steps and alive[end + 1] == alive[step]:
            end += 1
        if missing:
            buffers.append(Buffer(missing, step, end, (len(buffers),)))
        step = end + 1
    return buffers
