"""C of a streaming segment, in terms of the row calls of the layers' kernels.

Every stage becomes a function that makes rows up to a given one, having first those rows made that it reads and that
are not there yet: calls go from a stage to earlier ones only. `next` holds, by stage, the row to be made next. Where a
segment runs in tiles, `tile` holds by stage what differs between them, in bytes and columns (`_FIELDS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netwright.mcu.layer import Network
from netwright.mcu.schedule.stream import RowRead, RowRing, RowStage, Segment, TilePart, row_bytes

# First row, columns made, where they begin in their slot; then for two inputs: where the columns read begin, how many,
# padding.
_FIELDS = 9


@dataclass(frozen=True)
class SegmentCode:
    """`text`: C functions, which need the layers' constants before them; `call`: the statement that runs the segment.

    `kernels`: the headers it needs besides those of its layers ("rows": nw_rows.h).
    """

    text: str
    call: str
    kernels: frozenset[str]


def segment_code(
    network: Network, segment: Segment, offsets: Mapping[int, int], names: Mapping[int, str], name: str, arena: str
) -> SegmentCode:
    """Return the C of a segment.

    `offsets`: `Schedule.offsets`. `names`: by layer, the name that its constants were given
    (`data(network, layer, name)`). `name`: prefix for the functions made here. `arena`: C expression of the arena,
    `int8_t *`.
    """
    writer = _Writer(network, segment, offsets, names, name)
    parts = [writer.table()] if segment.tiles else []
    parts += [writer.function(place) for place in range(len(segment.stages))]
    return SegmentCode("\n".join([*parts, writer.whole()]), f"{name}({arena});", frozenset({"rows"}))


class _Writer:
    """Writes the functions of one segment."""

    def __init__(
        self, network: Network, segment: Segment, offsets: Mapping[int, int], names: Mapping[int, str], name: str
    ) -> None:
        self.network, self.segment, self.offsets, self.names, self.name = network, segment, offsets, names, name
        self.maker = {stage.made: place for place, stage in enumerate(segment.stages)}
        self.tiled = bool(segment.tiles)

    def table(self) -> str:
        """Return the constants of all tiles: first and last row of the output, then those of every stage."""
        lines = []
        for tile in self.segment.tiles:
            stages = ", ".join("{" + ", ".join(map(str, _fields(part))) + "}" for part in tile)
            lines.append(f"  {{{stages}}}")
        count, stages = len(self.segment.tiles), len(self.segment.stages)
        ends = ", ".join(str(tile[-1].until) for tile in self.segment.tiles)
        body = ",\n".join(lines)
        return (
            f"static const int32_t {self.name}_tiles[{count}][{stages}][{_FIELDS}] = {{\n{body}}};\n"
            f"static const int32_t {self.name}_ends[{count}] = {{{ends}}};\n"
        )

    def whole(self) -> str:
        """Return the function that runs the segment: planar rings get their zero points, then all rows are pulled."""
        count = len(self.segment.stages)
        rings = zip(self.segment.rows, self.segment.offsets, strict=True)
        fills = [
            f"(void)memset({self._base(offset)}, {rows.zero_point % 256}, {rows.bytes});"
            for rows, offset in rings
            if rows.planar
        ]
        head = [f"static void {self.name}(int8_t *arena) {{", f"  int32_t next[{count}] = {{0}};"]
        if not self.tiled:
            call = f"{self.name}_{count - 1}(arena, next, {self.segment.stages[-1].height});"
            return "\n".join([*head, *(f"  {line}" for line in [*fills, call]), "}\n"])
        tile = f"{self.name}_tiles[i]"
        body = [
            *fills,
            f"for (int32_t s = 0; s < {count}; s++) next[s] = {tile}[s][0];",
            f"{self.name}_{count - 1}(arena, next, {tile}, {self.name}_ends[i]);",
        ]
        loop = f"  for (int32_t i = 0; i < {len(self.segment.tiles)}; i++) {{"
        return "\n".join([*head, loop, *(f"    {line}" for line in body), "  }", "}\n"])

    def function(self, place: int) -> str:
        """Return the function of one stage."""
        stage = self.segment.stages[place]
        body = [line for reading in stage.reads for line in self._pull(stage, reading)]
        body += self._planar(place, stage) if stage.planar else self._layer(place, stage)
        tile = f"const int32_t (*tile)[{_FIELDS}], " if self.tiled else ""
        lines = [
            f"static void {self.name}_{place}(int8_t *arena, int32_t *next, {tile}int32_t until) {{",
            f"  for (; next[{place}] < until; next[{place}]++) {{",
            f"    const int32_t y = next[{place}];",
            *(f"    {line}" for line in body),
            "  }",
            "}\n",
        ]
        return "\n".join(lines)

    def _pull(self, stage: RowStage, reading: RowRead) -> list[str]:
        if reading.rows < 0:
            return []
        until = _sum(_row(reading), reading.reach + 1)
        if (stage.height - 1) * reading.stride - reading.before + reading.reach + 1 > reading.height:
            until = f"nw_smaller({until}, {reading.height})"
        tile = "tile, " if self.tiled else ""
        return [f"{self.name}_{self.maker[reading.rows]}(arena, next, {tile}{until});"]

    def _planar(self, place: int, stage: RowStage) -> list[str]:
        """Lay one dense row into a planar ring."""
        source, ring = stage.reads[0], self.segment.rows[stage.made]
        channels = self.network.values[source.value].shape[2]
        from_, to = self._from(place, 0, "y"), self.to(place, stage)
        return [f"nw_planar_row({from_}, {to}, {self.width(place, stage)}, {channels}, {ring.stride});"]

    def _layer(self, place: int, stage: RowStage) -> list[str]:
        """Make one row of a layer."""
        return self.network.layers[stage.layer].row(self.network, self.names[stage.layer], _Place(self, place))

    def elements(self, place: int, stage: RowStage) -> str:
        """Return how many elements a row of a layer has."""
        width, channels = self.width(place, stage), self.network.values[self._made(stage)].shape[2]
        return f"{width} * {channels}" if self.tiled else str(int(width) * channels)

    def inputs(self, place: int, stage: RowStage) -> list[str]:
        """Return where row y of each input of a layer begins."""
        by_value = {reading.value: self._from(place, number, "y") for number, reading in enumerate(stage.reads)}
        return [by_value[self.network.root(value)] for value in self.network.layers[stage.layer].inputs]

    def neighbours(self, reading: RowRead) -> tuple[list[str], str, int]:
        """Return the rows under a window that follow one another: see `RowRing.shift`."""
        lines = [
            f"const int32_t top = nw_larger({_row(reading)}, 0);",
            f"const int32_t rows = nw_smaller({_sum(_row(reading), reading.reach + 1)}, {reading.height}) - top;",
        ]
        if reading.rows < 0:
            stride = row_bytes(self.network, reading.value)
            return lines, f"{self._base(self.offsets[reading.value])} + top * {stride}", stride
        ring = self.segment.rows[reading.rows]
        stride, base = ring.slot_bytes, self._base(self.segment.offsets[reading.rows])
        lines.append(f"const int32_t slot = ({_sum('top', ring.shift)}) % {ring.count};")
        return lines, f"{base} + (slot + rows > {ring.count} ? 0 : slot * {stride})", stride

    def window(self, place: int, reading: RowRead) -> list[str]:
        """Set `rows` to the rows under the window of row y."""
        count = reading.reach // reading.dilation + 1
        if reading.rows < 0:
            base, slots = self._base(self.offsets[reading.value]), reading.height
            slot = row_bytes(self.network, reading.value)
        else:
            ring = self.segment.rows[reading.rows]
            base, slots, slot = self._base(self.segment.offsets[reading.rows]), ring.count, ring.slot_bytes
        if self.tiled:
            base = f"{base} + {self.field(place, 3)}"
        window = f"{count}, {_row(reading)}, {reading.dilation}, {reading.height}"
        return [f"const int8_t *rows[{count}];", f"nw_rows(rows, {window}, {base}, {slots}, {slot});"]

    def width(self, place: int, stage: RowStage) -> str:
        """Return how many columns a stage makes."""
        return self.field(place, 1) if self.tiled else str(self.network.values[self._made(stage)].shape[1])

    def to(self, place: int, stage: RowStage) -> str:
        """Return where the row y that a stage makes begins."""
        slot = self._slot(self.segment.output, stage.made, "y")
        if self.tiled:
            return f"{slot} + {self.field(place, 2)}"
        ring = self.segment.rows[stage.made] if stage.made >= 0 else None
        return _sum(slot, ring.left) if ring is not None and ring.planar else slot

    def _from(self, place: int, number: int, row: str) -> str:
        """Return where a row of an input of a stage begins."""
        reading = self.segment.stages[place].reads[number]
        slot = self._slot(reading.value, reading.rows, row)
        return f"{slot} + {self.field(place, 3 + 3 * number)}" if self.tiled else slot

    def _slot(self, value: int, rows: int, row: str) -> str:
        """Return the address of a row's slot, of a value that exists as a whole (`rows` -1) or in a ring."""
        if rows < 0:
            return f"{self._base(self.offsets[value])} + {row} * {row_bytes(self.network, value)}"
        ring: RowRing = self.segment.rows[rows]
        base = self._base(self.segment.offsets[rows])
        place = f"({_sum(row, ring.shift)})" if ring.shift else row
        return base if ring.count == 1 else f"{base} + {place} % {ring.count} * {ring.slot_bytes}"

    def _made(self, stage: RowStage) -> int:
        """Return the value whose rows a stage makes."""
        layer = self.network.layers[stage.layer]
        return layer.inputs[0] if stage.planar else layer.output

    def _base(self, offset: int) -> str:
        return f"arena + {offset}" if offset else "arena"

    def field(self, place: int, field: int) -> str:
        return f"tile[{place}][{field}]"


