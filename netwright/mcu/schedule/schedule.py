"""Which layer runs when, and the offset of everything in the arena: the plan that the generated C carries out.

A `Schedule` is a tuple of steps. `Whole` runs one layer on whole tensors; a `Segment` runs several layers row by row,
so that the values between them never exist as a whole. Offsets are bytes from the start of the
arena.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from netwright.core.errors import unknown
from netwright.graph.memory.flow import Flow
from netwright.graph.memory.order import Order, best_order
from netwright.mcu.layer import Layer, Network
from netwright.mcu.schedule.dataflow import dies_at, network_flow
from netwright.mcu.schedule.partition import LayerCost, Option, cheapest, least_bytes, options, patches
from netwright.mcu.schedule.place import ArenaBuffer, Overlap, Placement, place
from netwright.mcu.schedule.stream import Segment

MODES = ("auto", "layers", "stream", "patch")
SLOWER = 1.05  # how many times the fewest instructions "auto" spends on less memory, where no limit is given
ATTEMPTS = 12  # limits under which a chain is packed


@dataclass(frozen=True, slots=True)
class Whole:
    """One layer on whole tensors: `layer` is its index in `Network.layers`.

    `over`: the value (a root) at whose offset the result begins, -1 if none: a call in place. A depthwise convolution
    in place writes its rows densely, whatever its stride: out_row_stride is the row of the output, and nothing is left
    to compact. `scratch_bytes`: what the kernel needs besides; at `scratch` in the arena, or on the stack if that is
    -1.
    """

    layer: int
    over: int = -1
    scratch: int = -1
    scratch_bytes: int = 0


ScheduleStep = Whole | Segment


@dataclass(frozen=True)
class Schedule:
    """What runs, in which order and where.

    `offsets`: by value with bytes of its own (`Network.root`), inputs and outputs of the network among them; a value
    that exists only row by row has none. `arena_bytes` counts all of these, rings and scratch in the arena.
    `lower_bound_bytes`: no placement of what these steps keep alive needs less; `bound` says so in words.
    `order_bound_bytes`: no order of layers on whole tensors needs less, work in place included. `alive_bytes`: by step.
    `instructions`: what the costs given add up to; an estimate, for choosing between plans.
    """

    mode: str
    steps: tuple[ScheduleStep, ...]
    offsets: Mapping[int, int]
    arena_bytes: int
    lower_bound_bytes: int
    order_bound_bytes: int
    bound: str
    alive_bytes: tuple[int, ...]
    instructions: float = 0.0

    @property
    def peak(self) -> int:
        """Index of the first step at which most is alive; -1 without steps."""
        return max(range(len(self.alive_bytes)), key=self.alive_bytes.__getitem__, default=-1)

    @property
    def exact(self) -> bool:
        """Whether the arena is as small as its steps allow."""
        return self.arena_bytes == self.lower_bound_bytes


def rough_instructions(network: Network, layer: Layer, rows: int = 0) -> float:
    """Return the layer's own estimate: enough to choose between schedules where no fitted model is given."""
    return layer.estimate(network, rows)


def schedule(
    network: Network,
    *,
    sram_bytes: int | None = None,
    mode: str = "auto",
    cost: LayerCost = rough_instructions,
) -> Schedule:
    """Return the plan of a network.

    `mode`: "layers" runs every layer on whole tensors; "stream" takes the least arena that streaming reaches, "patch"
    the least that whole tensors and patches do; "auto" the fewest instructions within `sram_bytes`, or the least arena
    if nothing fits (patches only where streaming does not); without a limit, the least arena that streaming reaches at
    no more than 5 % above the fewest instructions.
    `cost(network, layer, rows)`: instructions of a layer in so many row calls, or, if 0, on whole tensors.
    """
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    flow = network_flow(network)
    found = best_order(flow)
    count = len(found.steps)
    choices = options(network, flow, found.steps, cost, stream=mode in ("auto", "stream"))
    least = least_bytes(choices, count)
    if mode == "patch" or (mode == "auto" and sram_bytes is not None and least > sram_bytes):
        enough = max(sram_bytes or 0, sum(network.values[network.root(value)].bytes for value in network.inputs))
        choices = sorted([*choices, *patches(network, flow, found.steps, cost, enough)], key=lambda one: one.last)
        least = least_bytes(choices, count)
    target = least
    if mode == "auto":
        target = _slightly_slower(choices, count) if sram_bytes is None else max(least, sram_bytes)
    best: Schedule | None = None
    for limit, chain in _attempts(choices, count, least, target):  # not everything packs without gaps
        if best is None or best.arena_bytes > limit:
            plan = _Arrangement(network, flow, found, chain).schedule(mode)
            if best is None or plan.arena_bytes < best.arena_bytes:
                best = plan
    assert best is not None  # the target has a chain
    return best


def _attempts(
    choices: Sequence[Option], count: int, least: int, target: int
) -> Iterator[tuple[int, tuple[Option, ...]]]:
    """Yield chains to pack within a number of bytes: the cheapest, then those easier to pack, then larger ones."""
    for by_bytes in (False, True):
        limit = target
        for _ in range(ATTEMPTS):
            chain = cheapest(choices, count, limit, by_bytes=by_bytes)
            if chain is None:
                break
            yield target, chain
            limit = max((option.bytes for option in chain), default=0) - 1
    for limit in (
        sorted({option.bytes for option in choices if option.bytes > target})[:ATTEMPTS] if target == least else ()
    ):
        for by_bytes in (False, True):
            chain = cheapest(choices, count, limit, by_bytes=by_bytes)
            if chain is not None:
                yield limit, chain


