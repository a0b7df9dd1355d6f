"""The checkpointing plan that recomputes least within a byte budget, by dynamic programming.

After Beaumont, Eyraud-Dubois, Hermann, Joly, Shilova 2019, arXiv:1911.13214, for a chain of stages that differ: run a
stretch of stages and either keep what autograd saves of them, or keep what they start from, go on, come back and do the
same within the stretch with the memory that is free by then. Here a stretch that is kept is one choice, priced with the
union of what it saves, since neighbouring operations save the same tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import numpy as np
from numpy.typing import NDArray

from netwright.adaptation.checkpointing.chain import Chain
from netwright.adaptation.checkpointing.segments import Segment

Costs = NDArray[np.float32]


class OptimalPlans:
    """The solved program of a chain, for every capacity up to `most` bytes in steps of `most` / `slots`."""

    def __init__(self, chain: Chain, most: int, slots: int = 240):
        self.chain = chain
        self.unit = max(1, -(-max(1, most - chain.input_bytes) // slots))
        self.slots = slots
        count = len(chain.stages)
        self._count = count
        shape = (count + 1, count + 1)
        self._keep_need = np.zeros(shape, np.int64)  # to run and differentiate a kept stretch
        self._keep_hold = np.zeros(shape, np.int64)  # what it holds while what follows is done
        self._skip_need = np.zeros(shape, np.int64)  # to run a stretch of which nothing is kept
        self._skip_hold = np.zeros(shape, np.int64)  # what the next stretch starts from
        for start in range(count):
            self._measure(start)
        self._run = np.concatenate([[0.0], np.cumsum([stage.cost for stage in chain.stages])])
        # least recomputation of [start, stop) by start; by stop; and by stop where the first stretch is not kept
        self._best: Costs = np.full((count + 1, count + 1, slots + 2), inf, np.float32)
        self._best_by_stop: Costs = self._best.copy()
        self._again_by_stop: Costs = self._best.copy()
        self._solve()

    def _measure(self, start: int) -> None:
        """Fill the tables of all stretches from a stage, in slots."""
        sizes, stages = self.chain.sizes, self.chain.stages
        held = stages[start].held
        saved: set[int] = set()
        saved_bytes = keep = skip = 0
        for stage in range(start, self._count):
            here = stages[stage]
            for number in here.saves - held - saved:
                saved.add(number)
                saved_bytes += sizes[number]
            for live, extra in zip(here.live, here.extra, strict=True):
                fresh = live - held
                skip = max(skip, extra + sum(sizes[number] for number in fresh))
                keep = max(keep, extra + saved_bytes + sum(sizes[number] for number in fresh - saved))
            keep = max(keep, saved_bytes + here.back)
            stop = stage + 1
            after = stages[stop].held - held if stop < self._count else frozenset()
            self._keep_need[start, stop] = self._up(keep)
            self._skip_need[start, stop] = self._up(skip)
            self._keep_hold[start, stop] = self._up(saved_bytes + sum(sizes[n] for n in after if n not in saved))
            self._skip_hold[start, stop] = self._up(sum(sizes[n] for n in after))

    def _up(self, size: int) -> int:
        return -(-size // self.unit)

    def _solve(self) -> None:
        """Fill the least recomputation of every stretch and capacity; index 0 is less than nothing, m + 1 is m slots."""
        capacity = np.arange(-1, self.slots + 1)
        for length in range(1, self._count + 1):
            for start in range(self._count - length + 1):
                stop = start + length
                best = np.where(capacity >= self._keep_need[start, stop], 0.0, inf).astype(np.float32)
                if length > 1:
                    middle = slice(start + 1, stop)
                    again = self._again_by_stop[stop, start]
                    if self.chain.stages[start].opens:
                        rest = self._later(self._best_by_stop, middle, stop, self._skip_hold[start, middle])
                        rest += self._best[start, middle]
                        rest += (self._run[middle] - self._run[start]).astype(np.float32)[:, None]
                        rest[capacity[None] < self._skip_need[start, middle][:, None]] = inf
                        again[:] = rest.min(0)
                    kept = self._later(self._again_by_stop, middle, stop, self._keep_hold[start, middle])
                    kept[capacity[None] < self._keep_need[start, middle][:, None]] = inf
                    best = np.minimum(best, np.minimum(kept.min(0), again))
                best[0] = inf
                self._best[start, stop] = self._best_by_stop[stop, start] = best

    def _later(self, by_stop: Costs, middle: slice, stop: int, hold: NDArray[np.int64]) -> Costs:
        """Return the costs from each middle to the stop with what is left when so much is held."""
        width = self.slots + 2
        rows = by_stop[stop, middle]
        places = np.arange(width)[None] - hold[:, None]
        np.maximum(places, 0, out=places)
        places += np.arange(0, rows.size, width)[:, None]
        return rows.reshape(-1).take(places)

    def cost(self, capacity: int) -> float:
        """Return what the best plan recomputes within a capacity, inf where there is none."""
        return float(self._best[0, self._count, self._slots(capacity) + 1])

    def plan(self, capacity: int, cuts: tuple[int, ...], end: int) -> tuple[Segment, ...] | None:
        """Return the best plan within a capacity in bytes, by operations instead of stages; None where there is none."""
        slots = self._slots(capacity)
        if slots < 0 or self.cost(capacity) == inf:
            return None
        bounds = (*cuts, end)
        return tuple(_by_operations(self._parts(0, self._count, slots), bounds))

    def _slots(self, capacity: int) -> int:
        return min(self.slots, max(-1, (capacity - self.chain.input_bytes) // self.unit))

    def _parts(self, start: int, stop: int, slots: int, *, again: bool = False) -> list[Segment]:
        """Read the choices back from the tables."""
        if not again and self._keep_need[start, stop] <= slots:
            return [Segment(start, stop)]
        goal = (self._again_by_stop if again else self._best_by_stop)[stop, start, slots + 1]
        for middle in range(start + 1, stop):
            left = slots - int(self._skip_hold[start, middle])
            if self.chain.stages[start].opens and left >= 0 and self._skip_need[start, middle] <= slots:
                run = np.float32(self._run[middle] - self._run[start])
                if self._best[middle, stop, left + 1] + self._best[start, middle, slots + 1] + run <= goal:
                    inner = self._parts(start, middle, slots)
                    parts = () if len(inner) == 1 and inner[0].kept else tuple(inner)
                    return [Segment(start, middle, False, parts), *self._parts(middle, stop, left)]
            left = slots - int(self._keep_hold[start, middle])
            fits = not again and left >= 0 and self._keep_need[start, middle] <= slots
            if fits and self._again_by_stop[stop, middle, left + 1] <= goal:
                return [Segment(start, middle), *self._parts(middle, stop, left, again=True)]
        raise AssertionError("the tables hold a cost that no choice has")


def _by_operations(parts: Iterable[Segment], bounds: tuple[int, ...]) -> Iterable[Segment]:
    for part in parts:
        inner = tuple(_by_operations(part.parts, bounds))
        yield Segment(bounds[part.start], bounds[part.stop], part.kept, inner)