class _Place:
    """What a layer asks to make one row (`RowPlace`), of the stage number `place`."""

    def __init__(self, writer: _Writer, place: int) -> None:
        self._writer, self._number = writer, place
        self._stage = writer.segment.stages[place]
        self.out = writer.to(place, self._stage)
        self.width = writer.width(place, self._stage)
        self.tiled = writer.tiled

    @property
    def planar(self) -> int:
        made = self._stage.made
        ring = self._writer.segment.rows[made] if made >= 0 else None
        return ring.stride if ring is not None and ring.planar else 0

    @property
    def line(self) -> int:
        return self._writer.segment.rows[self._stage.reads[0].rows].stride

    @property
    def read_width(self) -> str:
        return self._writer.field(self._number, 4)

    @property
    def read_padding(self) -> str:
        return self._writer.field(self._number, 5)

    def inputs(self) -> list[str]:
        return self._writer.inputs(self._number, self._stage)

    def elements(self) -> str:
        return self._writer.elements(self._number, self._stage)

    def window(self) -> list[str]:
        return self._writer.window(self._number, self._stage.reads[0])

    def neighbours(self) -> tuple[list[str], str, int]:
        return self._writer.neighbours(self._stage.reads[0])


def _fields(part: TilePart) -> list[int]:
    """Return what `_FIELDS` counts."""
    values = [part.first, part.width, part.to]
    for crop in part.crops:
        values += [crop.start, crop.width, crop.before]
    return values + [0] * (_FIELDS - len(values))


def _row(reading: RowRead) -> str:
    """Return the first row under the window of row y."""
    scaled = "y" if reading.stride == 1 else f"y * {reading.stride}"
    return _sum(scaled, -reading.before)


def _sum(expression: str, number: int) -> str:
    if number == 0:
        return expression
    return f"{expression} + {number}" if number > 0 else f"{expression} - {-number}"
