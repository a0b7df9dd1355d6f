"""C of a streaming segment, in terms of the row calls of the layers' kernels.

Every stage becomes a function that makes rows up to a given one, having first those rows made that it reads and that
are not there yet: calls go from a stage to earlier ones only. `next` holds, by stage, the row to be made next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netwright.mcu import emit_conv, emit_simple
from netwright.mcu.network import Add, Conv, Depthwise, Lookup, Multiply, Network
from netwright.mcu.stream import Read, Rows, Segment, Stage


@dataclass(frozen=True)
class SegmentCode:
    """`text`: C functions to stand after the layers' constants; `call`: the statement that runs the segment; `kernels`: the
    headers it needs besides those of its layers ("rows": nw_rows.h).
    """

    text: str
    call: str
    kernels: frozenset[str]


def segment_code(
    network: Network, segment: Segment, offsets: Mapping[int, int], names: Mapping[int, str], name: str, arena: str
) -> SegmentCode:
    """Return the C of a segment.

    `offsets`: `Schedule.offsets`. `names`: by layer, the name that its constants were given (`data(network, layer, name)`).
    `name`: prefix for the functions made here. `arena`: C expression of the arena, `int8_t *`.
    """
    writer = _Writer(network, segment, offsets, names, name)
    stages = [writer.function(place) for place in range(len(segment.stages))]
    return SegmentCode("\n".join([*stages, writer.whole()]), f"{name}({arena});", frozenset({"rows"}))


class _Writer:
    """Writes the functions of one segment."""

    def __init__(
        self, network: Network, segment: Segment, offsets: Mapping[int, int], names: Mapping[int, str], name: str
    ) -> None:
        self.network, self.segment, self.offsets, self.names, self.name = network, segment, offsets, names, name
        self.maker = {stage.made: place for place, stage in enumerate(segment.stages)}

    def whole(self) -> str:
        """Return the function that runs the segment: planar rings get their zero points, then all rows are pulled."""
        last = len(self.segment.stages) - 1
        rings = zip(self.segment.rows, self.segment.offsets, strict=True)
        fills = [
            f"  (void)memset(arena + {offset}, {rows.zero_point % 256}, {rows.bytes});"
            for rows, offset in rings
            if rows.planar
        ]
        lines = [
            f"static void {self.name}(int8_t *arena) {{",
            f"  int32_t next[{last + 1}] = {{0}};",
            *fills,
            f"  {self.name}_{last}(arena, next, {self.segment.stages[last].height});",
            "}\n",
        ]
        return "\n".join(lines)

    def function(self, place: int) -> str:
        """Return the function of one stage."""
        stage = self.segment.stages[place]
        body = [line for reading in stage.reads for line in self._pull(stage, reading)]
        body += self._planar(stage) if stage.planar else self._layer(stage)
        lines = [
            f"static void {self.name}_{place}(int8_t *arena, int32_t *next, int32_t until) {{",
            f"  for (; next[{place}] < until; next[{place}]++) {{",
            f"    const int32_t y = next[{place}];",
            *(f"    {line}" for line in body),
            "  }",
            "}\n",
        ]
        return "\n".join(lines)

    def _pull(self, stage: Stage, reading: Read) -> list[str]:
        if reading.rows < 0:
            return []
        until = _sum(_row(reading), reading.reach + 1)
        if reading.stride > 1 or reading.reach != reading.before or reading.reach:
            until = f"nw_smaller({until}, {reading.height})"
        return [f"{self.name}_{self.maker[reading.rows]}(arena, next, {until});"]

    def _planar(self, stage: Stage) -> list[str]:
        """Lay one dense row into a planar ring."""
        source, ring = stage.reads[0], self.segment.rows[stage.made]
        _, width, channels = self.network.values[source.value].shape
        from_, to = self._at(source.value, source.rows, "y"), _sum(self._slot(stage.made, "y"), ring.left)
        return [f"nw_planar_row({from_}, {to}, {width}, {channels}, {ring.stride});"]

    def _layer(self, stage: Stage) -> list[str]:
        """Make one row of a layer."""
        layer, name = self.network.layers[stage.layer], self.names[stage.layer]
        width = self.network.values[layer.output].shape[1]
        planar = self.segment.rows[stage.made] if stage.made >= 0 and self.segment.rows[stage.made].planar else None
        out = self._at(self.segment.output, stage.made, "y")
        if isinstance(layer, Add | Multiply | Lookup):
            by_value = {reading.value: self._at(reading.value, reading.rows, "y") for reading in stage.reads}
            inputs = [by_value[self.network.root(value)] for value in layer.inputs]
            count = width * self.network.values[layer.output].shape[2]
            return [emit_simple.run_call(layer, self.network, name, inputs, out, str(count))]
        reading = stage.reads[0]
        if isinstance(layer, Depthwise):
            stride = str(self.segment.rows[reading.rows].stride)
            call = emit_conv.depthwise_row_call(layer, self.network, name, "rows", stride, out)
            return [*self._rows(reading), call]
        assert isinstance(layer, Conv)  # nothing else is streamable
        to = _sum(out, planar.left) if planar else out
        if layer.pointwise:
            row = self._at(reading.value, reading.rows, "y")
            if planar:
                return [
                    emit_conv.pointwise_planar_call(layer, self.network, name, row, to, str(width), str(planar.stride))
                ]
            return [emit_conv.pointwise_call(layer, self.network, name, row, out, str(width))]
        if planar:
            call = emit_conv.conv_row_planar_call(layer, self.network, name, "rows", to, str(planar.stride))
        else:
            call = emit_conv.conv_row_call(layer, self.network, name, "rows", out)
        return [*self._rows(reading), call]

    def _rows(self, reading: Read) -> list[str]:
        """Set `rows` to the rows under the window of row y."""
        count = reading.reach // reading.dilation + 1
        if reading.rows < 0:
            base, slots, slot = self._base(self.offsets[reading.value]), reading.height, self._row_bytes(reading.value)
        else:
            ring = self.segment.rows[reading.rows]
            base, slots, slot = self._base(self.segment.offsets[reading.rows]), ring.count, ring.slot_bytes
        window = f"{count}, {_row(reading)}, {reading.dilation}, {reading.height}"
        return [f"const int8_t *rows[{count}];", f"nw_rows(rows, {window}, {base}, {slots}, {slot});"]

    def _at(self, value: int, rows: int, row: str) -> str:
        """Return where a row lies, of a value that exists as a whole (`rows` -1) or in a ring."""
        if rows < 0:
            return f"{self._base(self.offsets[value])} + {row} * {self._row_bytes(value)}"
        return self._slot(rows, row)

    def _slot(self, rows: int, row: str) -> str:
        ring: Rows = self.segment.rows[rows]
        base = self._base(self.segment.offsets[rows])
        return base if ring.count == 1 else f"{base} + {row} % {ring.count} * {ring.slot_bytes}"

    def _base(self, offset: int) -> str:
        return f"arena + {offset}" if offset else "arena"

    def _row_bytes(self, value: int) -> int:
        _, width, channels = self.network.values[value].shape
        return width * channels


def _row(reading: Read) -> str:
    """Return the first row under the window of row y."""
    scaled = "y" if reading.stride == 1 else f"y * {reading.stride}"
    return _sum(scaled, -reading.before)


def _sum(expression: str, number: int) -> str:
    if number == 0:
        return expression
    return f"{expression} + {number}" if number > 0 else f"{expression} - {-number}"
