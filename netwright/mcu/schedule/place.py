"""Where buffers lie in one arena when some may run into each other: results over inputs that are being consumed.

First fit in several orders, again with those that ended above the bound placed first, then with pairs of neighbours
exchanged, by the same pseudo-random sequence in every run. Without such overlaps `graph.plan` solves the same problem
exactly; the tests hold the two against each other.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """Memory that stays in one place from step `first` to step `last`, both included."""

    bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Overlap:
    """How a result may lie over an input that dies while it is made: at most `shift` bytes above where that begins.

    `shift` is negative where the result grows faster than the input is consumed, and None where no such place is safe.
    `same`: it may also begin exactly where the input does.
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
    """Offsets of blocks, the bytes they take together, and what no placement can go below."""

    offsets: tuple[int, ...]
    arena_bytes: int
    lower_bound_bytes: int


Overlaps = Mapping[tuple[int, int], Overlap]


def place(blocks: Sequence[Block], overlaps: Overlaps, *, alignment: int = 4, tries: int = 300) -> Placement:
    """Return the lowest placement found; `overlaps` by (index of the input, index of the result).

    Blocks of no bytes take no place. Offsets are multiples of `alignment`, sizes are rounded up to it.
    """
    sizes = [-(-block.bytes // alignment) * alignment for block in blocks]
    rounded = {pair: _rounded(overlap, alignment) for pair, overlap in overlaps.items()}
    bound = least(blocks, sizes, rounded)
    solver = _FirstFit(blocks, sizes, rounded)
    best, arena = [0] * len(blocks), sum(sizes) + 1
    orders = _orders(blocks)
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
    for _ in range(tries if len(blocks) > 1 else 0):
        order = list(winner)
        for _ in range(draw.randint(1, 3)):
            order.insert(draw.randrange(len(order)), order.pop(draw.randrange(len(order))))
        offsets, height = solver.run(order)
        if height <= arena:
            best, arena, winner = (offsets if height < arena else best), height, order
        if arena <= bound:
            break
    return Placement(tuple(best), arena, bound)


def least(blocks: Sequence[Block], sizes: Sequence[int], overlaps: Overlaps) -> int:
    """Return what no placement can go below: the most alive at once, overlaps used as well as they can be."""
    change: dict[int, int] = {0: 0}
    for block, size in zip(blocks, sizes, strict=True):
        change[block.first] = change.get(block.first, 0) + size
        change[block.last + 1] = change.get(block.last + 1, 0) - size
    saved: dict[int, int] = {}
    for (given, made), overlap in overlaps.items():
        step = blocks[made].first
        gain = sizes[given] + sizes[made] - overlap.span(sizes[given], sizes[made])
        saved[made] = min(sizes[made], saved.get(made, 0) + gain)
        change.setdefault(step, 0)
        change.setdefault(step + 1, 0)
    during: dict[int, int] = {}
    for made, gain in saved.items():
        during[blocks[made].first] = during.get(blocks[made].first, 0) + gain
    total = most = 0
    for step in sorted(change):
        total += change[step]
        most = max(most, total - during.get(step, 0))
    return most


class _FirstFit:
    """Places one block after another at the lowest offset that those placed before allow."""

    def __init__(self, blocks: Sequence[Block], sizes: Sequence[int], overlaps: Overlaps) -> None:
        self.sizes, self.overlaps = sizes, overlaps
        self.together = [
            [j for j, b in enumerate(blocks) if j != i and sizes[j] and a.first <= b.last and b.first <= a.last]
            for i, a in enumerate(blocks)
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


def _orders(blocks: Sequence[Block]) -> list[list[int]]:
    keys = (
        lambda b: (-b.bytes, b.first),
        lambda b: (-b.bytes * (b.last - b.first + 1), b.first),
        lambda b: (b.first, -b.bytes),
        lambda b: (b.first - b.last, -b.bytes),
    )
    return [sorted(range(len(blocks)), key=lambda i, key=key: key(blocks[i])) for key in keys]
