"""The arena of a chain of blocks, without making its network: what a search asks for tens of thousands of candidates.

Only one value lives between two blocks, so what an option (`partition`) needs depends on the blocks that it touches
alone. It is found once for every block and input shape that is met (what is remembered is bounded in bytes), and for
neighbouring blocks together only around those that need most on their own. Where blocks read others than the one before,
more values live between them, and the whole network is planned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from netwright.core.cache import bounded_cache
from netwright.graph.memory.order import best_order
from netwright.mcu.network import Layer, Network
from netwright.mcu.price.from_blocks import named, network_of_blocks
from netwright.mcu.schedule.dataflow import network_flow
from netwright.mcu.schedule.partition import LONGEST, Alive, least_bytes, options, ranges
from netwright.mcu.schedule.stream import outline, segment, users_of
from netwright.nn.block import Block, Shape
from netwright.nn.wiring import Blocks, is_plain_chain, plain, wire

_Unit = tuple[Block, Shape]
_SPANS_MB, _BLOCKS_MB = 512, 32
_OPTION_BYTES, _LAYER_BYTES = 200, 3000  # of what is kept of a span, for each option and each layer


def chain_memory(blocks: Blocks | Iterable[Block], in_shape: Shape, *, mode: str = "stream") -> int:
    """Return the bytes under which every step of a schedule fits, for an input (channels, height, width).

    `mode`: "layers" or "stream", as in `schedule`, whose arena this is wherever its buffers can be packed without gaps.
    """
    blocks = named(blocks)
    if not (is_plain_chain(blocks) or wire(blocks).is_chain):
        network = network_of_blocks(blocks, in_shape, seed=None)
        return _least(network, mode)
    units: list[_Unit] = []
    shape = in_shape
    for block in map(plain, blocks.values()):
        units.append((block, shape))
        shape = block.out_shape(shape)
    alone = [block_memory(*unit, mode=mode) for unit in units]
    least = max(alone, default=math.prod(in_shape))
    if mode == "layers":
        return least
    crowded: set[int] = set()
    while not crowded >= (more := {index for index, needed in enumerate(alone) if needed >= least}):
        crowded |= more
        least = _shared(units, crowded, least)
    return least


@bounded_cache(_BLOCKS_MB)
def block_memory(block: Block, *in_shapes: Shape, mode: str = "stream") -> int:
    """Return the least bytes that a block needs where it shares no segment with its neighbours."""
    return _least(network_of_blocks([block], *in_shapes, seed=None), mode)


def _least(network: Network, mode: str) -> int:
    """Return the bytes under which every step of a network's schedule fits."""
    flow = network_flow(network)
    order = best_order(flow).steps
    return least_bytes(options(network, flow, order, _nothing, stream=mode != "layers"), len(order))


def _shared(units: list[_Unit], crowded: set[int], ceiling: int) -> int:
    """Return the least bytes where segments reach over several blocks, one of them crowded; `ceiling` is enough."""
    starts = [0]
    for unit in units:
        starts.append(starts[-1] + _span((unit,)).count)
    best = [0] + [1 << 62] * starts[-1]
    for last in range(len(units)):
        for first in range(last, -1, -1):
            if first < last and starts[last] - starts[first + 1] > LONGEST - 2:
                break
            if first == last or not crowded.isdisjoint(range(first, last + 1)):
                for begin, end, needed in _span(tuple(units[first : last + 1])).options(ceiling):
                    there = starts[last] + end
                    best[there] = min(best[there], max(best[starts[first] + begin], needed))
    return best[-1]


class _Span:
    """Consecutive blocks, and the options that begin in the first and end in the last of them."""

    def __init__(self, units: tuple[_Unit, ...]) -> None:
        self.network = network_of_blocks([block for block, _ in units], units[0][1], seed=None)
        self.flow = network_flow(self.network)
        self.order = best_order(self.flow).steps
        self.alive = Alive(self.network, self.flow, self.order)
        self.users = users_of(self.network)
        self.count = len(self.order)
        single = len(units) == 1
        self.first = self.count if single else _span(units[:1]).count
        self.before = 0 if single else self.count - _span(units[-1:]).count
        self.known = {(first, first + 1): self.alive.whole(first) for first in range(self.count)} if single else {}
        self.outlined = self._outlined()

    def bytes(self) -> int:
        """Return about how many bytes of memory this takes."""
        return _OPTION_BYTES * (len(self.outlined) + len(self.known)) + _LAYER_BYTES * self.count

    def options(self, ceiling: int) -> list[tuple[int, int, int]]:
        """Return (begin, end, bytes) by rising end, of at most `ceiling` bytes; both counted in their block."""
        for (first, last), least in list(self.outlined.items()):
            if least <= ceiling:
                del self.outlined[first, last]
                found = segment(self.network, self.order[first:last], self.users)
                assert found is not None  # there is an outline
                needed = self.alive.streamed(first, last, found)
                self.known[first, last] = min(needed, self.known.get((first, last), needed))
        return [(first, last - self.before, self.known[first, last]) for first, last in sorted(self.known, key=_by_end)]

    def _outlined(self) -> dict[tuple[int, int], int]:
        """Return by (first, last) what a segment needs at least."""
        result = {}
        for first, last in ranges(self.network, self.order):
            if first < self.first and last > self.before:
                found = outline(self.network, self.order[first:last], self.users)
                if found is not None:
                    result[first, last] = self.alive.streamed(first, last, found)
        return result


@bounded_cache(_SPANS_MB, size=_Span.bytes)
def _span(units: tuple[_Unit, ...]) -> _Span:
    return _Span(units)


def _by_end(option: tuple[int, int]) -> tuple[int, int]:
    return option[1], option[0]


def _nothing(_network: Network, _layer: Layer, _rows: int) -> float:
    return 0.0
