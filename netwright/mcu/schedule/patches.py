"""Patches: the output of a segment made tile by tile, each with just what it needs of everything before it.

Lin et al. 2021, "MCUNetV2: Memory-efficient patch-based inference for tiny deep learning" (arXiv:2110.15352). Inside a
tile rows are pulled as in `stream`, so that a tile needs rings of its own width only; what neighbouring tiles both need
is made twice, and that is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from netwright.mcu.layer import Layer, Network
from netwright.mcu.schedule.place import Overlap
from netwright.mcu.schedule.stream import (
    Nearest,
    RowPulling,
    RowRead,
    RowRing,
    RowStage,
    Segment,
    TileColumns,
    TilePart,
    row_bytes,
)

GRIDS = ((1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 3), (4, 4))


@dataclass(frozen=True, slots=True)
class _Area:
    """Rows and columns of a value, inside its image; ends are not included."""

    top: int
    bottom: int
    left: int
    right: int

    def with_(self, other: _Area | None) -> _Area:
        """Return the smallest area that holds both."""
        if other is None:
            return self
        return _Area(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )


def patched(network: Network, found: Segment, grid: tuple[int, int]) -> Segment | None:
    """Return an outline or a segment in `grid` tiles (down, across); None where one would be empty, or with a pool."""
    height, width, _ = network.values[found.output].shape
    down, across = grid
    if any(network.layers[index].rows_adjacent for index in found.layers):
        return None
    if down > height or across > width or down * across < 2:
        return None
    areas = []
    for i in range(down):
        for j in range(across):
            tile = _Area(height * i // down, height * (i + 1) // down, width * j // across, width * (j + 1) // across)
            needed = _needed(network, found.stages, tile)
            if needed is None:
                return None
            areas.append(needed)
    rows = tuple(_narrowed(network, found, number, areas) for number in range(len(found.rows)))
    tiles = tuple(tuple(_part(network, found, rows, area, place) for place in range(len(area))) for area in areas)
    return _run(network, replace(found, rows=rows, tiles=tiles, grid=grid))


def _needed(network: Network, stages: Sequence[RowStage], tile: _Area) -> list[_Area] | None:
    """Return what every stage must make for a tile of the output."""
    maker = {stage.made: place for place, stage in enumerate(stages)}
    areas: list[_Area | None] = [None] * len(stages)
    areas[-1] = tile
    for place in range(len(stages) - 1, -1, -1):
        area = areas[place]
        assert area is not None  # stages are there because later ones read them
        for reading in stages[place].reads:
            seen = _seen(network, stages[place], reading, area)
            if seen.top >= seen.bottom or seen.left >= seen.right:
                return None
            if reading.rows >= 0:
                areas[maker[reading.rows]] = seen.with_(areas[maker[reading.rows]])
    return [area for area in areas if area is not None]


def _across(network: Network, stage: RowStage) -> tuple[int, int, int]:
    """Return stride, padding to the left and reach of a stage's window along a row."""
    layer = network.layers[stage.layer]
    if stage.planar:
        return 1, 0, 0
    window = layer.row_window
    return window.stride[1], window.padding[2], (window.kernel[1] - 1) * window.dilation[1]


def _seen(network: Network, stage: RowStage, reading: RowRead, area: _Area) -> _Area:
    """Return the part of a value under the windows of an area."""
    stride, before, reach = _across(network, stage)
    width = network.values[reading.value].shape[1]
    return _Area(
        max(0, area.top * reading.stride - reading.before),
        min(reading.height, (area.bottom - 1) * reading.stride - reading.before + reading.reach + 1),
        max(0, area.left * stride - before),
        min(width, (area.right - 1) * stride - before + reach + 1),
    )


