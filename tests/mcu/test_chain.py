"""The arena of a chain of blocks equals that of its network's schedule."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.mcu.price import chain
from netwright.mcu.price.chain import block_memory, chain_memory
from netwright.mcu.price.from_blocks import network_of_blocks
from netwright.mcu.schedule.schedule import schedule
from netwright.models.mcunet import mcunet

FAMILY = mcunet(size=96)


def archs(count: int, seed: int = 0) -> list:
    space = FAMILY.space
    return [space.decode(genes) for genes in space.sample(np.random.default_rng(seed), count)]


@pytest.mark.parametrize("mode", ["layers", "stream"])
def test_chains_are_their_schedules(mode: str) -> None:
    packed = 0
    for arch in archs(8):
        blocks, shape = FAMILY.blocks(arch), (3, arch.resolution, arch.resolution)
        plan = schedule(network_of_blocks(blocks, shape, seed=None), mode=mode)
        needed = chain_memory(blocks, shape, mode=mode)
        packed += needed == plan.arena_bytes
        assert needed <= plan.arena_bytes <= needed * 1.1
    assert packed >= 7


def test_a_chain_needs_no_more_than_its_blocks_alone() -> None:
    for arch in archs(5, seed=1):
        shape = (3, arch.resolution, arch.resolution)
        blocks = FAMILY.blocks(arch)
        together = chain_memory(blocks, shape)
        alone, at = 0, shape
        for block in blocks.values():
            alone, at = max(alone, block_memory(block, at)), block.out_shape(at)
        assert together <= alone
        assert together <= chain_memory(blocks, shape, mode="layers")


def test_what_was_met_before_is_not_planned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    met = [(FAMILY.blocks(arch), (3, arch.resolution, arch.resolution)) for arch in archs(20)]
    first = [chain_memory(*one) for one in met]
    monkeypatch.setattr(chain, "network_of_blocks", lambda *_, **__: pytest.fail("a network was made again"))
    assert [chain_memory(*one) for one in met] == first
