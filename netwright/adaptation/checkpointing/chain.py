"""A network as a chain of stages with the bytes that each holds: what the search for the optimal plan reads.

After Beaumont, Eyraud-Dubois, Hermann, Joly, Shilova 2019, arXiv:1911.13214, for stages that differ.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from netwright.adaptation.checkpointing.segments import may_start
from netwright.cost.count import work_of
from netwright.cost.memory.workspace import workspace_of
from netwright.graph.graph import Graph


def cuts_of(graph: Graph, most: int = 160) -> tuple[int, ...]:
    """Return the places at which a plan may cut a forward-only graph, 0 first; the cheapest to hold, if too many."""
    held = _held(graph)
    places = [
        place
        for place in range(1, len(graph.ops))
        if not graph.ops[place].view and not _trivial(graph, place - 1) and held[place]
    ]
    if len(places) >= most:
        places = sorted(sorted(places, key=lambda place: held[place])[: most - 1])
    return (0, *places)


def _trivial(graph: Graph, place: int) -> bool:
    """Tell whether an operation makes nothing worth keeping: a view, or an update of a buffer."""
    op = graph.ops[place]
    return op.view or all(graph.storage(index).role != "activation" for index in op.outputs)


def _held(graph: Graph) -> list[int]:
    """Return the bytes that are alive between each operation and the one before it, by data flow."""
    steps = [0] * (len(graph.ops) + 2)
    last: dict[int, int] = {}
    for place, op in enumerate(graph.ops):
        last.update((graph.tensors[index].storage, place) for index in (*op.inputs, *op.outputs))
    for number, storage in enumerate(graph.storages):
        if storage.role == "activation" and number in last:
            steps[storage.born + 1] += storage.bytes
            steps[last[number] + 1] -= storage.bytes
    return list(accumulate(steps))


@dataclass(frozen=True)
class ChainStage:
    """What the planner knows of one stage of the chain, all in bytes and by storage.

    `held`: activations that are alive before it. `saves`: what autograd saves in it. `live`, `extra`: what is alive
    during each operation of its forward pass, and what that takes for itself. `back`: the most that gradients and
    temporaries take during its backward pass. `cost`: of running it forward again, in bytes moved. `opens`: whether a
    second run may start here.
    """

    held: frozenset[int]
    saves: frozenset[int]
    live: tuple[frozenset[int], ...]
    extra: tuple[int, ...]
    back: int
    cost: float
    opens: bool


@dataclass(frozen=True)
class Chain:
    """The stages of a network, with the bytes of storages and of its input."""

    stages: tuple[ChainStage, ...]
    sizes: tuple[int, ...]
    input_bytes: int


MACS_PER_BYTE = 5  # of a CPU: one core does about 30 billion multiply-accumulates a second and moves 6 GB


def chain_of(joint: Graph, forward: Graph, cuts: Sequence[int], *, standing: bool = True) -> Chain:
    """Return the chain of a joint graph whose operations say by their path, stages.N, to which stage they belong.

    `standing`: gradients of parameters stand in memory that is there before the step and is not counted here.
    """
    place_of = _stages(joint)
    split = next((place for place, op in enumerate(joint.ops) if op.stage == "backward"), len(joint.ops))
    count = len(cuts)
    first_write, last_read = _reads(joint, place_of, split)
    saves: list[set[int]] = [set() for _ in cuts]
    for place in range(split, len(joint.ops)):
        for index in joint.ops[place].inputs:
            number = joint.tensors[index].storage
            if joint.storages[number].role == "activation" and joint.storages[number].born < split:
                saves[place_of[place]].add(number)
    held: list[set[int]] = [set() for _ in cuts]
    for number, end in last_read.items():
        for stage in range(first_write[number] + 1, min(place_of[end], count - 1) + 1):
            held[stage].add(number)
    back = _backward_peaks(joint, place_of, split, count, standing)
    live, extra = _forward_lives(joint, place_of, split, last_read, count)
    ends = (*cuts[1:], len(forward.ops))
    stages = tuple(
        ChainStage(
            frozenset(held[stage]),
            frozenset(saves[stage]),
            tuple(live[stage]),
            tuple(extra[stage]),
            back[stage],
            sum(_cost(forward, place) for place in range(cuts[stage], ends[stage])),
            may_start(forward, cuts[stage]),
        )
        for stage in range(count)
    )
    given = sum(storage.bytes for storage in joint.storages if storage.role == "input")
    return Chain(stages, tuple(storage.bytes for storage in joint.storages), given)


def _stages(joint: Graph) -> list[int]:
    """Return the stage of every operation; one without goes with the one before it."""
    found: list[int] = []
    for op in joint.ops:
        name = re.match(r"stages\.(\d+)", op.path)
        found.append(int(name.group(1)) if name else (found[-1] if found else 0))
    return found


def _reads(joint: Graph, place_of: list[int], split: int) -> tuple[dict[int, int], dict[int, int]]:
    """Return the stage that makes each activation, and the operation of the forward pass that reads it last."""
    made: dict[int, int] = {}
    last: dict[int, int] = {}
    for place in range(split):
        op = joint.ops[place]
        for index in (*op.inputs, *op.outputs):
            number = joint.tensors[index].storage
            if joint.storages[number].role == "activation":
                made.setdefault(number, place_of[place])
                last[number] = place
    return made, last


def _forward_lives(
    joint: Graph, place_of: list[int], split: int, last_read: dict[int, int], count: int
) -> tuple[list[list[frozenset[int]]], list[list[int]]]:
    live: list[list[frozenset[int]]] = [[] for _ in range(count)]
    extra: list[list[int]] = [[] for _ in range(count)]
    now: set[int] = set()
    for place in range(split):
        op = joint.ops[place]
        touched = {joint.tensors[index].storage for index in (*op.inputs, *op.outputs)}
        now |= touched & last_read.keys()
        live[place_of[place]].append(frozenset(now))
        extra[place_of[place]].append(workspace_of(joint, op))
        now -= {number for number in touched if last_read.get(number) == place}
    return live, extra


def _backward_peaks(joint: Graph, place_of: list[int], split: int, count: int, standing: bool) -> list[int]:
    """Return the most that is alive of what the backward pass made, in each stage."""
    end = len(joint.ops)
    steps = [0] * (end + 1)
    gradients = {joint.tensors[index].storage for index in joint.gradients.values()}
    for number, storage in enumerate(joint.storages):
        if storage.role != "activation" or storage.born < split:
            continue
        stop = end if storage.freed is None else storage.freed
        if standing and number in gradients:
            stop = min(storage.born + 1, end)
        steps[min(storage.born, end)] += storage.bytes
        steps[stop] -= storage.bytes
    peaks = [0] * count
    for place, alive in enumerate(accumulate(steps[:-1])):
        if place >= split:
            stage = place_of[place]
            peaks[stage] = max(peaks[stage], alive + workspace_of(joint, joint.ops[place]))
    return peaks


def _cost(forward: Graph, place: int) -> float:
    op = forward.ops[place]
    if op.view:
        return 0.0
    moved = sum(forward.storage(index).bytes for index in {*op.inputs, *op.outputs})
    work = work_of(forward, op)
    return moved + (work.macs if work else 0) / MACS_PER_BYTE