def _narrowed(network: Network, found: Segment, number: int, areas: Sequence[Sequence[_Area]]) -> RowRing:
    """Return a ring with slots for the widest part of a row in any tile."""
    ring = found.rows[number]
    channels = network.values[ring.value].shape[2]
    maker = next(place for place, stage in enumerate(found.stages) if stage.made == number)
    if not ring.planar:
        widest = max(area[maker].right - area[maker].left for area in areas)
        return replace(ring, slot_bytes=-(-widest * channels // 4) * 4)
    reader = next(place for place, s in enumerate(found.stages) if any(r.rows == number for r in s.reads))
    layer = network.layers[found.stages[reader].layer]
    line = max(_line(network, layer, area[maker], area[reader]) for area in areas)
    return replace(ring, slot_bytes=line * channels, stride=line, left=0)


def _line(network: Network, layer: Layer, given: _Area, made: _Area) -> int:
    """Return the bytes of a padded line of one channel of which some columns are given and some results made."""
    window = layer.row_window
    start = made.left * window.stride[1] - window.padding[2]
    values = list(network.values)
    for value, width in (
        (layer.inputs[0], given.right - start - window.padding[2]),
        (layer.output, made.right - made.left),
    ):
        height, _, channels = values[value].shape
        values[value] = replace(values[value], shape=(height, width, channels))
    line = layer.planar_line(replace(network, values=tuple(values)))
    assert line is not None  # it reads a planar ring
    return line.bytes


def _part(network: Network, found: Segment, rows: Sequence[RowRing], areas: Sequence[_Area], place: int) -> TilePart:
    stage, area = found.stages[place], areas[place]
    crops = []
    stride, before, _ = _across(network, stage)
    maker = {one.made: number for number, one in enumerate(found.stages)}
    for reading in stage.reads:
        seen = _seen(network, stage, reading, area)
        channels = network.values[reading.value].shape[2]
        held = areas[maker[reading.rows]].left if reading.rows >= 0 else 0
        planar = reading.rows >= 0 and rows[reading.rows].planar
        start = 0 if planar else (seen.left - held) * channels
        crops.append(TileColumns(start, seen.right - seen.left, seen.left - (area.left * stride - before)))
    to = 0
    if stage.made < 0:
        to = area.left * network.values[found.output].shape[2]
    elif rows[stage.made].planar:
        reader = next(n for n, one in enumerate(found.stages) if any(r.rows == stage.made for r in one.reads))
        over, left, _ = _across(network, found.stages[reader])
        to = area.left - (areas[reader].left * over - left)
    return TilePart(area.top, area.bottom, area.right - area.left, to, tuple(crops))


def _run(network: Network, found: Segment) -> Segment:
    """Return the segment with heights of rings and overlaps after a run through all tiles."""
    made = row_bytes(network, found.output)
    last = len(found.stages) - 1
    counts = [1] * len(found.rows)
    heights = [network.values[value].shape[0] for value in found.inputs]
    nearest = [
        Nearest(row_bytes(network, value), made, height, ())
        for value, height in zip(found.inputs, heights, strict=True)
    ]
    for number, tile in enumerate(found.tiles):
        run = RowPulling(found.stages, len(found.rows), found.inputs)
        run.next = [part.first for part in tile]
        run.ends = [part.until for part in tile]
        later = [_first_later(found, value, number + 1) for value in found.inputs]
        for y in range(tile[last].first, tile[last].until):
            run.pull(last, y)
            for value, overlap, then in zip(found.inputs, nearest, later, strict=True):
                overlap.while_made(y, min(then, run.needed(run.readers["whole", value])))
            run.next[last] = y + 1
        counts = [max(pair) for pair in zip(counts, run.counts, strict=True)]
    rows = tuple(replace(ring, count=count) for ring, count in zip(found.rows, counts, strict=True))
    return replace(found, rows=rows, overlaps=tuple(Overlap(overlap.shift) for overlap in nearest))


def _first_later(found: Segment, value: int, tile: int) -> int:
    """Return the first row of an input that tiles from a given one on read."""
    rows = [1 << 30]
    for parts in found.tiles[tile:]:
        for stage, part in zip(found.stages, parts, strict=True):
            for reading in stage.reads:
                if reading.rows < 0 and reading.value == value:
                    rows.append(max(0, part.first * reading.stride - reading.before))
    return min(rows)
