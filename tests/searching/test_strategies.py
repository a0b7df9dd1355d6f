"""What every strategy must hold."""

import math
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from search_families import bumpy_score, enumerate_space, small_family

from netwright.core.errors import NetwrightError
from netwright.models.families import family
from netwright.searching.candidates import Candidates
from netwright.searching.limits.budget import Budget, Limit, costs_of
from netwright.searching.limits.reach import reach
from netwright.searching.pareto import front
from netwright.searching.strategies import nsga2
from netwright.searching.strategies.table import STRATEGIES
from netwright.searching.tables import AdditiveTable, macs_price, params_price

FAMILY = small_family()
MACS = AdditiveTable(FAMILY, macs_price)
PARAMS = AdditiveTable(FAMILY, params_price, layout=MACS.layout)
EVERY = enumerate_space(FAMILY.space)
strategies = pytest.mark.parametrize("search", [pytest.param(s, id=name) for name, s in STRATEGIES.items()])


def quantile_limits(share: float) -> list[Limit]:
    return [
        Limit("macs", MACS, np.quantile(MACS(EVERY), share)),
        Limit("params", PARAMS, np.quantile(PARAMS(EVERY), share)),
    ]


@strategies
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_archs_are_valid_within_the_limits_and_never_evaluated_twice(search, share):
    limits = quantile_limits(share)
    evaluated = []

    def score(genes):
        evaluated.extend(map(tuple, genes.tolist()))
        return bumpy_score(FAMILY.space)(genes)

    result = search(FAMILY.space, score, limits, seed=3, population=20, generations=10)
    assert len(evaluated) == len(set(evaluated)) == result.evaluated
    assert {tuple(row) for row in result.genes.tolist()} == set(evaluated)
    assert (FAMILY.space.canonical(result.genes) == result.genes).all()
    assert all((FAMILY.space.encode(FAMILY.space.decode(row)) == row).all() for row in result.genes)
    assert (result.costs <= [limit.bound for limit in limits]).all()
    assert (result.costs == costs_of(limits, result.genes)).all()
    assert (result.scores == bumpy_score(FAMILY.space)(result.genes)).all()
    assert (np.diff(result.scores) <= 0).all()
    assert result.history[-1] == {"evaluated": result.evaluated, "best": result.scores[0]}
    assert [h["best"] for h in result.history] == sorted(h["best"] for h in result.history)


@strategies
def test_the_best_of_an_enumerable_space_is_found(search):
    limits = quantile_limits(0.4)
    score = bumpy_score(FAMILY.space, 5)
    allowed = EVERY[(MACS(EVERY) <= limits[0].bound) & (PARAMS(EVERY) <= limits[1].bound)]
    result = search(FAMILY.space, score, limits, population=40, generations=40)
    assert result.scores[0] == score(allowed).max()


@strategies
@pytest.mark.parametrize("most", [1, 2, 7])
def test_the_few_networks_of_a_tight_budget_are_all_found(search, most):
    bound = np.sort(MACS(EVERY))[most - 1]
    result = search(FAMILY.space, bumpy_score(FAMILY.space), [Limit("macs", MACS, bound)], population=10, generations=5)
    assert result.evaluated == (MACS(EVERY) <= bound).sum()


@strategies
def test_without_limits_every_arch_is_allowed(search):
    result = search(FAMILY.space, bumpy_score(FAMILY.space), [], population=10, generations=3)
    assert result.evaluated == 30 and result.costs.shape == (30, 0)


@strategies
def test_the_front_is_what_nothing_evaluated_beats(search):
    limits = [Limit("macs", MACS), Limit("params", PARAMS)]
    result = search(FAMILY.space, bumpy_score(FAMILY.space), limits, population=30, generations=5)
    rows = np.column_stack([-result.scores, result.costs])
    beaten = [((rows <= row).all(1) & (rows < row).any(1)).any() for row in rows]
    kept = {tuple(row) for row in rows[~np.array(beaten)]}
    front = rows[result.front()]
    assert {tuple(row) for row in front} == kept and len(front) == len(kept)


@strategies
def test_a_budget_out_of_reach_names_the_least_value_before_anything_is_evaluated(search):
    made = family("mobilenet-v3-small")
    limits = Budget(macs=1000, params=1e9).limits(made)
    with pytest.raises(NetwrightError) as error:
        search(made.space, lambda genes: pytest.fail("a network was evaluated"), limits)
    least = limits[0].table.minimum()[0]
    said = re.search(r"macs at most 1000 MACs \(least reachable: (\S+) M MACs\)", str(error.value))
    assert said is not None and least <= 1e6 * float(said[1]) <= 1.001 * least  # what is advised can be reached
    assert "params" not in str(error.value) and "Raise this limit" in str(error.value)


def test_limits_that_are_only_jointly_out_of_reach_say_so():
    costs = np.stack([MACS(EVERY), -MACS(EVERY)], 1)
    opposite = AdditiveTable(FAMILY, lambda block, shape: -block.macs(shape), layout=MACS.layout)
    middle = float(np.median(costs[:, 0]))
    limits = [Limit("macs", MACS, middle), Limit("savings", opposite, -middle * 1.01)]
    with pytest.raises(NetwrightError, match="together, though each alone"):
        STRATEGIES["random"](FAMILY.space, bumpy_score(FAMILY.space), limits)


