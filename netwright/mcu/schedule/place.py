"""Offsets of buffers in one arena, where a result may overlap an input that is no longer needed while it is written.

First fit in several orders, again with those that ended above the bound placed first, then with pairs of neighbours
exchanged, by the same pseudo-random sequence in every run. Without such overlaps `graph.memory.plan` solves the same problem
exactly; the tests hold the two against each other.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArenaBuffer:
    """Memory that stays in one place from step `first` to step `last`, both included."""

    bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Overlap:
    """Which offsets a result may have, relative to an input whose memory it may reuse while it is computed.

    Allowed is every offset up to `shift` bytes above the input's: each byte of the result then is written after the
    bytes of the input at its place were read for the last time. `shift` is negative where the result must begin that
    many bytes before the input, and None where there is no such offset. `same`: the input's own offset is allowed too.
    """

    shift: int | None = None
    same: bool = False

    def span(self, given: int, made: int) -> int:
        """Return the fewest bytes that hold an input of `given` bytes and a result of `made` bytes."""
        best = given + made
        if self.same:
            best = max(given, made)
        if self.shift is not None:
            distance = min(self.shift, max(0, given - made)) if self.shift >= 0 else self.shift
            best = min(best, max(given, distance + made) - min(0, distance))
        return best


@dataclass(frozen=True)
class Placement:
    """Offsets of buffers, the bytes they take together, and what no placement can go below."""

    offsets: tuple[int, ...]
    arena_bytes: int
    lower_bound_bytes: int


Overlaps = Mapping[tuple[int, int], Overlap]


def place(buffers: Sequence[ArenaBuffer], overlaps: Overlaps, *, alignment: int = 4, tries: int = 300) -> Placement:
    """Return the lowest placement found; `overlaps` by (index of the input, index of the result).

    Buffers of no bytes take no place. Offsets are multiples of `alignment`, sizes are rounded up to it.
    """
    sizes = [-(-buffer.bytes // alignment) * alignment for buffer in buffers]
    rounded = {pair: _rounded(overlap, alignment) for pair, overlap in overlaps.items()}
    bound = least(buffers, sizes, rounded)
    solver = _FirstFit(buffers, sizes, rounded)
    best, arena = [0] * len(buffers), sum(sizes) + 1
    orders = _orders(buffers)
    for order in orders:
        for _ in range(20):
            offsets, height = solver.run(order)
            if height < arena:
                best, arena, winner = offsets, height, list(order)
            if arena <= bound:
                return Placement(tuple(best), arena, bound)
            again = sorted(order, key=lambda i: offsets[i] + sizes[i] <= bound)
            if again == order:
                break
            order = again
    draw = random.Random(0)
    for _ in range(tries if len(buffers) > 1 else 0):
        order = list(winner)
        for _ in range(draw.randint(1, 3)):
            order.insert(draw.randrange(len(order)), order.pop(draw.randrange(len(order))))
        offsets, height = solver.run(order)
        if height <= arena:
            best, arena, winner = (offsets if height < arena else best), height, order
        if arena <= bound:
            break
    return Placement(tuple(best), arena, bound)


def least(buffers: Sequence[ArenaBuffer], sizes: Sequence[int], overlaps: Overlaps) -> int:
    """Return what no placement can go below: the most alive at once, overlaps used as well as they can be."""
    change: dict[int, int] = {0: 0}
    for buffer, size in zip(buffers, sizes, strict=True):
        change[buffer.first] = change.get(buffer.first, 0) + size
        change[buffer.last + 1] = change.get(buffer.last + 1, 0) - size
    saved: dict[int, int] = {}
    for (given, made), overlap in overlaps.items():
        step = buffers[made].first
        gain = sizes[given] + sizes[made] - overlap.span(sizes[given], sizes[made])
        saved[made] = min(sizes[made], saved.get(made, 0) + gain)
        change.setdefault(step, 0)
        change.setdefault(step + 1, 0)
    during: dict[int, int] = {}
    for made, gain in saved.items():
        during[buffers[made].first] = during.get(buffers[made].first, 0) + gain
    total = most = 0
    for step in sorted(change):
        total += change[step]
        most = max(most, total - during.get(step, 0))
    return most


class _FirstFit:
    """Places one buffer after another at the lowest offset that those placed before allow."""

    def __init__(self, buffers: Sequence[ArenaBuffer], sizes: Sequence[int], overlaps: Overlaps) -> None:
        self.sizes, self.overlaps = sizes, overlaps
        self.together = [
            [j for j, b in enumerate(buffers) if j != i and sizes[j] and a.first <= b.last and b.first <= a.last]
            for i, a in enumerate(buffers)
        ]

    def run(self, order: Sequence[int]) -> tuple[list[int], int]:
        offsets = [-1] * len(self.sizes)
        height = 0
        for index in order:
            offsets[index] = offset = self._lowest(index, offsets) if self.sizes[index] else 0
            height = max(height, offset + self.sizes[index])
        return offsets, height

    def _lowest(self, index: int, offsets: Sequence[int]) -> int:
        taken = []
        for other in self.together[index]:
            if offsets[other] >= 0:
                taken += self._forbidden(index, other, offsets[other])
        offset = 0
        for low, high in sorted(taken):
            if low < offset < high:
                offset = high
        # An interval that began lower may reach higher, and a point between two may have been stepped over.
        while any(low < offset < high for low, high in taken):
            offset = min(high for low, high in taken if low < offset < high)
        return offset

    def _forbidden(self, index: int, other: int, at: int) -> list[tuple[int, int]]:
        """Return open intervals in which `index` may not begin, `other` beginning at `at`."""
        low, high = at - self.sizes[index], at + self.sizes[other]
        made, allowed = True, self.overlaps.get((other, index))
        if allowed is None:
            made, allowed = False, self.overlaps.get((index, other))
        if allowed is None:
            return [(low, high)]
        ranges = [(low, high)]
        if allowed.shift is not None:
            ranges = [(at + allowed.shift, high)] if made else [(low, at - allowed.shift)]
        if allowed.same:
            ranges = [part for a, b in ranges for part in (((a, at), (at, b)) if a < at < b else ((a, b),))]
        return [(a, b) for a, b in ranges if a < b]


def _rounded(overlap: Overlap, alignment: int) -> Overlap:
    shift = None if overlap.shift is None else overlap.shift // alignment * alignment
    return Overlap(shift, overlap.same)


def _orders(buffers: Sequence[ArenaBuffer]) -> list[list[int]]:
    keys = (
        lambda b: (-b.bytes, b.first),
        lambda b: (-b.bytes * (b.last - b.first + 1), b.first),
        lambda b: (b.first, -b.bytes),
        lambda b: (b.first - b.last, -b.bytes),
    )
    return [sorted(range(len(buffers)), key=lambda i, key=key: key(buffers[i])) for key in keys]
