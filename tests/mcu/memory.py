"""A memory in which every byte knows which row of which value it holds: runs schedules without computing anything."""

from __future__ import annotations

import numpy as np

from netwright.mcu.network import Network
from netwright.mcu.schedule.schedule import Schedule, Whole
from netwright.mcu.schedule.stream import RowRead, Segment


class Memory:
    """Runs every step of a schedule; a read that does not find what it should raises AssertionError."""

    def __init__(self, network: Network, plan: Schedule) -> None:
        self.network, self.plan = network, plan
        self.bytes = np.full(plan.arena_bytes, -1, np.int64)
        self.rows_read = 0

    def run(self) -> None:
        for value in self.network.inputs:
            self._write_whole(value)
        for step in self.plan.steps:
            if isinstance(step, Whole):
                layer = self.network.layers[step.layer]
                for value in layer.inputs:
                    self._check_whole(self.network.root(value))
                if step.scratch >= 0:
                    self.bytes[step.scratch : step.scratch + step.scratch_bytes] = -1
                    for value in layer.inputs:
                        self._check_whole(self.network.root(value))
                self._apart(layer.inputs, layer.output, step.over)
                self._write_whole(self.network.root(layer.output))
            else:
                _Streamed(self, step).pull_all()
        for value in self.network.outputs:
            self._check_whole(self.network.root(value))

    def _apart(self, inputs: tuple[int, ...], output: int, over: int) -> None:
        made = self.span(self.network.root(output))
        for value in map(self.network.root, inputs):
            given = self.span(value)
            assert value == over or given[1] <= made[0] or made[1] <= given[0]

    def span(self, value: int) -> tuple[int, int]:
        start = self.plan.offsets[value]
        return start, start + self.network.values[value].bytes

    def tags(self, value: int) -> np.ndarray:
        size = self.network.values[value].bytes
        height = self.network.values[value].shape[0]
        return value * 10_000 + np.arange(size) // (size // height)

    def _write_whole(self, value: int) -> None:
        start, end = self.span(value)
        self.bytes[start:end] = self.tags(value)

    def _check_whole(self, value: int) -> None:
        start, end = self.span(value)
        assert (self.bytes[start:end] == self.tags(value)).all(), f"value {value} is not whole"


class _Streamed:
    """Pulls the rows of one segment as its C does."""

    def __init__(self, memory: Memory, segment: Segment) -> None:
        self.memory, self.segment = memory, segment
        self.next = [0] * len(segment.stages)
        self.maker = {stage.made: place for place, stage in enumerate(segment.stages)}
        for rows, offset in zip(segment.rows, segment.offsets, strict=True):
            memory.bytes[offset : offset + rows.bytes] = -1

    def pull_all(self) -> None:
        last = len(self.segment.stages) - 1
        self._until(last, self.segment.stages[last].height)

    def _until(self, place: int, until: int) -> None:
        stage = self.segment.stages[place]
        while self.next[place] < until:
            y = self.next[place]
            for reading in stage.reads:
                if reading.rows >= 0:
                    end = y * reading.stride - reading.before + reading.reach + 1
                    self._until(self.maker[reading.rows], min(end, reading.height))
            for reading in stage.reads:
                self._read(reading, y)
            start, end = self._slot(self.segment.output, stage.made, y)
            value = self.segment.output if stage.made < 0 else self.segment.rows[stage.made].value
            self.memory.bytes[start:end] = value * 10_000 + y
            self.next[place] += 1

    def _read(self, reading: RowRead, y: int) -> None:
        for row in range(y * reading.stride - reading.before, y * reading.stride - reading.before + reading.reach + 1):
            if 0 <= row < reading.height:
                start, end = self._slot(reading.value, reading.rows, row)
                assert (self.memory.bytes[start:end] == reading.value * 10_000 + row).all()
                self.memory.rows_read += 1

    def _slot(self, value: int, rows: int, y: int) -> tuple[int, int]:
        if rows < 0:
            start, _ = self.memory.span(value)
            _, width, channels = self.memory.network.values[value].shape
            return start + y * width * channels, start + (y + 1) * width * channels
        ring = self.segment.rows[rows]
        start = self.segment.offsets[rows] + (y + ring.shift) % ring.count * ring.slot_bytes
        return start, start + ring.slot_bytes
