"""Streaming: several layers computed row by row, so that the values between them never exist as a whole.

Rows are pulled: to make a row of its result, a layer first has the rows made that its window reaches and that are not
there yet. Every row is made once. How many rows of each value must be kept, and how closely the result may follow the
rows of an input that are used up, is found by running through all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from netwright.mcu.layer import ONE_PIXEL, Layer, Network, PlanarLine, Window
from netwright.mcu.schedule.dataflow import read
from netwright.mcu.schedule.place import Overlap


@dataclass(frozen=True, slots=True)
class RowRing:
    """A ring buffer of the rows of `value` that are still needed: row y in slot y + `shift` modulo `count`.

    `planar` False: a slot is one dense row, [x][channel]. True: a slot is [channel][x], `stride` bytes a channel, with
    `left` bytes of the zero point to the left of a row and as many as fill it up to the right.
    """

    value: int
    planar: bool
    count: int
    slot_bytes: int
    stride: int = 0
    left: int = 0
    zero_point: int = 0
    shift: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of all slots."""
        return self.count * self.slot_bytes


@dataclass(frozen=True, slots=True)
class RowRead:
    """What row y of a stage reads of a value: `reach` + 1 rows from y x stride - before on, every `dilation`-th.

    `rows`: index in `Segment.rows`, -1 where the value exists as a whole. `height`: rows of the value.
    """

    value: int
    rows: int
    stride: int
    before: int
    reach: int
    dilation: int
    height: int


@dataclass(frozen=True, slots=True)
class RowStage:
    """What makes rows: a layer, or, where `planar`, what copies rows into the planar ring of a depthwise layer.

    `made`: index in `Segment.rows`; -1 for the output, which exists as a whole. `height`: rows that it makes.
    """

    layer: int
    planar: bool
    reads: tuple[RowRead, ...]
    made: int
    height: int


@dataclass(frozen=True, slots=True)
class TileColumns:
    """The columns of a value that a stage reads in one tile: `width` of them, `start` bytes into the row's slot.

    `before`: columns of padding to the left of them, under the window of the first column that is made.
    """

    start: int
    width: int
    before: int


@dataclass(frozen=True, slots=True)
class TilePart:
    """What a stage makes in one tile: rows `first` to `until` - 1, `width` columns, `to` bytes into the row's slot."""

    first: int
    until: int
    width: int
    to: int
    crops: tuple[TileColumns, ...]


@dataclass(frozen=True)
class Segment:
    """Layers (indices in `Network.layers`) computed by pulling the rows of `output`, which the last stage makes.

    `inputs`, `output`: values (roots) that exist as a whole, the inputs before the segment. `offsets`: of each entry of
    `rows` in the arena. `overlaps`: by input, how the output may overlap it where nothing else needs that input.
    `tiles`: one part a stage for each tile of the output, one tile after another; none where all columns are made at
    once. `grid`: how many tiles the output has down and across.
    """

    layers: tuple[int, ...]
    inputs: tuple[int, ...]
    output: int
    stages: tuple[RowStage, ...]
    rows: tuple[RowRing, ...]
    overlaps: tuple[Overlap, ...]
    offsets: tuple[int, ...] = ()
    tiles: tuple[tuple[TilePart, ...], ...] = ()
    grid: tuple[int, int] = (1, 1)

    @property
    def rows_bytes(self) -> int:
        """Bytes of all rings."""
        return sum(rows.bytes for rows in self.rows)

    @property
    def how(self) -> str:
        """Return in words how the segment runs."""
        return "row by row" if not self.tiles else f"patches {self.grid[0]}x{self.grid[1]}, row by row"

    def rows_made(self, network: Network, place: int) -> float:
        """Return how many rows of its layer a stage makes, parts of rows counted too: above its height in patches."""
        stage = self.stages[place]
        width = network.values[network.layers[stage.layer].output].shape[1]
        parts = [tile[place] for tile in self.tiles]
        return sum((part.until - part.first) * part.width for part in parts) / width if parts else float(stage.height)


def streamable(network: Network, layer: Layer) -> bool:
    """Say whether rows of a layer's result can be made from rows of its inputs."""
    made = network.values[layer.output]
    values = [network.values[index] for index in layer.inputs]
    if any(len(v.shape) != 3 or v.dtype != "int8" or v.shape[0] > TALLEST for v in (made, *values)):
        return False
    if any(network.values[network.root(index)].shape != network.values[index].shape for index in layer.inputs):
        return False
    return layer.streams(network)


TALLEST = 2048  # rows of values that are streamed: running through more takes too long
Users = Mapping[int, frozenset[int]]


def users_of(network: Network) -> Users:
    """Return by value (root) the layers that read it, and -1 where it is an output of the network."""
    users: dict[int, set[int]] = {network.root(index): {-1} for index in network.outputs}
    for place, layer in enumerate(network.layers):
        for value in read(network, layer):
            users.setdefault(value, set()).add(place)
    return {value: frozenset(places) for value, places in users.items()}


