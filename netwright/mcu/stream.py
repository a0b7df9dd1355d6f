"""Streaming: several layers computed row by row, so that what lies between them never exists as a whole."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rows:
    """Where a value inside a segment keeps the rows that are still needed: row y in slot y modulo `count`.

    `planar` False: a slot is one dense row, [x][channel]. True: a slot is [channel][x], `stride` bytes a channel, with
    the zero point to the left (`left` bytes) and to the right of the row. `slot_bytes`: from one slot to the next.
    """

    value: int
    planar: bool
    count: int
    slot_bytes: int
    stride: int
    left: int


@dataclass(frozen=True)
class Segment:
    """Layers (indices in `Network.layers`, in an order in which they may run) computed by pulling rows of `output`.

    `inputs`, `output`: values (roots) that exist as a whole, inputs before the segment. `rows`: what the others keep.
    `offsets`: of each entry of `rows` in the arena.
    """

    layers: tuple[int, ...]
    inputs: tuple[int, ...]
    output: int
    rows: tuple[Rows, ...]
    offsets: tuple[int, ...]
