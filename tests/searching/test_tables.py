"""Cost tables against direct sums and brute force."""

import re

import numpy as np
import pytest
from search_families import chain_family, enumerate_space, small_family

from netwright.core.errors import NetwrightError
from netwright.models.arch import Arch
from netwright.models.families import SPACES, family
from netwright.models.family import Family
from netwright.models.space import SearchSpace
from netwright.nn.block import Block
from netwright.searching.tables import AdditiveTable, macs_price, params_price


@pytest.mark.parametrize("name", sorted(SPACES))
def test_tables_equal_the_direct_sums_of_random_archs(name):
    made = family(name)
    macs = AdditiveTable(made, macs_price)
    params = AdditiveTable(made, params_price, offset=7.0, layout=macs.layout)
    genes = made.space.sample(np.random.default_rng(1), 40)
    archs = [made.space.decode(row) for row in genes]
    assert macs(genes).tolist() == [made.macs(arch) for arch in archs]
    assert params(genes).tolist() == [made.params(arch) + 7 for arch in archs]


@pytest.mark.parametrize(
    "made", [small_family(), *(chain_family(seed, 3) for seed in range(4))], ids=lambda f: f.space.name
)
def test_the_minimum_is_exact(made):
    table = AdditiveTable(made, macs_price, offset=-3.5)
    genes = enumerate_space(made.space)
    value, row = table.minimum()
    assert value == table(genes).min()
    assert value == made.macs(made.space.decode(row)) - 3.5
    assert (made.space.canonical(row[None])[0] == row).all()


@pytest.mark.parametrize("name", sorted(SPACES))
def test_no_sampled_network_costs_less_than_the_minimum(name):
    made = family(name)
    table = AdditiveTable(made, macs_price)
    value, _ = table.minimum()
    assert value <= table(made.space.sample(np.random.default_rng(0), 1000)).min()


def test_a_cost_does_not_depend_on_the_other_rows():
    made = small_family()
    table = AdditiveTable(made, lambda block, shape: np.sqrt(block.macs(shape)) / 3)
    genes = enumerate_space(made.space)
    together = np.tile(genes, (4, 1))
    assert (table(together)[:1600] == [table(row[None])[0] for row in genes]).all()
    assert table(genes[:0]).shape == (0,)


def test_the_dependencies_of_slots_are_found():
    made = small_family()
    layout = AdditiveTable(made, macs_price).layout
    positions = [f"{name}{index}" for name, index, _ in made.space.positions]
    found = {name: {positions[c] for c in columns} for name, columns in zip(layout.names, layout.columns, strict=True)}
    assert found["stem"] == {"resolution0"}  # 8 channels at either width
    assert found["stage1.0"] == {"resolution0", "widths0", "kernels0", "expansions0"}
    assert found["stage2.1"] == {"resolution0", "widths0", "depths1", "kernels3", "expansions3"}


def _odd_family(rule) -> Family:
    space = SearchSpace("odd", (8,), ((1,),), ((3, 5, 7),), ((1, 2, 3),), ((1.0, 2.0), (1.0, 2.0)))
    return Family(space, rule)


def test_a_dependency_that_shows_only_off_the_largest_arch_is_found():
    from search_families import Weighted

    def blocks(arch: Arch) -> dict[str, Block]:
        hidden = arch.widths[1] if arch.kernels[0] == 5 and arch.expansions[0] == 2 else 0
        return {"a": Weighted(10 * arch.kernels[0] + hidden), "b": Weighted(arch.widths[0])}

    made = _odd_family(blocks)
    genes = enumerate_space(made.space)
    direct = [made.macs(made.space.decode(row)) for row in genes]
    assert AdditiveTable(made, macs_price)(genes).tolist() == direct


def test_blocks_that_appear_only_in_smaller_archs_are_refused():
    from search_families import Weighted

    def blocks(arch: Arch) -> dict[str, Block]:
        return {"a" if arch.widths[0] == 2 else "b": Weighted(1)}

    with pytest.raises(NetwrightError, match="'b' is not among"):
        AdditiveTable(_odd_family(blocks), macs_price)


def test_a_slot_that_depends_on_too_much_is_named():
    from search_families import Weighted

    space = SearchSpace("wide", (8,), (), (), ((1, 2, 3, 4),) * 9, ())
    made = Family(space, lambda arch: {"fused": Weighted(sum(arch.expansions))})
    with pytest.raises(NetwrightError, match=re.escape("'fused'")):
        AdditiveTable(made, macs_price)


def test_a_block_without_a_price_is_an_error():
    with pytest.raises(NetwrightError, match="not a finite number"):
        AdditiveTable(small_family(), lambda block, shape: float("nan"))
