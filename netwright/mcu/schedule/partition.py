"""Which layers run alone, on whole tensors, and which together, row by row, all columns at once or in patches.

Every run of consecutive layers that can be streamed is one option, every layer alone another; what an option needs is
known before the others are chosen, for the values alive around it depend on the order alone. So the cheapest chain of
options within a limit of bytes, and the chain of least bytes, each are a shortest path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from netwright.graph.memory.flow import Flow
from netwright.mcu.layer import Layer, Network
from netwright.mcu.schedule.dataflow import dies_at
from netwright.mcu.schedule.patches import GRIDS, patched
from netwright.mcu.schedule.stream import Segment, outline, segment, streamable, users_of

LONGEST = 8  # layers in one segment: longer ones saved nothing in any network tried
LayerCost = Callable[[Network, Layer, int], float]


@dataclass(frozen=True, slots=True)
class Option:
    """Steps `first` to `last` - 1 of an order run as one: a layer on whole tensors (`segment` None) or a segment.

    `bytes`: alive while it runs, as closely as it can be packed. `cost`: instructions, estimated.
    """

    first: int
    last: int
    segment: Segment | None
    bytes: int
    cost: float


def options(
    network: Network, flow: Flow, order: Sequence[int], cost: LayerCost, *, stream: bool = True
) -> list[Option]:
    """Return every option but patches, by rising `last`."""
    alive, users = Alive(network, flow, order), users_of(network)
    result = []
    for first, step in enumerate(order):
        result.append(Option(first, first + 1, None, alive.whole(first), cost(network, network.layers[step], 0)))
    for first, last in ranges(network, order) if stream else ():
        found = segment(network, order[first:last], users)
        if found is not None:
            result.append(Option(first, last, found, alive.streamed(first, last, found), _rows(network, found, cost)))
    return sorted(result, key=_by_last)


def patches(network: Network, flow: Flow, order: Sequence[int], cost: LayerCost, enough: int) -> list[Option]:
    """Return options in patches, by rising `last`, but for those whose layers each need at most `enough` bytes."""
    alive, users = Alive(network, flow, order), users_of(network)
    needed = [alive.whole(place) for place in range(len(order))]
    result = []
    for first, last in ranges(network, order):
        worth = last - first > 1 and max(needed[first:last]) > enough
        plain = outline(network, order[first:last], users) if worth else None
        if plain is None:
            continue
        for found in (patched(network, plain, grid) for grid in GRIDS):
            if found is not None:
                bytes_ = alive.streamed(first, last, found)
                result.append(Option(first, last, found, bytes_, _rows(network, found, cost)))
    return sorted(result, key=_by_last)


def _by_last(option: Option) -> tuple[int, int, bool]:
    return option.last, option.first, option.segment is not None


def ranges(network: Network, order: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of every run of steps whose layers all can be streamed, at most `LONGEST` of them."""
    for first in range(len(order)):
        for last in range(first + 1, min(len(order), first + LONGEST) + 1):
            if not streamable(network, network.layers[order[last - 1]]):
                break
            yield first, last


def least_bytes(choices: Sequence[Option], steps: int) -> int:
    """Return the smallest limit under which some chain of options covers all steps."""
    best = [0] + [1 << 62] * steps
    for option in choices:
        best[option.last] = min(best[option.last], max(best[option.first], option.bytes))
    return best[steps]


def cheapest(choices: Sequence[Option], steps: int, limit: int, *, by_bytes: bool = False) -> tuple[Option, ...] | None:
    """Return the chain of options of least cost, each within `limit` bytes, or None; of equals that of fewest bytes.

    `by_bytes`: that of fewest bytes, summed over steps, and among equal ones the cheapest: it is easier to pack.
    """
    best: list[tuple[float, float] | None] = [(0.0, 0.0)] + [None] * steps
    came: list[Option | None] = [None] * (steps + 1)
    for option in choices:
        before = best[option.first]
        if option.bytes > limit or before is None:
            continue
        room = option.bytes * (option.last - option.first)
        worth = (room, option.cost) if by_bytes else (option.cost, room)
        after = (before[0] + worth[0], before[1] + worth[1])
        there = best[option.last]
        if there is None or after < there:
            best[option.last], came[option.last] = after, option
    chain: list[Option] = []
    place = steps
    while place and (option := came[place]) is not None:
        chain.append(option)
        place = option.first
    return tuple(reversed(chain)) if place == 0 else None


def _rows(network: Network, found: Segment, cost: LayerCost) -> float:
    return sum(
        cost(network, network.layers[stage.layer], max(1, round(found.rows_made(network, place))))
        for place, stage in enumerate(found.stages)
        if not stage.planar
    )


class Alive:
    """The bytes alive around the steps of an order."""

    def __init__(self, network: Network, flow: Flow, order: Sequence[int]) -> None:
        self.network, self.flow, self.order = network, flow, order
        self.number = {value.storage: index for index, value in enumerate(flow.values)}
        self.last = dies_at(flow, order)
        position = {step: place for place, step in enumerate(order)}
        self.born = [position[value.maker] if value.maker >= 0 else 0 for value in flow.values]
        change = [0] * (len(order) + 1)
        for index, value in enumerate(flow.values):  # alive from the place after its maker's to the last that needs it
            start = self.born[index] + 1 if value.maker >= 0 else 0
            change[start] += value.bytes
            change[max(start, self.last[index] + 1)] -= value.bytes
        self.crossing = list(accumulate(change[:-1]))

    def whole(self, place: int) -> int:
        """Return the bytes alive while the layer at a place runs on whole tensors."""
        step = self.flow.steps[self.order[place]]
        made = self.flow.values[step.made[0]].bytes
        over = any(self.last[value] == place for value in step.overwritable)
        return self.crossing[place] + (0 if over else made)

    def streamed(self, first: int, last: int, found: Segment) -> int:
        """Return the bytes alive while a segment runs, its output over the input that allows most of it."""
        made = self.network.values[found.output].bytes
        gain = 0
        for value, overlap in zip(found.inputs, found.overlaps, strict=True):
            if self.dies(value, first, last):
                given = self.network.values[value].bytes
                gain = max(gain, given + made - overlap.span(given, made))
        return self.crossing[first] + made + found.rows_bytes - gain

    def dies(self, value: int, first: int, last: int) -> bool:
        """Say whether nothing needs a value after a segment."""
        return first <= self.last[self.number[value]] < last and not self.flow.values[self.number[value]].kept
