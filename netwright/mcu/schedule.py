"""Which layer runs when, and where in the arena everything lies: the plan that the generated C carries out.

A `Schedule` is a tuple of steps. `Whole` runs one layer on whole tensors; a `Segment` runs several layers row by row, so
that what lies between them never exists as a whole (its C: `emit_stream`). Offsets are bytes from the start of the arena.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netwright.core.errors import unknown
from netwright.graph.order import best_order
from netwright.mcu.dataflow import dies_at, in_place, network_flow
from netwright.mcu.network import Layer, Network
from netwright.mcu.place import Block, Overlap, place
from netwright.mcu.stream import Segment

MODES = ("auto", "layers", "stream", "patch")
Scratch = Callable[[Layer, Network], int]


@dataclass(frozen=True, slots=True)
class Whole:
    """One layer on whole tensors: `layer` is its index in `Network.layers`.

    `over`: the value (a root) at whose offset the result begins, -1 if none: a call in place. A depthwise convolution in
    place writes its rows densely, whatever its stride: out_row_stride is the row of the output, and nothing is left to
    compact. `scratch_bytes`: what the kernel needs besides; at `scratch` in the arena, or on the stack if that is -1.
    """

    layer: int
    over: int = -1
    scratch: int = -1
    scratch_bytes: int = 0


Step = Whole | Segment


@dataclass(frozen=True)
class Schedule:
    """What runs, in which order and where.

    `offsets`: by value with bytes of its own (`Network.root`), inputs and outputs of the network among them; a value that
    exists only row by row has none. `arena_bytes` counts all of these, rings and scratch in the arena.
    `lower_bound_bytes`: no placement of what these steps keep alive needs less; `bound` says so in words. `order_bound_bytes`:
    no order of layers on whole tensors needs less, work in place included. `alive_bytes`: by step.
    """

    mode: str
    steps: tuple[Step, ...]
    offsets: Mapping[int, int]
    arena_bytes: int
    lower_bound_bytes: int
    order_bound_bytes: int
    bound: str
    alive_bytes: tuple[int, ...]

    @property
    def peak(self) -> int:
        """Index of the first step at which most is alive; -1 without steps."""
        return max(range(len(self.alive_bytes)), key=self.alive_bytes.__getitem__, default=-1)

    @property
    def exact(self) -> bool:
        """Whether the arena is as small as its steps allow."""
        return self.arena_bytes == self.lower_bound_bytes


def no_scratch(_layer: Layer, _network: Network) -> int:
    """Return that a layer needs no scratch."""
    return 0


def schedule(
    network: Network, *, sram_bytes: int | None = None, mode: str = "auto", scratch: Scratch = no_scratch
) -> Schedule:
    """Return the plan of a network.

    `mode`: "layers" runs every layer on whole tensors. `scratch`: bytes that a layer's kernel needs besides its tensors.
    """
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    return layer_schedule(network, scratch)


def layer_schedule(network: Network, scratch: Scratch = no_scratch) -> Schedule:
    """Return the plan that runs layer by layer, in the order that needs least."""
    flow = network_flow(network)
    found = best_order(flow)
    order = found.steps
    last = dies_at(flow, order)
    position = {step: place for place, step in enumerate(order)}
    blocks = [
        Block(value.bytes, position[value.maker] if value.maker >= 0 else 0, last[index])
        for index, value in enumerate(flow.values)
    ]
    overlaps = {
        (given, flow.steps[step].made[0]): Overlap(same=True)
        for step in order
        for given in flow.steps[step].overwritable
        if last[given] == position[step]
    }
    bare = place(blocks, overlaps)
    needs = [scratch(network.layers[flow.steps[step].op], network) for step in order]
    temporary = [Block(size, place_, place_) for place_, size in enumerate(needs)]
    whole = place([*blocks, *temporary], overlaps)
    on_stack = whole.arena_bytes > bare.arena_bytes
    offsets = bare.offsets if on_stack else whole.offsets
    by_value = {value.storage: offsets[index] for index, value in enumerate(flow.values)}
    steps = []
    for place_, step in enumerate(order):
        layer = network.layers[flow.steps[step].op]
        at = by_value[network.root(layer.output)]
        dying = {flow.values[g].storage for g in flow.steps[step].overwritable if last[g] == place_}
        over = next((root for root in in_place(network, layer) if root in dying and by_value[root] == at), -1)
        kept = not on_stack and needs[place_] > 0
        steps.append(Whole(step, over, offsets[len(blocks) + place_] if kept else -1, needs[place_]))
    arena = bare.arena_bytes if on_stack else whole.arena_bytes
    bound = bare.lower_bound_bytes if on_stack else whole.lower_bound_bytes
    return Schedule(
        "layers",
        tuple(steps),
        by_value,
        arena,
        bound,
        found.lower_bound_bytes,
        _words(arena, bound, found.lower_bound_bytes),
        _alive(blocks, overlaps, len(order)),
    )


def _words(arena: int, bound: int, order_bound: int) -> str:
    if arena == bound == order_bound:
        return "proven: no order and no placement needs less, layer by layer"
    if arena == bound:
        return f"proven for this order; no order can need less than {order_bound:,} bytes"
    return f"{arena - bound:,} bytes above the bound of this order"


def _alive(blocks: list[Block], overlaps: Mapping[tuple[int, int], Overlap], steps: int) -> tuple[int, ...]:
    alive = [sum(block.bytes for block in blocks if block.first <= step <= block.last) for step in range(steps)]
    for given, made in overlaps:
        alive[blocks[made].first] -= min(blocks[given].bytes, blocks[made].bytes)
    return tuple(alive)