def segment(network: Network, layers: Sequence[int], users: Users | None = None) -> Segment | None:
    """Return how to stream these layers, in an order in which they may run; None where they make several values for
    others.

    Offsets are still to be set. Every layer must be `streamable`. `users`: `users_of(network)`, where it is known
    already.
    """
    found = outline(network, layers, users)
    return None if found is None else simulated(network, found)


def outline(network: Network, layers: Sequence[int], users: Users | None = None) -> Segment | None:
    """Return what `segment` does before rows are run through: with the least that rings and overlaps could come to."""
    users = users or users_of(network)
    made = {network.root(network.layers[index].output): index for index in layers}
    inputs: list[int] = []
    inside: dict[int, list[int]] = {value: [] for value in made}
    for index in layers:
        for value in read(network, network.layers[index]):
            (inside[value].append(index) if value in made else inputs.append(value))
    outer = [value for value in made if not users.get(value, frozenset()) <= set(layers)]
    if len(outer) != 1 or outer[0] != network.root(network.layers[layers[-1]].output) or inside[outer[0]]:
        return None
    plan = _Builder(network, made, inside, outer[0])
    for index in layers:
        plan.add(index)
    counts = [1] * len(plan.rows)
    for stage in plan.stages:
        for reading in stage.reads:
            if reading.rows >= 0:
                at_once = min(reading.reach + 1, reading.height) if stage.height > 1 else 1
                counts[reading.rows] = max(counts[reading.rows], at_once)
    rows = tuple(replace(ring, count=count) for ring, count in zip(plan.rows, counts, strict=True))
    given = tuple(dict.fromkeys(inputs))
    most = tuple(Overlap(network.values[value].bytes, same=True) for value in given)
    return Segment(tuple(layers), given, outer[0], tuple(plan.stages), rows, most)


