"""Where each buffer lies in one block of memory, so that no two that are alive together overlap.

Greedy best fit in several orders (Pisarchyk and Lee 2020, arXiv:2001.03288), again with those that ended too high placed first
(Joslin and Clements 1999, "Squeaky wheel optimization"); where that leaves a gap to the most that is alive at once, an exact
search over left-justified packings, limited in steps. A plan says what it proves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netwright.graph.memory.lifetimes import Buffer


@dataclass(frozen=True)
class Plan:
    """Offsets in bytes, one a buffer, in a block of `arena_bytes`; no plan can need less than `lower_bound_bytes`."""

    offsets: tuple[int, ...]
    arena_bytes: int
    lower_bound_bytes: int

    @property
    def exact(self) -> bool:
        """Whether the block is as small as it can be."""
        return self.arena_bytes == self.lower_bound_bytes

    @property
    def gap(self) -> float:
        """How much larger the block is than the bound, as a share of the bound."""
        return self.arena_bytes / self.lower_bound_bytes - 1 if self.lower_bound_bytes else 0.0


EXACT_BUFFERS = 100  # more than these are not searched

# Orders in which buffers are placed; each has won somewhere.
_ORDERS: dict[str, Callable[[Buffer], tuple[int, ...]]] = {
    "size": lambda buffer: (-buffer.bytes, buffer.first),
    "area": lambda buffer: (-buffer.bytes * (buffer.last - buffer.first + 1), buffer.first),
    "lifetime": lambda buffer: (-(buffer.last - buffer.first), -buffer.bytes),
    "start": lambda buffer: (buffer.first, -buffer.bytes),
}


def plan(buffers: Sequence[Buffer], *, alignment: int = 16, rounds: int = 20, tries: int = 20_000) -> Plan:
    """Return the smallest plan found: best of the greedy orders, each mended `rounds` times, then of `tries` steps of search.

    Sizes are rounded up to `alignment` bytes, so that every offset is a multiple of it.
    """
    sizes = [-(-buffer.bytes // alignment) * alignment for buffer in buffers]
    bound = most_alive(buffers, sizes)
    best, arena = _mended(buffers, sizes, bound, rounds)
    if arena == bound:
        return Plan(tuple(best), arena, bound)
    if len(buffers) > EXACT_BUFFERS:
        return Plan(tuple(best), arena, bound)
    search = _Packing(buffers, sizes, arena, bound, tries)
    finished = search.run()
    if search.best is not None:
        best, arena = search.best, search.arena
    return Plan(tuple(best), arena, arena if finished else bound)


def most_alive(buffers: Sequence[Buffer], sizes: Sequence[int] | None = None) -> int:
    """Return the largest sum of sizes alive at one step: no plan needs less."""
    change: dict[int, int] = {}
    for buffer, size in zip(buffers, sizes or [buffer.bytes for buffer in buffers], strict=True):
        change[buffer.first] = change.get(buffer.first, 0) + size
        change[buffer.last + 1] = change.get(buffer.last + 1, 0) - size
    total = most = 0
    for step in sorted(change):
        total += change[step]
        most = max(most, total)
    return most


def overlapping(a: Buffer, b: Buffer) -> bool:
    """Say whether two buffers are alive at the same step."""
    return a.first <= b.last and b.first <= a.last


def _mended(buffers: Sequence[Buffer], sizes: Sequence[int], bound: int, rounds: int) -> tuple[list[int], int]:
    """Return the best offsets and their height; what ends above the bound is placed before all others the next time."""
    together = _together(buffers)
    best, arena = [0] * len(buffers), sum(sizes) + 1
    for key in _ORDERS.values():
        order = sorted(range(len(buffers)), key=lambda i: key(buffers[i]))
        for _ in range(rounds + 1):
            offsets = _greedy(together, sizes, order)
            height = _height(offsets, sizes)
            if height < arena:
                best, arena = offsets, height
            if height <= bound:
                return best, arena
            order.sort(key=lambda i: offsets[i] + sizes[i] <= bound)  # stable: the others keep their order
    return best, arena


def _together(buffers: Sequence[Buffer]) -> list[list[int]]:
    """Return for each buffer those that are alive at some step with it."""
    result: list[list[int]] = [[] for _ in buffers]
    alive: list[int] = []
    for index in sorted(range(len(buffers)), key=lambda i: buffers[i].first):
        alive = [other for other in alive if buffers[other].last >= buffers[index].first]
        for other in alive:
            result[other].append(index)
        result[index] += alive
        alive.append(index)
    return result


def _greedy(together: Sequence[Sequence[int]], sizes: Sequence[int], order: Sequence[int]) -> list[int]:
    """Place one buffer after another in the smallest gap that holds it, between those placed that live with it."""
    offsets = [-1] * len(sizes)
    for index in order:
        best, smallest, end = -1, 0, 0
        for other in sorted((j for j in together[index] if offsets[j] >= 0), key=offsets.__getitem__):
            gap = offsets[other] - end
            if gap >= sizes[index] and (best < 0 or gap < smallest):
                best, smallest = end, gap
            end = max(end, offsets[other] + sizes[other])
        offsets[index] = end if best < 0 else best
    return offsets


def _height(offsets: Sequence[int], sizes: Sequence[int]) -> int:
    return max((offset + size for offset, size in zip(offsets, sizes, strict=True)), default=0)


class _Packing:
    """Depth-first search over packings in which every buffer lies as low as those below it allow.

    Any packing can be pushed down to such a one, and such a one is found by placing buffers by rising offset, each on
    the highest of those placed that live with it. A branch ends where what is still to place cannot fit under the best.
    """

    def __init__(self, buffers: Sequence[Buffer], sizes: list[int], arena: int, bound: int, tries: int) -> None:
        self.sizes, self.arena, self.bound, self.tries = sizes, arena, bound, tries
        self.best: list[int] | None = None
        points = sorted({point for buffer in buffers for point in (buffer.first, buffer.last)})
        number = {point: i for i, point in enumerate(points)}
        self.spans = [range(number[buffer.first], number[buffer.last] + 1) for buffer in buffers]
        self.skyline = [0] * len(points)
        self.left = [0] * len(points)
        for span, size in zip(self.spans, sizes, strict=True):
            for point in span:
                self.left[point] += size
        self.offsets = [0] * len(buffers)
        self.todo = {index for index, size in enumerate(sizes) if size}

    def run(self) -> bool:
        """Search; return whether everything was tried, so that the best plan is proven to be one."""
        stack = [iter(self._choices((-1, 0, 0)))]
        undo: list[tuple[int, list[int]]] = []
        while stack:
            choice = next(stack[-1], None)
            if choice is None:
                stack.pop()
                if undo:
                    self._take_back(*undo.pop())
                continue
            self.tries -= 1
            if self.tries < 0:
                return False
            offset, _, index = choice
            undo.append((index, self._put(index, offset)))
            if not self.todo:
                self.arena, self.best = _height(self.offsets, self.sizes), list(self.offsets)
                if self.arena == self.bound:
                    return True
                self._take_back(*undo.pop())
            elif self._fits(index):
                stack.append(iter(self._choices(choice)))
            else:
                self._take_back(*undo.pop())
        return True

    def _choices(self, last: tuple[int, int, int]) -> list[tuple[int, int, int]]:
        """Return (offset, -size, index) of what may follow the last one placed, in rising order of just that."""
        options = []
        for index in self.todo:
            offset = max(self.skyline[point] for point in self.spans[index])
            option = (offset, -self.sizes[index], index)
            if option > last:
                options.append(option)
            elif offset + self.sizes[index] <= last[0]:
                return []  # it fits beneath all that is still to come: a branch that put it there is no worse
        return sorted(options)

    def _put(self, index: int, offset: int) -> list[int]:
        span, size = self.spans[index], self.sizes[index]
        before = [self.skyline[point] for point in span]
        for point in span:
            self.skyline[point] = offset + size
            self.left[point] -= size
        self.offsets[index] = offset
        self.todo.discard(index)
        return before

    def _take_back(self, index: int, before: list[int]) -> None:
        for point, height in zip(self.spans[index], before, strict=True):
            self.skyline[point] = height
            self.left[point] += self.sizes[index]
        self.todo.add(index)

    def _fits(self, index: int) -> bool:
        return all(self.skyline[point] + self.left[point] < self.arena for point in self.spans[index])
