"""The order of operations that needs the least memory, and what no order can go below.

Best-first search over the sets of steps that have run (downsets of the data flow), each extended by what may run next:
Ahn et al. 2020, "Ordering chaos: memory-aware scheduling of irregularly wired neural networks" (arXiv:2003.02369), with a
proven rule that runs a step at once where nothing can be lost by it. Stopped early, the search still proves a bound.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netwright.graph.flow import Flow
from netwright.graph.lifetimes import lifetimes


@dataclass(frozen=True)
class Order:
    """The best order found, its peak, and what every order needs at least; `exact` where the two are equal."""

    steps: tuple[int, ...]
    peak_bytes: int
    lower_bound_bytes: int

    @property
    def exact(self) -> bool:
        """Whether no order needs less than this one."""
        return self.peak_bytes == self.lower_bound_bytes


def best_order(flow: Flow, *, states: int = 20_000) -> Order:
    """Return an order of least peak memory; after `states` sets of steps, the best known and the bound proven so far."""
    given = tuple(range(len(flow.steps)))
    peak = lifetimes(flow, given).peak_bytes
    floor = max(least_during(flow), default=0)
    if peak <= floor:
        return Order(given, peak, peak)
    found, bound = _search(flow, floor, peak, states)
    if found is not None:
        return Order(found, bound, bound)
    return Order(given, peak, min(bound, peak))


def least_during(flow: Flow) -> list[int]:
    """Return for each step the bytes alive while it runs, in whichever order makes them fewest for this step alone.

    Alive in every order: what the step touches and makes, and values that are made before it for a step after it.
    """
    count = len(flow.steps)
    earlier = np.zeros((count, count), dtype=bool)  # earlier[s, t]: t runs before s in every order
    for index, step in enumerate(flow.steps):
        for before in step.after:
            earlier[index] |= earlier[before]
            earlier[index, before] = True
    total = np.zeros(count, dtype=np.int64)
    for value in flow.values:
        made = earlier[:, value.maker].copy() if value.maker >= 0 else np.ones(count, dtype=bool)
        wanted = np.full(count, value.kept)
        for user in value.users:
            wanted |= earlier[user]
        alive = made & wanted
        alive[list(value.users)] = True
        if value.maker >= 0:
            alive[value.maker] = True
        total += alive * np.int64(value.bytes)
    for index, step in enumerate(flow.steps):
        if any(not any(earlier[user, index] for user in flow.values[value].users) for value in step.overwritable):
            total[index] -= flow.values[step.made[0]].bytes
    return total.tolist()


def _search(flow: Flow, floor: int, ceiling: int, states: int) -> tuple[tuple[int, ...] | None, int]:
    """Return an order with a peak below `ceiling` and that peak; or None and a proven bound, at most `ceiling`."""
    search = _Search(flow)
    start, alive, level, path = search.run_free(0, search.at_start, floor, ())
    heap = [(level, 0, 0, start, alive, path)]
    seen = {start: level}
    number = 0
    while heap:
        level, _, _, done, alive, path = heapq.heappop(heap)
        if done == search.everything:
            return _unroll(path), level
        if seen[done] < level:
            continue
        if number > states:
            return None, level
        for step in search.ready(done):
            during = search.during(done, alive, step)
            if max(level, during) >= ceiling:
                continue
            state = search.run_free(
                done | 1 << step, alive + search.change(done, step), max(level, during), (path, step)
            )
            if state[2] < ceiling and state[2] < seen.get(state[0], ceiling):
                seen[state[0]] = state[2]
                number += 1
                heapq.heappush(heap, (state[2], -state[0].bit_count(), number, state[0], state[1], state[3]))
    return None, ceiling


def _unroll(path: tuple) -> tuple[int, ...]:
    steps = []
    while path:
        path, step = path
        steps.append(step)
    return tuple(reversed(steps))


class _Search:
    """Sets of steps as bits of an integer, and what running one more step does to the memory."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.everything = (1 << len(flow.steps)) - 1
        self.after = [_bits(step.after) for step in flow.steps]
        self.users = [_bits(value.users) for value in flow.values]
        self.next: list[list[int]] = [[] for _ in flow.steps]
        for index, step in enumerate(flow.steps):
            for before in step.after:
                self.next[before].append(index)
        self.at_start = sum(value.bytes for value in flow.values if value.maker < 0)
        self.ends = [
            [value for value in {*step.made, *step.touched} if not flow.values[value].kept] for step in flow.steps
        ]
        self.makes = [sum(flow.values[value].bytes for value in step.made) for step in flow.steps]

    def ready(self, done: int) -> list[int]:
        """Return the steps that may run after these."""
        open_steps, result = self.everything & ~done, []
        while open_steps:
            low = open_steps & -open_steps
            step = low.bit_length() - 1
            if self.after[step] & ~done == 0:
                result.append(step)
            open_steps ^= low
        return result

    def during(self, done: int, alive: int, step: int) -> int:
        """Return the bytes alive while a step runs: its results come on top, unless one is written over an input."""
        entry = self.flow.steps[step]
        others = ~(done | 1 << step)
        over = any(self.users[value] & others == 0 for value in entry.overwritable)
        return alive + self.makes[step] - (self.flow.values[entry.made[0]].bytes if over else 0)

    def change(self, done: int, step: int) -> int:
        """Return by how much the bytes alive grow from before a step to after it."""
        others = ~(done | 1 << step)
        freed = sum(self.flow.values[v].bytes for v in self.ends[step] if self.users[v] & others == 0)
        return self.makes[step] - freed

    def run_free(self, done: int, alive: int, level: int, path: tuple) -> tuple[int, int, int, tuple]:
        """Run every step that fits under the level and leaves no more alive than before; whatever is best starts so.

        An order that runs such a step later can run it now: the sets in between have it in addition, hence never more
        alive, since what it frees now it would free then, and its result is no larger than that.
        """
        waiting = self.ready(done)
        ran = True
        while ran:
            ran, held = False, []
            while waiting:
                step = waiting.pop()
                change = self.change(done, step)
                if change > 0 or self.during(done, alive, step) > level:
                    held.append(step)
                    continue
                done |= 1 << step
                alive += change
                path = (path, step)
                waiting += [n for n in self.next[step] if self.after[n] & ~done == 0]
                ran = True
            waiting = held  # what did not fit may fit now that less is alive
        return done, alive, level, path


def _bits(indices: Sequence[int]) -> int:
    result = 0
    for index in indices:
        result |= 1 << index
    return result
