"""The order of operations that needs the least memory, and what no order can go below.

Best-first search over the sets of steps that have run (downsets of the data flow), each extended by what may run next:
Ahn et al. 2020, "Ordering chaos: memory-aware scheduling of irregularly wired neural networks" (arXiv:2003.02369), with a
proven rule that runs a step at once where nothing can be lost by it. Stopped early, the search still proves a bound.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netwright.graph.memory.flow import Flow
from netwright.graph.memory.lifetimes import lifetimes


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
    order = tuple(range(len(flow.steps)))
    peak = lifetimes(flow, order).peak_bytes
    floor = max(least_during(flow), default=0)
    if peak <= floor:
        return Order(order, peak, peak)
    search = _Search(flow)
    greedy = search.greedy(floor)
    if greedy.level < peak:
        order, peak = greedy.steps(), greedy.level
    if peak <= floor:
        return Order(order, peak, peak)
    found, bound = _best_first(search, floor, peak, states)
    return Order(order, peak, min(bound, peak)) if found is None else Order(found, bound, bound)


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


@dataclass(frozen=True, slots=True)
class _State:
    """Steps that have run as bits, the bytes alive after them, the peak on the way, what may run next, and the way."""

    done: int
    alive: int
    level: int
    ready: tuple[int, ...]
    path: tuple[Any, ...]

    def steps(self) -> tuple[int, ...]:
        """Return the steps in the order in which they ran."""
        steps, path = [], self.path
        while path:
            path, step = path
            steps.append(step)
        return tuple(reversed(steps))


def _best_first(search: _Search, floor: int, ceiling: int, states: int) -> tuple[tuple[int, ...] | None, int]:
    """Return an order with a peak below `ceiling` and that peak; or None and a proven bound, at most `ceiling`."""
    start = search.start(floor)
    heap = [(start.level, 0, 0, start)]
    seen = {start.done: start.level}
    number = 0
    while heap:
        level, _, _, state = heapq.heappop(heap)
        if state.done == search.everything:
            return state.steps(), level
        if seen[state.done] < level:
            continue
        if number > states:
            return None, level
        for step in state.ready:
            if max(level, search.during(state.done, state.alive, step)) >= ceiling:
                continue
            new = search.after_step(state, step)
            if new.level < seen.get(new.done, ceiling):
                seen[new.done] = new.level
                number += 1
                heapq.heappush(heap, (new.level, -new.done.bit_count(), number, new))
    return None, ceiling


class _Search:
    """What running one more step does to the memory, and which steps may run."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.everything = (1 << len(flow.steps)) - 1
        self.after = [_bits(step.after) for step in flow.steps]
        self.users = [_bits(value.users) for value in flow.values]
        self.next: list[list[int]] = [[] for _ in flow.steps]
        for index, step in enumerate(flow.steps):
            for before in step.after:
                self.next[before].append(index)
        self.ends = [
            [value for value in {*step.made, *step.touched} if not flow.values[value].kept] for step in flow.steps
        ]
        self.makes = [sum(flow.values[value].bytes for value in step.made) for step in flow.steps]

    def start(self, floor: int) -> _State:
        """Return the state before the first step, or after those that are free under `floor`."""
        alive = sum(value.bytes for value in self.flow.values if value.maker < 0)
        return self._run_free(0, alive, floor, [i for i, after in enumerate(self.after) if not after], ())

    def after_step(self, state: _State, step: int) -> _State:
        """Return the state after one more step and those that are free then."""
        done = state.done | 1 << step
        ready = [index for index in state.ready if index != step] + self._enabled(step, done)
        level = max(state.level, self.during(state.done, state.alive, step))
        return self._run_free(done, state.alive + self.change(state.done, step), level, ready, (state.path, step))

    def greedy(self, floor: int) -> _State:
        """Return the state after everything when what needs least at once always runs next."""
        state = self.start(floor)
        while state.ready:
            done, alive = state.done, state.alive
            _, _, step = min((self.during(done, alive, s), self.change(done, s), s) for s in state.ready)
            state = self.after_step(state, step)
        return state

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

    def _enabled(self, step: int, done: int) -> list[int]:
        return [index for index in self.next[step] if self.after[index] & ~done == 0]

    def _run_free(self, done: int, alive: int, level: int, ready: list[int], path: tuple[Any, ...]) -> _State:
        """Run every step that fits under the level and leaves no more alive than before; whatever is best starts so.

        An order that runs such a step later can run it now: the sets in between have it in addition, hence never more
        alive, since what it frees now it would free then, and its result is no larger than that.
        """
        ran = True
        while ran:
            ran, held = False, []
            while ready:
                step = ready.pop()
                change = self.change(done, step)
                if change > 0 or self.during(done, alive, step) > level:
                    held.append(step)
                    continue
                done |= 1 << step
                alive += change
                path = (path, step)
                ready += self._enabled(step, done)
                ran = True
            ready = held  # what did not fit may fit now that less is alive
        return _State(done, alive, level, tuple(sorted(ready)), path)


def _bits(indices: Sequence[int]) -> int:
    result = 0
    for index in indices:
        result |= 1 << index
    return result
