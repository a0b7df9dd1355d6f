"""Patches: their C equals that of whole tensors, and what they make twice is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netwright.mcu.emit.emit import emit
from netwright.mcu.run.emulate import emulate
from netwright.mcu.schedule.patches import patched
from netwright.mcu.schedule.schedule import schedule
from netwright.mcu.schedule.stream import Segment, outline
from tests.mcu.networks import Builder, random_network
from tests.mcu.test_stream import arranged, run
from tests.mcu.toy import compiled_with, emulated


def tiles_of(seed: int, grid: tuple[int, int]) -> Segment | None:
    network = random_network(seed)
    plain = outline(network, range(len(network.layers)))
    assert plain is not None
    return patched(network, plain, grid)


@compiled_with("gcc")
@pytest.mark.parametrize(("seed", "grid"), [(0, (2, 2)), (1, (1, 2)), (4, (3, 3)), (5, (2, 3))])
def test_c_in_patches_equals_c_on_whole_tensors(seed: int, grid: tuple[int, int], tmp_path: Path) -> None:
    network = random_network(seed)
    found = tiles_of(seed, grid)
    assert found is not None
    inputs = np.random.default_rng(seed).integers(-128, 128, (2, network.values[0].bytes)).astype(np.int8)
    expected = run(network, schedule(network, mode="layers"), tmp_path / "layers", inputs)
    plan = arranged(network, found)
    assert np.array_equal(run(network, plan, tmp_path / "tiles", inputs, sanitize=seed == 5), expected)


@pytest.mark.parametrize("seed", range(12))
def test_tiles_cover_the_output_once_and_everything_before_at_least_once(seed: int) -> None:
    network = random_network(seed)
    found = tiles_of(seed, (2, 2))
    if found is None:
        pytest.skip("the output has a single row or column")
    covered = np.zeros(network.values[found.output].shape[:2], int)
    channels = network.values[found.output].shape[2]
    for tile in found.tiles:
        part = tile[-1]
        left = part.to // channels
        covered[part.first : part.until, left : left + part.width] += 1
    assert (covered == 1).all()
    made = [found.rows_made(network, place) / stage.height for place, stage in enumerate(found.stages)]
    assert made[-1] == 1
    strides = [reading.stride for stage in found.stages for reading in stage.reads]
    assert max(strides) > 1 or all(more >= 1 for more in made)


def test_recomputation_is_the_halo_of_the_windows() -> None:
    build = Builder((16, 16, 4))
    build.rng = np.random.default_rng(1)
    build.conv(8, 3)
    build.conv(8, 3)
    network = build.network()
    plain = outline(network, (0, 1))
    assert plain is not None
    found = patched(network, plain, (2, 2))
    assert found is not None
    assert found.rows_made(network, 1) == 16
    assert found.rows_made(network, 0) == pytest.approx(
        18 * 18 / 16
    )  # one row and column more between two tiles, twice


def test_a_tile_leaves_the_rows_that_the_tile_beside_it_reads() -> None:
    """Of two tiles side by side the second begins with row 0 again: all that the first makes ends before the input."""
    build = Builder((16, 16, 4))
    build.conv(8, 3)
    build.conv(4, 3)
    network = build.network()
    plain = outline(network, (0, 1))
    assert plain is not None
    for grid, most in (((1, 2), -network.values[2].bytes), ((2, 1), 0)):
        found = patched(network, plain, grid)
        assert found is not None
        shift = found.overlaps[0].shift
        assert shift is not None
        assert -network.values[2].bytes <= shift <= most


def test_patches_go_below_streaming_where_rows_are_wide() -> None:
    build = Builder((12, 120, 2))
    build.conv(8, 3, 2)
    build.bottleneck(4, 48, 7, 2)
    network = build.network()
    streamed = schedule(network, mode="stream")
    assert schedule(network, mode="patch").arena_bytes < streamed.arena_bytes
    tight = schedule(network, sram_bytes=streamed.arena_bytes - 1000)
    assert tight.arena_bytes <= streamed.arena_bytes - 1000
    assert any(isinstance(step, Segment) and step.tiles for step in tight.steps)


@emulated
@pytest.mark.parametrize("seed", [1])
def test_kernels_of_a_processor_agree_row_by_row_and_in_patches(seed: int, tmp_path: Path) -> None:
    network = random_network(seed)
    inputs = np.random.default_rng(seed).integers(-128, 128, (1, network.values[0].bytes)).astype(np.int8)
    expected = run(network, schedule(network, mode="layers"), tmp_path / "layers", inputs)
    found = tiles_of(seed, (2, 2))
    assert found is not None
    for number, plan in enumerate((schedule(network, mode="stream"), arranged(network, found))):
        folder = tmp_path / str(number)
        emit(network, plan).write(folder)
        assert np.array_equal(emulate(folder, inputs, cpu="cortex-m4").outputs, expected)
