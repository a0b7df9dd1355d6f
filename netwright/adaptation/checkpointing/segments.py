"""Segments of a forward pass whose activations are kept for the backward pass, or computed again in it.

Two policies need no budget: every block is a segment, or about sqrt(n) segments of n blocks (Chen et al. 2016,
arXiv:1604.06174). Segments may nest, and may start and end anywhere, also inside a block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, isqrt

from netwright.cost.count import work_of
from netwright.graph.graph import Graph


@dataclass(frozen=True)
class Segment:
    """Operations from `start` up to `stop`. Kept: autograd saves what it needs.

    Otherwise only what the part starts from is kept, and it runs a second time in the backward pass; `parts` then says
    the same of its own parts in that second run, empty where all of it is kept.
    """

    start: int
    stop: int
    kept: bool = True
    parts: tuple[Segment, ...] = ()


def recomputed_macs(graph: Graph, plan: Sequence[Segment]) -> int:
    """Return the multiply-accumulates that a plan does more than once, over all its second and later runs.

    An upper bound: the run stops early where nothing further is wanted.
    """
    total = 0
    for part in plan:
        if not part.kept:
            for op in graph.ops[part.start : part.stop]:
                work = work_of(graph, op)
                total += work.macs if work else 0
            total += recomputed_macs(graph, part.parts)
    return total


def blocks_of(graph: Graph) -> tuple[int, ...]:
    """Return where the blocks of a forward-only graph start: numbered modules, such as blocks.3.1, or what is between.

    Only places where a second run may start are returned.
    """
    names = _blocks([op.path for op in graph.ops])
    starts = [0]
    for name, places in groupby(range(len(names)), key=names.__getitem__):
        first = next(places)
        if first and name != names[first - 1]:
            starts.append(first)
    return tuple(start for start in starts if may_start(graph, start))


_BLOCK = re.compile(r"[^\W\d]\w*(?:\.\d+)+(?:\.(?:blocks?|layers?|stages?)(?:\.\d+)+)*")


def _blocks(paths: Sequence[str]) -> list[str]:
    """Return the numbered modules that paths lead into; where none leads further, what holds the number.

    Where a network numbers nothing, the names of its modules down to the level at which there are four or more.
    """
    found = [_BLOCK.match(path) for path in paths]
    names = [match.group() if match else "" for match in found]
    entered = {name for name, path in zip(names, paths, strict=True) if len(path) > len(name)}
    names = [name if name in entered else name.rpartition(".")[0] for name in names]
    for depth in (1, 2, 3):
        if len(set(names)) < 4:
            names = [".".join(path.split(".")[:depth]) for path in paths]
    return names


def every_block(graph: Graph) -> tuple[Segment, ...]:
    """Return the plan that keeps what each block starts from."""
    return _segments(blocks_of(graph), len(graph.ops))


def square_root(graph: Graph) -> tuple[Segment, ...]:
    """Return the plan of about sqrt(n) segments of n blocks, as many blocks in each."""
    starts = blocks_of(graph)
    each = ceil(len(starts) / max(1, isqrt(len(starts))))
    return _segments(starts[::each], len(graph.ops))


def _segments(starts: Sequence[int], end: int) -> tuple[Segment, ...]:
    return tuple(
        Segment(start, stop, kept=False) for start, stop in zip(starts, (*starts[1:], end), strict=True) if stop > start
    )


def may_start(graph: Graph, place: int) -> bool:
    """Tell whether a second run may start at a place: nothing that is alive there is changed later."""
    written = {number for op in graph.ops[place:] for number in op.writes}
    return not any(
        graph.storages[number].role == "activation" and graph.storages[number].born < place for number in written
    )
