"""How long each value lives when the steps of a `Flow` run in a given order, and what that adds up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netwright.graph.memory.flow import Flow


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory that must stay in one place from step `first` to step `last`, both included (positions in the order).

    `values`: the values of the flow that take turns in it, several where steps work in place.
    """

    bytes: int
    first: int
    last: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class Lifetimes:
    """Buffers of one order; `timeline[p]` is the sum of the bytes alive while the p-th step of the order runs."""

    order: tuple[int, ...]
    buffers: tuple[Buffer, ...]
    timeline: tuple[int, ...]

    @property
    def peak_bytes(self) -> int:
        """The most that is alive at once."""
        return max(self.timeline, default=0)

    @property
    def peak(self) -> int:
        """Position of the first step at which most is alive; -1 without steps."""
        return max(range(len(self.timeline)), key=lambda place: self.timeline[place], default=-1)

    def alive(self, place: int) -> tuple[Buffer, ...]:
        """Return the buffers alive while the step at a position runs, the largest first."""
        there = [buffer for buffer in self.buffers if buffer.first <= place <= buffer.last]
        return tuple(sorted(there, key=lambda buffer: -buffer.bytes))


def lifetimes(flow: Flow, order: Sequence[int] | None = None) -> Lifetimes:
    """Return the lifetimes of a flow's values in an order of its steps; the captured order if None.

    A step that may work in place does so where this order lets the overwritten value die: with the first such value.
    """
    order = tuple(range(len(flow.steps)) if order is None else order)
    place = {step: position for position, step in enumerate(order)}
    last = []
    for value in flow.values:
        ends = [place[user] for user in value.users] + [place[value.maker] if value.maker >= 0 else 0]
        last.append(len(order) - 1 if value.kept else max(ends))
    first = [place[value.maker] if value.maker >= 0 else 0 for value in flow.values]
    members = {index: [index] for index in range(len(flow.values))}
    slot = list(range(len(flow.values)))
    for position, step in enumerate(order):
        for candidate in flow.steps[step].overwritable:
            if last[candidate] == position:
                made, home = flow.steps[step].made[0], slot[candidate]
                slot[made] = home
                members[home] += members.pop(made)
                break
    buffers = tuple(
        Buffer(
            max(flow.values[value].bytes for value in values),
            min(first[value] for value in values),
            max(last[value] for value in values),
            tuple(values),
        )
        for values in members.values()
    )
    return Lifetimes(order, buffers, _sum(buffers, len(order)))


def _sum(buffers: Sequence[Buffer], steps: int) -> tuple[int, ...]:
    change = [0] * (steps + 1)
    for buffer in buffers:
        change[buffer.first] += buffer.bytes
        change[buffer.last + 1] -= buffer.bytes
    total, timeline = 0, []
    for step in range(steps):
        total += change[step]
        timeline.append(total)
    return tuple(timeline)