class _Builder:
    """Collects stages and the rings between them, whose heights stay 0 until they are simulated."""

    def __init__(self, network: Network, made: dict[int, int], inside: dict[int, list[int]], output: int) -> None:
        self.network, self.made, self.inside, self.output = network, made, inside, output
        self.stages: list[RowStage] = []
        self.rows: list[RowRing] = []
        self.dense: dict[int, int] = {}  # value -> index of its dense ring
        self.direct: dict[int, int] = {}  # value -> index of the planar ring into which its maker writes

    def add(self, index: int) -> None:
        """Append the stages of a layer."""
        layer = self.network.layers[index]
        reads = []
        for number in dict.fromkeys(layer.inputs):
            value = self.network.root(number)
            line = layer.planar_line(self.network)
            if line is not None:
                reads.append(self._planar(index, layer, line, value))
            else:
                reads.append(self._read(value, layer.row_window, self.dense.get(value, -1)))
        value = self.network.root(layer.output)
        self.stages.append(RowStage(index, False, tuple(reads), self._room(value, layer), self._shape(value)[0]))

    def _shape(self, value: int) -> tuple[int, ...]:
        return self.network.values[value].shape

    def _read(self, value: int, window: Window, rows: int) -> RowRead:
        reach, dilation = (window.kernel[0] - 1) * window.dilation[0], window.dilation[0]
        return RowRead(value, rows, window.stride[0], window.padding[0], reach, dilation, self._shape(value)[0])

    def _planar(self, index: int, layer: Layer, line: PlanarLine, value: int) -> RowRead:
        """Return what a layer reads that works by channels: its planar ring, filled by its maker or by another stage."""
        ring = self.direct.get(value)
        if ring is None:
            ring = len(self.rows)
            self.rows.append(_planar_ring(self.network, value, line))
            source = self._read(value, ONE_PIXEL, self.dense.get(value, -1))
            self.stages.append(RowStage(index, True, (source,), ring, source.height))
        return self._read(value, layer.row_window, ring)

    def _room(self, value: int, layer: Layer) -> int:
        if value == self.output:
            return -1
        users = [self.network.layers[index] for index in self.inside[value]]
        only = users[0] if len(users) == 1 else None
        line = only.planar_line(self.network) if only is not None and layer.writes_planar else None
        if line is not None:
            self.rows.append(_planar_ring(self.network, value, line))
            self.direct[value] = len(self.rows) - 1
        else:
            _, width, channels = self._shape(value)
            self.rows.append(RowRing(value, False, 0, -(-width * channels // 4) * 4))
            self.dense[value] = len(self.rows) - 1
        return len(self.rows) - 1


def _planar_ring(network: Network, value: int, line: PlanarLine) -> RowRing:
    """Return the planar ring of a value, its height still to be found."""
    channels = network.values[value].shape[2]
    return RowRing(value, True, 0, line.bytes * channels, line.bytes, line.left, line.zero_point)


def simulated(network: Network, found: Segment) -> Segment | None:
    """Return an outline with the heights of its rings and the overlaps of its output, after a run through all rows.

    None where rows that a pool reads would not be adjacent.
    """
    run = RowPulling(found.stages, len(found.rows), found.inputs)
    made = row_bytes(network, found.output)
    last = len(found.stages) - 1
    overlaps = [
        Nearest(row_bytes(network, value), made, network.values[value].shape[0], run.readers[("whole", value)])
        for value in found.inputs
    ]
    for y in range(found.stages[last].height):
        run.pull(last, y)
        for overlap in overlaps:
            overlap.while_made(y, run.needed(overlap.readers))
        run.next[last] = y + 1
        for overlap in overlaps:
            overlap.once_made(y, run.needed(overlap.readers))
    rows = [replace(ring, count=count) for ring, count in zip(found.rows, run.counts, strict=True)]
    for stage in found.stages:
        if network.layers[stage.layer].rows_adjacent and stage.reads[0].rows >= 0:
            reading = stage.reads[0]
            pooled = _side_by_side(rows[reading.rows], stage, reading)
            if pooled is None or len(run.readers["ring", reading.rows]) > 1:
                return None
            rows[reading.rows] = pooled
    final = network.layers[found.layers[-1]]
    ends = tuple(
        overlap.result(_in_step(network, final, value, found.output))
        for value, overlap in zip(found.inputs, overlaps, strict=True)
    )
    return replace(found, rows=tuple(rows), overlaps=ends)


def _side_by_side(ring: RowRing, stage: RowStage, reading: RowRead) -> RowRing | None:
    """Return a ring in which the rows under every window of a pool follow one another, or are all that it holds.

    Pools take adjacent rows, in any order.
    """
    windows = set()
    for y in range(stage.height):
        top = y * reading.stride - reading.before
        windows.add((max(0, top), min(reading.height, top + reading.reach + 1)))
    for count in range(ring.count, ring.count + 3):
        for shift in range(count):
            if all(end - top == count or (top + shift) % count + end - top <= count for top, end in windows):
                return replace(ring, count=count, shift=shift)
    return None


class Nearest:
    """How closely the rows of a result may follow those of an input, `given` and `made` bytes a row."""

    def __init__(self, given: int, made: int, height: int, readers: Sequence[tuple[int, RowRead]]) -> None:
        self.given, self.made, self.height, self.readers = given, made, height, readers
        self.shift = given * height  # nothing of the input is needed any more: anywhere
        self.same = True

    def while_made(self, y: int, needed: int) -> None:
        """Row y of the result must end before row `needed` of the input, which somebody reads now or later."""
        if needed < self.height:
            self.shift = min(self.shift, needed * self.given - (y + 1) * self.made)

    def once_made(self, y: int, needed: int) -> None:
        """Where the result begins at the input's place, row y has replaced row y, which nobody may need again."""
        self.same = self.same and needed > min(y, self.height - 1)

    def result(self, in_step: bool) -> Overlap:
        """Return the overlap; `in_step`: the result's rows are made element by element from the input's."""
        return Overlap(self.shift, self.same and in_step)


def row_bytes(network: Network, value: int) -> int:
    """Return the bytes of a row of a value."""
    _, width, channels = network.values[value].shape
    return width * channels


def _in_step(network: Network, last: Layer, value: int, output: int) -> bool:
    """Say whether the last layer works elementwise on this input, so that a row may replace the row that it reads."""
    return (
        last.elementwise
        and value in read(network, last)
        and network.values[value].shape == network.values[output].shape
    )


class RowPulling:
    """The state of all stages while rows are pulled: the row each makes next."""

    def __init__(self, stages: Sequence[RowStage], rings: int, inputs: Sequence[int]) -> None:
        self.stages = stages
        self.next = [0] * len(stages)
        self.ends = [stage.height for stage in stages]
        self.counts = [1] * rings
        self.readers: dict[tuple[str, int], list[tuple[int, RowRead]]] = {("whole", value): [] for value in inputs}
        self.maker = {stage.made: place for place, stage in enumerate(stages)}
        for place, stage in enumerate(stages):
            for reading in stage.reads:
                key = ("whole", reading.value) if reading.rows < 0 else ("ring", reading.rows)
                self.readers.setdefault(key, []).append((place, reading))

    def needed(self, readers: Sequence[tuple[int, RowRead]]) -> int:
        """Return the first row that some reader is still to read, the height where there is none."""
        first = 1 << 30
        for place, reading in readers:
            y = self.next[place]
            if y < self.ends[place]:
                first = min(first, max(0, y * reading.stride - reading.before))
        return first

    def pull(self, place: int, y: int) -> None:
        """Have made what row y of a stage reads."""
        for reading in self.stages[place].reads:
            if reading.rows >= 0:
                source = self.maker[reading.rows]
                until = min(reading.height, y * reading.stride - reading.before + reading.reach + 1)
                while self.next[source] < until:
                    row = self.next[source]
                    self.pull(source, row)
                    ring = reading.rows
                    held = row - self.needed(self.readers[("ring", ring)]) + 1
                    self.counts[ring] = max(self.counts[ring], held)
                    self.next[source] = row + 1