def _slightly_slower(choices: Sequence[Option], count: int) -> int:
    """Return the least limit under which some chain costs at most `SLOWER` times what the cheapest of all costs."""
    floor = least_bytes(choices, count)
    limits = sorted({option.bytes for option in choices if option.bytes >= floor} | {floor})

    def spent(limit: int) -> float:
        return sum(option.cost for option in cheapest(choices, count, limit) or ())

    most = spent(limits[-1]) * SLOWER
    return limits[bisect_left(limits, True, key=lambda limit: spent(limit) <= most)]


class _Arrangement:
    """Everything in the arena under one chain of options, with the steps at which it must be there."""

    def __init__(self, network: Network, flow: Flow, found: Order, chain: Sequence[Option]) -> None:
        self.network, self.flow, self.found, self.chain = network, flow, found, chain
        self.time = {place: time for time, option in enumerate(chain) for place in range(option.first, option.last)}
        position = {step: place for place, step in enumerate(found.steps)}
        self.buffer_of: dict[int, int] = {}
        self.buffers: list[ArenaBuffer] = []
        ends = dies_at(flow, found.steps)
        for index, value in enumerate(flow.values):
            made = self.time[position[value.maker]] if value.maker >= 0 else 0
            last = self.time.get(ends[index], 0)
            streamed = chain[made].segment if value.maker >= 0 else None
            inside = streamed is not None and value.storage != streamed.output
            if not inside:
                self.buffer_of[value.storage] = len(self.buffers)
                self.buffers.append(ArenaBuffer(value.bytes, made, last))
        self.ring_of: dict[int, int] = {}
        for time, option in enumerate(chain):
            if option.segment is not None:
                self.ring_of[time] = len(self.buffers)
                self.buffers += [ArenaBuffer(rows.bytes, time, time) for rows in option.segment.rows]
        self.overlaps = dict(pair for time in range(len(chain)) for pair in self._overlaps(time))

    def schedule(self, mode: str) -> Schedule:
        """Return the plan, with scratch in the arena wherever that does not make it larger."""
        needs = [
            self.network.layers[self.found.steps[option.first]].scratch_bytes(self.network)
            if option.segment is None
            else 0
            for option in self.chain
        ]
        bare = place(self.buffers, self.overlaps)
        alive = self._alive()
        room = [need if bytes_ + need <= bare.arena_bytes else 0 for bytes_, need in zip(alive, needs, strict=True)]
        temporary = [ArenaBuffer(size, time, time) for time, size in enumerate(room)]
        whole = place([*self.buffers, *temporary], self.overlaps)
        if whole.arena_bytes > bare.arena_bytes:
            whole, room = bare, [0] * len(room)
        steps = tuple(
            self._step(time, whole, needs[time], whole.offsets[len(self.buffers) + time] if room[time] else -1)
            for time in range(len(self.chain))
        )
        bound = bare.lower_bound_bytes if whole is bare else whole.lower_bound_bytes
        return Schedule(
            mode,
            steps,
            {value: whole.offsets[buffer] for value, buffer in self.buffer_of.items()},
            whole.arena_bytes,
            bound,
            self.found.lower_bound_bytes,
            _words(whole.arena_bytes, bound, self.found.lower_bound_bytes),
            tuple(alive),
            sum(option.cost for option in self.chain),
        )

    def _overlaps(self, time: int) -> list[tuple[tuple[int, int], Overlap]]:
        """Return which buffers may overlap at a step, as (input, result), and how."""
        option = self.chain[time]
        step = self.flow.steps[self.found.steps[option.last - 1]]
        made = self.buffer_of[self.flow.values[step.made[0]].storage]
        if option.segment is None:
            ways = [(self.flow.values[value].storage, Overlap(same=True)) for value in step.overwritable]
        else:
            ways = list(zip(option.segment.inputs, option.segment.overlaps, strict=True))
        pairs = [(self.buffer_of[value], how) for value, how in ways]
        return [((given, made), how) for given, how in pairs if self.buffers[given].last == time]

    def _alive(self) -> list[int]:
        alive = [
            sum(buffer.bytes for buffer in self.buffers if buffer.first <= time <= buffer.last)
            for time in range(len(self.chain))
        ]
        gain = [0] * len(alive)
        for (given, made), how in self.overlaps.items():
            sizes = self.buffers[given].bytes, self.buffers[made].bytes
            time = self.buffers[made].first
            gain[time] = max(gain[time], sum(sizes) - how.span(*sizes))
        return [bytes_ - less for bytes_, less in zip(alive, gain, strict=True)]

    def _step(self, time: int, where: Placement, scratch_bytes: int, scratch: int) -> ScheduleStep:
        option = self.chain[time]
        if option.segment is not None:
            ring = self.ring_of[time]
            return replace(option.segment, offsets=where.offsets[ring : ring + len(option.segment.rows)])
        index = self.found.steps[option.first]
        made = self.buffer_of[self.network.root(self.network.layers[index].output)]
        over = -1
        for value, buffer in self.buffer_of.items():
            if (buffer, made) in self.overlaps and where.offsets[buffer] == where.offsets[made]:
                over = value
        return Whole(index, over, scratch, scratch_bytes)


def _words(arena: int, bound: int, order_bound: int) -> str:
    if arena > bound:
        return f"{arena - bound:,} bytes above what these steps must keep alive"
    if arena < order_bound:
        return f"proven for these steps; layer by layer, no order needs less than {order_bound:,} bytes"
    if arena == order_bound:
        return "proven: layer by layer, no order and no placement needs less"
    return f"proven for this order; no order layer by layer can need less than {order_bound:,} bytes"
