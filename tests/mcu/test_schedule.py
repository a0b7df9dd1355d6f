"""Plans keep what is alive, bounds hold, and real networks need what is written of them."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.graph.files.tflite import load_tflite
from netwright.graph.memory.lifetimes import Buffer
from netwright.graph.memory.plan import plan
from netwright.mcu.lower.lower import lower
from netwright.mcu.schedule.dataflow import network_flow
from netwright.mcu.schedule.partition import options
from netwright.mcu.schedule.place import ArenaBuffer, Overlap, place
from netwright.mcu.schedule.schedule import Whole, rough_instructions, schedule
from netwright.mcu.schedule.stream import Segment
from tests.mcu.memory import Memory
from tests.mcu.networks import Builder, random_network

MODELS = Path(os.environ.get("NETWRIGHT_DATA", "none")) / "models"


def buffers(draw: random.Random, count: int) -> list[ArenaBuffer]:
    starts = [draw.randrange(8) for _ in range(count)]
    return [ArenaBuffer(draw.randrange(1, 40) * 4, start, start + draw.randrange(4)) for start in starts]


@pytest.mark.parametrize("seed", range(30))
def test_without_overlaps_placements_are_those_of_the_exact_planner(seed: int) -> None:
    draw = random.Random(seed)
    given = buffers(draw, 9)
    exact = plan([Buffer(b.bytes, b.first, b.last, ()) for b in given], alignment=4)
    found = place(given, {})
    assert exact.lower_bound_bytes <= found.arena_bytes <= exact.arena_bytes * 1.05
    assert found.lower_bound_bytes <= exact.arena_bytes


@pytest.mark.parametrize("seed", range(60))
def test_placements_keep_blocks_apart_except_where_they_may_overlap(seed: int) -> None:
    draw = random.Random(seed)
    given = buffers(draw, 10)
    allowed = {}
    for i, a in enumerate(given):
        for j, b in enumerate(given):
            if i != j and a.last == b.first and a.first < b.first and draw.random() < 0.7:
                allowed[i, j] = Overlap(draw.choice([None, draw.randrange(-20, 20) * 4]), draw.random() < 0.5)
    found = place(given, allowed)
    assert found.lower_bound_bytes <= found.arena_bytes
    for i, a in enumerate(given):
        assert found.offsets[i] % 4 == 0
        assert found.offsets[i] + a.bytes <= found.arena_bytes
        for j, b in enumerate(given):
            if i == j or a.first > b.last or b.first > a.last:
                continue
            apart = found.offsets[i] + a.bytes <= found.offsets[j] or found.offsets[j] + b.bytes <= found.offsets[i]
            ways = [(allowed.get((i, j)), found.offsets[j] - found.offsets[i])]
            ways.append((allowed.get((j, i)), found.offsets[i] - found.offsets[j]))
            over = any(
                how is not None and ((how.same and d == 0) or (how.shift is not None and d <= how.shift))
                for how, d in ways
            )
            assert apart or over


@pytest.mark.parametrize(
    ("overlap", "bound"),
    [
        (None, 32),
        (Overlap(same=True), 16),
        (Overlap(shift=0), 16),
        (Overlap(shift=-8), 24),
        (Overlap(shift=-9), 28),  # rounded away from what is still read
        (Overlap(shift=8), 16),
    ],
)
def test_bounds_of_two_buffers_of_which_one_is_made_of_the_other(overlap: Overlap | None, bound: int) -> None:
    found = place([ArenaBuffer(16, 0, 1), ArenaBuffer(16, 1, 2)], {} if overlap is None else {(0, 1): overlap})
    assert (found.lower_bound_bytes, found.arena_bytes) == (bound, bound)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("mode", ["layers", "stream", "auto"])
def test_every_byte_read_is_the_byte_written(seed: int, mode: str) -> None:
    network = random_network(seed)
    found = schedule(network, mode=mode)
    assert found.lower_bound_bytes <= found.arena_bytes
    Memory(network, found).run()
    if mode == "layers":
        assert all(isinstance(step, Whole) for step in found.steps)
        assert found.arena_bytes >= found.order_bound_bytes


@pytest.mark.parametrize("mode", ["layers", "stream", "auto"])
def test_outputs_before_the_end_are_whole_at_the_end(mode: str) -> None:
    """Each value between two layers that could overwrite it, or come to lie where it was."""
    build = Builder((12, 12, 8))
    build.conv(8, 3)
    build.depthwise(3)
    build.lookup()
    build.conv(16)
    build.depthwise(3)
    network = build.network()
    for value in range(1, len(network.values) - 1):
        several = replace(network, outputs=(*network.outputs, value))
        Memory(several, schedule(several, mode=mode)).run()


def test_streaming_needs_least_and_a_limit_is_kept_where_it_can_be() -> None:
    build = Builder((24, 24, 3))
    build.conv(8, 3, 2)
    build.bottleneck(8, 48, 3)
    build.bottleneck(12, 48, 5, 2)
    network = build.network()
    whole, streamed = schedule(network, mode="layers"), schedule(network, mode="stream")
    assert streamed.arena_bytes < whole.arena_bytes * 0.75
    for limit in range(streamed.arena_bytes, whole.arena_bytes, 1000):
        assert schedule(network, sram_bytes=limit).arena_bytes <= limit
    assert schedule(network, sram_bytes=1).arena_bytes <= streamed.arena_bytes  # in patches, if nothing else fits


def test_the_limit_buys_instructions() -> None:
    build = Builder((24, 24, 3))
    build.conv(8, 3, 2)
    build.bottleneck(12, 48, 5, 2)

    def rows_are_dear(_network: object, _layer: object, rows: int) -> float:
        return 2.0 if rows else 1.0

    network = build.network()
    tight = schedule(network, sram_bytes=1, cost=rows_are_dear)
    loose = schedule(network, sram_bytes=1 << 20, cost=rows_are_dear)
    assert any(isinstance(step, Segment) for step in tight.steps)
    assert all(isinstance(step, Whole) for step in loose.steps)
    assert loose.instructions < tight.instructions


@pytest.mark.parametrize(("dearer", "streams"), [(1.04, True), (2.0, False)])
def test_without_a_limit_memory_is_bought_with_few_instructions_only(dearer: float, streams: bool) -> None:
    build = Builder((24, 24, 3))
    build.conv(8, 3, 2)
    build.bottleneck(12, 48, 5, 2)

    def rows_are_dearer(_network: object, _layer: object, rows: int) -> float:
        return dearer if rows else 1.0

    found = schedule(build.network(), cost=rows_are_dearer)
    assert any(isinstance(step, Segment) for step in found.steps) == streams


def test_a_segment_needs_its_input_its_output_and_its_rings() -> None:
    build = Builder((20, 20, 8))
    build.conv(16)
    build.conv(8, 3)
    network = build.network()
    found = options(network, network_flow(network), range(2), rough_instructions)
    (both,) = (one for one in found if one.last - one.first == 2)
    segment = both.segment
    assert segment is not None
    sizes = [network.values[value].bytes for value in (*segment.inputs, segment.output)]
    kept = [ArenaBuffer(size, 0, 0) for size in (*sizes, *(ring.bytes for ring in segment.rows))]
    assert both.bytes == place(kept, {(0, 1): segment.overlaps[0]}, alignment=1).lower_bound_bytes


def test_depthwise_in_place_halves_the_arena() -> None:
    build = Builder((16, 16, 8))
    build.depthwise(3, 2)
    found = schedule(build.network(), mode="layers")
    assert found.arena_bytes == 16 * 16 * 8
    step = found.steps[0]
    assert isinstance(step, Whole)
    assert step.over == 0


def test_scratch_is_planned_without_being_asked_for() -> None:
    network = random_network(3)
    found = schedule(network, mode="layers")
    needs = {step.layer: step.scratch_bytes for step in found.steps if isinstance(step, Whole)}
    assert needs == {index: layer.scratch_bytes(network) for index, layer in enumerate(network.layers)}
    assert max(needs.values()) > 0


def test_scratch_that_just_fills_the_arena_lies_in_it() -> None:
    """A depthwise convolution in place with 80 bytes of lines, before a layer that takes 80 bytes more than it."""
    build = Builder((1, 10, 8))
    build.depthwise(5)
    build.conv(8)
    network = build.network()
    first, _ = schedule(network, mode="layers").steps
    assert isinstance(first, Whole)
    assert network.layers[0].scratch_bytes(network) == network.values[2].bytes == first.scratch_bytes
    assert first.scratch >= 0


def test_a_misspelt_mode_is_named() -> None:
    with pytest.raises(NetwrightError, match="stream"):
        schedule(random_network(0), mode="streams")


ARENAS = {  # layer by layer, row by row at most
    "mcunet-vww-int8": (89_600, 32_000),
    "mlperf-resnet8-cifar10-int8": (49_152, 20_000),
    "mlperf-vww96-int8": (55_296, 32_000),
    "tflm-person-detect-int8": (55_296, 20_000),
}


@pytest.mark.skipif(not MODELS.is_dir(), reason="NETWRIGHT_DATA has no folder models")
@pytest.mark.parametrize("name", ARENAS)
def test_real_networks_need_their_bounds(name: str) -> None:
    network = lower(load_tflite(MODELS / f"{name}.tflite"))
    layers, streamed = ARENAS[name]
    found = schedule(network, mode="layers")
    assert found.arena_bytes == found.lower_bound_bytes == found.order_bound_bytes == layers
    assert max(step.scratch_bytes for step in found.steps if isinstance(step, Whole)) <= 512
    rows = schedule(network, mode="stream")
    assert rows.arena_bytes <= streamed
    Memory(network, rows).run()
    assert np.isfinite(rows.instructions)