def test_every_network_that_none_beats_is_reached():
    rng = np.random.default_rng(1)
    prices = {key: rng.random() for key in MACS.layout.keys}
    other = AdditiveTable(FAMILY, lambda block, shape: prices[(block, shape)], layout=MACS.layout)
    costs = np.stack([MACS(EVERY), other(EVERY)], 1)
    best = costs[front(costs)]
    assert len(best) > 5
    for macs, price in best:
        limits = [Limit("macs", MACS, macs), Limit("other", other, price)]
        found = reach(FAMILY.space, limits, np.random.default_rng(0))
        assert (costs_of(limits, found[None]) <= [macs, price]).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_single_network_within_two_limits_is_found(seed):
    rng = np.random.default_rng(seed)
    prices = {key: rng.random() for key in MACS.layout.keys}
    other = AdditiveTable(FAMILY, lambda block, shape: prices[(block, shape)], layout=MACS.layout)
    costs = np.stack([MACS(EVERY), other(EVERY)], 1)
    target = costs[rng.integers(len(EVERY))]
    only = (costs <= target).all(1).sum()
    limits = [Limit("macs", MACS, target[0]), Limit("other", other, target[1])]
    result = STRATEGIES["random"](FAMILY.space, bumpy_score(FAMILY.space), limits, population=only, generations=1)
    assert 1 <= result.evaluated <= only


@pytest.mark.parametrize(
    ("values", "message"),
    [({}, "at least one limit"), ({"macs": 0}, "greater than zero"), ({"params": math.nan}, "params")],
)
def test_budgets_that_mean_nothing_are_refused(values, message):
    with pytest.raises(NetwrightError, match=message):
        Budget(**values)


def test_a_latency_limit_needs_a_latency_model():
    with pytest.raises(NetwrightError, match="latency model"):
        Budget(latency_ms=1.0).limits(FAMILY)


def test_a_score_that_is_not_a_number_is_an_error():
    with pytest.raises(NetwrightError, match="finite"):
        STRATEGIES["random"](FAMILY.space, lambda genes: np.full(len(genes), np.nan), [])


def test_the_same_seed_gives_the_same_records_in_every_process():
    program = """
        import sys, hashlib, search_families
        from netwright.searching.limits.budget import Limit
        from netwright.searching.strategies.table import STRATEGIES
        from netwright.searching.tables import AdditiveTable, macs_price
        made = search_families.small_family()
        limits = [Limit("macs", AdditiveTable(made, macs_price), 2e5)]
        score = search_families.bumpy_score(made.space)
        for name, search in STRATEGIES.items():
            for seed in (1, 2):
                r = search(made.space, score, limits, seed=seed, population=20, generations=5)
                print(name, seed, hashlib.sha256(r.genes.tobytes() + r.scores.tobytes()).hexdigest())
    """
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parents[1])])

    def run(hash_seed: str) -> str:
        settings = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": paths}
        command = [sys.executable, "-c", textwrap.dedent(program)]
        return subprocess.run(command, env=settings, capture_output=True, text=True, check=True).stdout

    first = run("1")
    assert first == run("77")
    digests = [line.split()[-1] for line in first.splitlines()]
    assert len(set(digests)) == len(digests) == 2 * len(STRATEGIES)


def test_limits_that_take_long_to_tell_come_last():
    names = [limit.name for limit in Budget({"peak_memory": 1e9, "params": 1e9}, macs=1e9).limits(FAMILY)]
    assert names == ["macs", "params", "peak_memory"]


@strategies
def test_a_limit_may_be_reached_exactly(search):
    least, genes = MACS.minimum()
    result = search(FAMILY.space, bumpy_score(FAMILY.space), [Limit("macs", MACS, least)], population=20, generations=3)
    assert genes.tolist() in result.genes.tolist()
    assert (result.costs == least).all()


def test_what_can_be_enumerated_holds_its_limits_exactly():
    least = MACS.minimum()[0]
    candidates = Candidates(FAMILY.space, bumpy_score(FAMILY.space), [Limit("macs", MACS, least)], seed=0)
    largest = FAMILY.space.encode(FAMILY.space.largest())[None]
    genes, costs = candidates.collect(lambda count: largest.repeat(count, 0), len(EVERY))
    assert len(genes) == (MACS(EVERY) == least).sum()
    assert (costs == least).all()


def test_tournaments_are_won_by_the_better_merit():
    merit = np.array([3.0, 0.0, 2.0, 1.0])
    won = merit[nsga2._tournament(np.random.default_rng(0), merit, 4000)]
    shares = [(won == place).mean() for place in range(4)]
    assert np.allclose(shares, [7 / 16, 5 / 16, 3 / 16, 1 / 16], atol=0.05)


def test_parents_are_the_best_so_far():
    space = family("mobilenet-v3-small").space

    def score(genes):
        return genes.sum(1).astype(float)

    few = {"population": 20, "parents": 0.25, "seed": 0}
    result = STRATEGIES["evolution"](space, score, [], generations=15, **few)
    drawn = STRATEGIES["random"](space, score, [], generations=15, population=20, seed=0)
    assert result.scores.mean() > drawn.scores.mean() + drawn.scores.std()
