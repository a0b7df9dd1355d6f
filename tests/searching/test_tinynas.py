"""Peak costs as limits, and the choice of a space for a device."""

from __future__ import annotations

import numpy as np
import pytest
from search_families import enumerate_space, small_family

from netwright.core.errors import NetwrightError
from netwright.models.families import family
from netwright.searching.limits.budget import Budget, Limit, costs_of
from netwright.searching.limits.reach import reach
from netwright.searching.strategies import evolution
from netwright.searching.tables import AdditiveTable, MaxTable, macs_price, params_price
from netwright.specialization.tinynas import choose_space, restricted, within_subspace


def peak_price(block, in_shape):
    """Bytes of a block's input and output."""
    return float(np.prod(in_shape) + np.prod(block.out_shape(in_shape)))


@pytest.fixture(scope="module")
def made():
    return small_family()


@pytest.fixture(scope="module")
def peak(made):
    return MaxTable(made, peak_price)


def test_a_peak_is_the_greatest_of_the_blocks(made, peak):
    genes = made.space.sample(np.random.default_rng(0), 50)
    direct = [max(peak_price(*placed.key) for placed in made.priced_blocks(made.space.decode(row))) for row in genes]
    assert peak(genes).tolist() == direct
    assert peak(genes[:0]).shape == (0,)


def test_the_least_peak_is_exact_and_excess_is_zero_exactly_within(made, peak):
    every = enumerate_space(made.space)
    value, row = peak.minimum()
    assert value == peak(every).min() == peak(row[None])[0]
    for bound in np.quantile(peak(every), (0.0, 0.3, 0.7)):
        assert ((peak.excess(every, bound) == 0) == (peak(every) <= bound)).all()
        total = sum(values[tuple(every[:, list(columns)].T)] for columns, values in peak.excess_factors(bound))
        np.testing.assert_allclose(total, peak.excess(every, bound))


def test_a_bad_price_is_refused(made):
    with pytest.raises(NetwrightError, match="not a finite number of at least 0"):
        MaxTable(made, lambda block, shape: -1.0)


def test_reach_with_a_peak_and_a_sum(made, peak):
    """Both limits as tight as some network allows: it is found; one byte less for the peak alone: proven impossible."""
    every = enumerate_space(made.space)
    params = AdditiveTable(made, params_price, layout=peak.layout)
    least = peak.minimum()[0]
    tightest = params(every[peak(every) <= least]).min()
    limits = [Limit("params", params, tightest), Limit("sram", peak, least)]
    found = reach(made.space, limits, np.random.default_rng(0))
    assert (costs_of(limits, found[None])[0] <= [tightest, least]).all()
    with pytest.raises(
        NetwrightError, match=rf"sram at most {least - 1:,.0f} bytes \(least reachable: {least:,.0f} bytes\)"
    ):
        reach(made.space, [Limit("sram", peak, least - 1)], np.random.default_rng(0))


def test_strategies_hold_a_peak(made, peak):
    bound = float(np.quantile(peak(enumerate_space(made.space)), 0.3))
    result = evolution.search(
        made.space, AdditiveTable(made, macs_price, layout=peak.layout), [Limit("sram", peak, bound)], generations=5
    )
    assert (peak(result.genes) <= bound).all()
    every = enumerate_space(made.space)
    macs = AdditiveTable(made, macs_price, layout=peak.layout)
    assert result.scores[0] == macs(every[peak(every) <= bound]).max()


def test_the_chosen_space_has_the_most_macs_within_the_limit(made, peak):
    """Against the exact mean over all combinations of genes, each as likely as the others."""
    space = made.space
    macs = AdditiveTable(made, macs_price, layout=peak.layout)
    bound = float(np.quantile(peak(enumerate_space(space)), 0.5))
    found = choose_space(made, [Limit("sram", peak, bound)], samples=1000)
    assert list(found) == sorted(found, key=lambda one: -one.mean_macs)
    grid = np.stack(np.unravel_index(np.arange(int(np.prod(space.sizes))), space.sizes), 1)
    for one in found:
        rows = space.canonical(np.unique(within_subspace(space, grid, one.resolution, one.width), axis=0))
        fits = peak(rows) <= bound
        assert one.fitting == pytest.approx(fits.mean(), abs=0.06)
        exact = macs(rows[fits])
        assert one.mean_macs == pytest.approx(exact.mean(), abs=5 * exact.std() / np.sqrt(one.networks) + 1)
        assert list(one.quantile_macs) == sorted(one.quantile_macs)
    assert found == choose_space(made, [Limit("sram", peak, bound)], samples=1000)
    best = restricted(made, found[0])
    assert best.space.resolutions == (found[0].resolution,)
    assert best.space.widths == ((found[0].width,),)


def test_a_larger_memory_never_chooses_a_smaller_space(made, peak):
    every = peak(enumerate_space(made.space))
    means = [
        choose_space(made, [Limit("sram", peak, float(bound))])[0].mean_macs
        for bound in np.quantile(every, (0.2, 0.6, 1.0))
    ]
    assert means == sorted(means)


def test_nothing_fits():
    made = family("mcunet", size=96)
    with pytest.raises(NetwrightError, match="least reachable"):
        choose_space(made, [Limit("sram", MaxTable(made, peak_price), 1000.0)])


def test_budgets_of_a_microcontroller_need_its_prices(made):
    with pytest.raises(NetwrightError, match="prices of a microcontroller"):
        Budget(sram_bytes=1e5).limits(made)
