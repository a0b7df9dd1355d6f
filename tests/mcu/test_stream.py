"""Segments that run row by row: their C equals that of whole tensors, rings are no higher than they must be."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netwright.mcu.emit.emit import emit
from netwright.mcu.network import Network
from netwright.mcu.run.host import build_host
from netwright.mcu.schedule.place import ArenaBuffer, place
from netwright.mcu.schedule.schedule import Schedule, schedule
from netwright.mcu.schedule.stream import Segment, segment
from tests.mcu.memory import Memory
from tests.mcu.networks import Builder, random_network
from tests.mcu.toy import compiled_with


def run(network: Network, plan: Schedule, folder: Path, inputs: np.ndarray, *, sanitize: bool = False) -> np.ndarray:
    emit(network, plan).write(folder)
    return build_host(folder, sanitize=sanitize, optimize="-O1").run(inputs)


def arranged(network: Network, found: Segment) -> Schedule:
    """Return a plan of one segment alone, its input and output apart."""
    values = [*found.inputs, found.output]
    sizes = [network.values[value].bytes for value in values] + [rows.bytes for rows in found.rows]
    where = place([ArenaBuffer(size, 0, 0) for size in sizes], {})
    offsets = dict(zip(values, where.offsets, strict=False))
    step = replace(found, offsets=where.offsets[len(values) :])
    return Schedule("stream", (step,), offsets, where.arena_bytes, 0, 0, "", (where.arena_bytes,))


@compiled_with("gcc")
@pytest.mark.parametrize("seed", range(6))
def test_c_row_by_row_equals_c_layer_by_layer(seed: int, tmp_path: Path) -> None:
    network = random_network(seed)
    rng = np.random.default_rng(seed)
    inputs = rng.integers(-128, 128, (2, network.values[0].bytes)).astype(np.int8)
    expected = run(network, schedule(network, mode="layers"), tmp_path / "layers", inputs)
    streamed = schedule(network, mode="stream")
    assert np.array_equal(run(network, streamed, tmp_path / "rows", inputs, sanitize=seed == 1), expected)
    assert len(np.unique(expected)) > 3


@compiled_with("gcc")
@pytest.mark.parametrize("seed", range(10, 12))
def test_c_of_a_whole_network_as_one_segment(seed: int, tmp_path: Path) -> None:
    network = random_network(seed)
    found = segment(network, range(len(network.layers)))
    assert found is not None
    inputs = np.random.default_rng(seed).integers(-128, 128, (2, network.values[0].bytes)).astype(np.int8)
    expected = run(network, schedule(network, mode="layers"), tmp_path / "layers", inputs)
    assert np.array_equal(run(network, arranged(network, found), tmp_path / "rows", inputs), expected)


@pytest.mark.parametrize("seed", range(20))
def test_rings_are_as_low_as_they_can_be(seed: int) -> None:
    network = random_network(seed)
    found = segment(network, range(len(network.layers)))
    assert found is not None
    Memory(network, arranged(network, found)).run()
    for place_, rows in enumerate(found.rows):
        if rows.count > 1:
            lower = replace(rows, count=rows.count - 1)
            short = replace(found, rows=(*found.rows[:place_], lower, *found.rows[place_ + 1 :]))
            memory = Memory(network, arranged(network, short))
            with pytest.raises(AssertionError):
                memory.run()


@pytest.mark.parametrize("seed", range(20))
def test_the_output_follows_the_input_as_closely_as_it_can(seed: int) -> None:
    network = random_network(seed)
    found = segment(network, range(len(network.layers)))
    assert found is not None
    plan = arranged(network, found)
    start = network.values[found.output].bytes  # room below for an output that begins before its input
    shift = found.overlaps[0].shift
    assert shift is not None
    room = 4096 + 2 * start + network.values[0].bytes + max(0, shift)
    rings = tuple(offset + room for offset in plan.steps[0].offsets)  # type: ignore[union-attr]
    for more, runs in ((0, True), (1, shift >= network.values[0].bytes)):
        offsets = {found.inputs[0]: start + 4000, found.output: start + 4000 + shift + more}
        step = replace(found, offsets=rings)
        memory = Memory(network, replace(plan, offsets=offsets, steps=(step,), arena_bytes=room + plan.arena_bytes))
        if runs:
            memory.run()
        else:
            with pytest.raises(AssertionError):
                memory.run()


@pytest.mark.parametrize(("kernel", "same"), [(1, True), (3, False)])
def test_a_sum_may_replace_rows_that_no_window_reads_again(kernel: int, same: bool) -> None:
    build = Builder((12, 12, 8))
    build.add(0, build.conv(8, kernel))
    found = segment(build.network(), [0, 1])
    assert found is not None
    assert found.overlaps[0].same is same


def test_every_row_is_made_once_and_nothing_of_the_expanded_tensor_is_whole() -> None:
    build = Builder((20, 20, 8))
    build.bottleneck(8, 48, 5)
    network = build.network()
    found = segment(network, range(4))
    assert found is not None
    expanded, *_ = found.rows
    assert expanded.planar
    assert expanded.count == 5
    assert found.rows_bytes < network.values[1].bytes / 2
    assert found.overlaps[0].same  # the sum of the block with its input takes the input's place
    plan = schedule(network, mode="stream")
    assert plan.offsets[0] == plan.offsets[4]


def test_names_in_the_c_are_the_segments_own() -> None:
    network = random_network(3)
    plan = schedule(network, mode="stream")
    text = emit(network, plan).files["net.c"]
    functions = re.findall(r"^static void (\w+)\(", text, re.MULTILINE)
    assert len(functions) == len(set(functions)) > 0


@compiled_with("gcc")
@pytest.mark.parametrize(
    ("kind", "side", "kernel", "stride"), [("max", 15, 3, 2), ("max", 16, 3, 2), ("average", 13, 3, 1)]
)
def test_pools_row_by_row(kind: str, side: int, kernel: int, stride: int, tmp_path: Path) -> None:
    build = Builder((side, side, 3), side)
    build.conv(8, 3)
    build.pool(kind, kernel, stride)
    build.conv(4, 3)
    network = build.network()
    found = segment(network, range(3))
    assert found is not None
    Memory(network, arranged(network, found)).run()
    inputs = np.random.default_rng(0).integers(-128, 128, (2, network.values[0].bytes)).astype(np.int8)
    expected = run(network, schedule(network, mode="layers"), tmp_path / "layers", inputs)
    assert np.array_equal(
        run(network, arranged(network, found), tmp_path / "rows", inputs, sanitize=side == 15), expected
    )
