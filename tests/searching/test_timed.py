"""Networks that are timed where they run: what is above the limit is said to be, and messages speak of the limit given."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from search_families import small_family

from netwright.cost.figures import Figure
from netwright.searching.limits.budget import Budget
from netwright.searching.limits.reach import OutOfReach, reach
from netwright.specialization.timed import TRIES, timed_search

FAMILY = small_family()
LATENCY = SimpleNamespace(offset_ms=0.1, block_ms=lambda block, shape: 1e-6 * block.macs(shape))
TABLE = Budget(latency_ms=1.0).limits(FAMILY, LATENCY)[0].table
LEAST_MS, FASTEST = TABLE.minimum()


def predicted_ms(arch):
    return FAMILY.total(arch, LATENCY.block_ms, LATENCY.offset_ms)


def machine(factor):
    """Return a search that lists the largest and smallest network within a budget, and a machine slower than predicted."""
    asked = []
    every = [FAMILY.space.decode(row) for row in FAMILY.space.sample(np.random.default_rng(0), 200)]
    every.append(FAMILY.space.decode(FASTEST))

    def within(budget):
        asked.append(budget.latency_ms)
        reach(FAMILY.space, budget.limits(FAMILY, LATENCY), np.random.default_rng(0))
        fitting = sorted((arch for arch in every if predicted_ms(arch) <= budget.latency_ms), key=predicted_ms)
        return SimpleNamespace(candidates=[SimpleNamespace(arch=arch) for arch in fitting[-2:]])

    def measure(archs):
        return {arch: Figure(factor * predicted_ms(arch), "measured") for arch in archs}

    return within, measure, asked


def test_just_above_the_least_reachable_the_message_speaks_of_the_limit_given(capsys):
    """The machine is a fifth slower than predicted: the limit that would make up for it is below all of the space."""
    limit_ms = 1.05 * LEAST_MS
    within, measure, asked = machine(1.2)
    _, best, measured = timed_search(within, Budget(latency_ms=limit_ms), measure)
    assert min(asked) < LEAST_MS  # an inner search was out of reach, and nobody hears of its limit
    told = capsys.readouterr().err
    assert f"at most {limit_ms:g} ms" in told and "Raise" not in told
    assert FAMILY.space.decode(FASTEST) in best  # the least reachable is tried before it is given up
    assert measured[best[0]].value > limit_ms
    advice_ms = float(re.search(r"A limit of (\S+) ms can be held here", told)[1])
    assert advice_ms > limit_ms
    within, measure, _ = machine(1.2)
    _, best, measured = timed_search(within, Budget(latency_ms=advice_ms), measure)
    assert best and all(measured[arch].value <= advice_ms for arch in best)


def test_what_no_search_can_hold_is_the_fastest_that_was_found(capsys):
    within, measure, asked = machine(50.0)
    limit_ms = 3 * LEAST_MS
    _, best, measured = timed_search(within, Budget(latency_ms=limit_ms), measure)
    assert len(asked) <= TRIES + 1 and best
    assert min(one.value for one in measured.values()) == min(measured[arch].value for arch in best) > limit_ms
    assert "exceed the limit" in capsys.readouterr().err


def test_a_limit_that_is_out_of_reach_itself_is_refused_with_one_that_is_not():
    within, measure, _ = machine(1.0)
    with pytest.raises(OutOfReach) as error:
        timed_search(within, Budget(latency_ms=0.99 * LEAST_MS), measure)
    assert error.value.least == {"latency": LEAST_MS}
    advice_ms = float(re.search(r"least reachable: (\S+) ms", str(error.value))[1])
    found, _, _ = timed_search(within, Budget(latency_ms=advice_ms), measure)
    assert found.candidates
