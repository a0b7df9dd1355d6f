"""What blocks and networks cost on microcontrollers."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.mcu.price.from_blocks import network_of_blocks
from netwright.mcu.schedule.schedule import schedule
from netwright.models.families import family
from netwright.searching.limits.budget import Budget
from netwright.searching.limits.mcu_prices import mcu_prices
from netwright.searching.strategies import evolution
from netwright.searching.tables import AdditiveTable, MaxTable, macs_price
from netwright.specialization.specialize import spread_sample

SRAM = 16 * 1024


@pytest.fixture(scope="module")
def made():
    return family("mcunet", size=64, depth=2)


@pytest.fixture(scope="module")
def prices():
    return mcu_prices("stm32f746", sram_bytes=SRAM)


def test_what_fits_by_its_blocks_fits_as_a_whole(made, prices):
    """The real plan of the whole network never needs more than the table says; where it needs more, the limit is broken."""
    genes = spread_sample(made.space, 8, 0)
    said = MaxTable(made, prices.memory_bytes)(genes)
    assert said.min() <= SRAM < said.max()
    for row, bytes_ in zip(genes, said, strict=True):
        arch = made.space.decode(row)
        plan = schedule(
            network_of_blocks(made.blocks(arch), (3, arch.resolution, arch.resolution), seed=None), sram_bytes=SRAM
        )
        assert plan.arena_bytes <= max(SRAM, bytes_)


def test_networks_beyond_by_their_blocks_are_planned_as_a_whole(made, prices):
    """Every network that the limit lets pass fits by the real plan, also those that only fit with blocks streamed together."""
    (limit,) = Budget(sram_bytes=SRAM).limits(made, prices)
    genes = made.space.sample(np.random.default_rng(2), 200)
    by_blocks = MaxTable(made, prices.memory_bytes, layout=limit.table.layout)(genes)
    within = limit.table(genes) <= SRAM
    assert (within >= (by_blocks <= SRAM)).all()
    only_together = genes[within & (by_blocks > SRAM)]
    assert len(only_together)
    for row in only_together[:4]:
        arch = made.space.decode(row)
        network = network_of_blocks(made.blocks(arch), (3, arch.resolution, arch.resolution), seed=None)
        assert schedule(network, sram_bytes=SRAM).arena_bytes <= SRAM
    assert (limit.excess(genes)[within] == 0).all() and (limit.excess(genes)[~within] > 0).all()


def test_tables_equal_the_prices_of_the_blocks(made, prices):
    budget = Budget(sram_bytes=SRAM, flash_bytes=1 << 20, instructions=1e9)
    limits = {limit.name: limit.table for limit in budget.limits(made, prices)}
    genes = made.space.sample(np.random.default_rng(1), 10)
    for number, row in enumerate(genes):
        priced = made.priced_blocks(made.space.decode(row))
        at = genes[number : number + 1]
        assert limits["sram"].by_slot(at).max() == max(prices.memory_bytes(*placed.key) for placed in priced)
        spent = prices.offset_instructions + sum(prices.block_instructions(*placed.key) for placed in priced)
        assert limits["instructions"](at)[0] == pytest.approx(spent)
        stored = prices.offset_flash + sum(prices.flash_bytes(*placed.key) for placed in priced)
        assert limits["flash"](at)[0] == pytest.approx(stored)


def test_a_search_holds_all_limits(made, prices):
    """All networks are within the three limits, the best also by the plan of the whole."""
    limits = Budget(sram_bytes=SRAM, flash_bytes=200e3, instructions=30e6).limits(made, prices)
    macs = AdditiveTable(made, macs_price, layout=limits[0].table.layout)
    found = evolution.search(made.space, macs, limits, population=50, generations=4)
    assert (found.costs <= [limit.bound for limit in limits]).all()
    arch = made.space.decode(found.genes[0])
    cost = prices.network(made.blocks(arch), (3, arch.resolution, arch.resolution))
    assert cost.arena_bytes <= SRAM
    assert cost.flash_bytes <= 200e3


def test_milliseconds_are_instructions_at_the_clock(made, prices):
    placed = made.priced_blocks(made.space.smallest())[2]
    assert prices.block_ms(*placed.key) == pytest.approx(prices.block_instructions(*placed.key) / 216e3)


@pytest.mark.parametrize(("name", "text"), [("a100", "no microcontroller"), ("stm32f999", "stm32f746")])
def test_other_devices_are_refused(name, text):
    with pytest.raises(NetwrightError, match=text):
        mcu_prices(name)
