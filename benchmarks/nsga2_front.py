"""NSGA-II against pymoo's at equal evaluations, and against the true front of a space that is enumerated.

Problem: maximise a seeded random network's score and minimise MACs and, as a third objective, parameters. pymoo searches
the same integer genes (integer sampling, SBX and polynomial mutation with rounding, duplicates eliminated, as its
documentation advises). Hypervolumes use objectives scaled to a random sample's range and the reference point 1.1 in each.
Every front is that of everything evaluated, on both sides.

    python benchmarks/nsga2_front.py            # about a minute
    python benchmarks/nsga2_front.py --quick    # about 15 seconds
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.indicators.hv import HV
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize

from netwright.core.files import write_bytes, write_json
from netwright.core.progress import say
from netwright.core.run import environment
from netwright.core.seeds import derive_seed
from netwright.models.families import family
from netwright.models.family import Family
from netwright.models.space import Genes, SearchSpace
from netwright.searching.limits.budget import Limit, costs_of
from netwright.searching.pareto import front
from netwright.searching.strategies import nsga2
from netwright.searching.tables import AdditiveTable, macs_price, params_price

RESULTS = Path(__file__).parent.parent / "results"
Floats = np.ndarray


def random_score(space: SearchSpace, seed: int) -> Callable[[Genes], Floats]:
    """Return a score with interactions that grows with capacity: larger choices add up, with diminishing returns."""
    rng = np.random.default_rng(derive_seed("score", seed))
    width = int(space.sizes.sum())
    mix, out = rng.normal(size=(width, 32)), rng.normal(size=32)
    steps = np.concatenate([np.arange(size) / max(size - 1, 1) for size in space.sizes])
    gains = rng.gamma(1.0, 1.0, width) * steps
    gains /= gains.sum()

    def score(genes: Genes) -> Floats:
        features = space.features(genes)
        return 1 - np.exp(-6 * features @ gains) + 0.01 * np.tanh(features @ mix / 3) @ out

    return score


class GenesProblem(Problem):
    """The same search as pymoo sees it: integer variables, minus the score and the costs to minimise."""

    def __init__(self, space: SearchSpace, score: Callable[[Genes], Floats], limits: list[Limit]):
        super().__init__(n_var=len(space.sizes), n_obj=1 + len(limits), xl=0, xu=space.sizes - 1, vtype=int)
        self.space, self.score, self.limits = space, score, limits
        self.seen: list[Floats] = []

    def _evaluate(self, x: Floats, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        genes = self.space.canonical(np.asarray(x, np.int64))
        out["F"] = np.column_stack([-self.score(genes), costs_of(self.limits, genes)])
        self.seen.append(out["F"])


def pymoo_front(
    space: SearchSpace, score: Any, limits: list[Limit], seed: int, population: int, generations: int
) -> Floats:
    """Return the objectives of everything pymoo's NSGA-II evaluated that nothing else beats."""
    problem = GenesProblem(space, score, limits)
    rounding = {"repair": RoundingRepair(), "vtype": float}
    algorithm = NSGA2(
        pop_size=population,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=0.9, eta=3.0, **rounding),
        mutation=PM(prob=1.0, eta=3.0, **rounding),
        eliminate_duplicates=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minimize(problem, algorithm, ("n_eval", population * generations), seed=seed)
    rows = np.concatenate(problem.seen)[: population * generations]
    return rows[front(rows)]


def own_front(
    space: SearchSpace, score: Any, limits: list[Limit], seed: int, population: int, generations: int
) -> Floats:
    """Return the same of netwright's."""
    found = nsga2.search(space, score, limits, seed=seed, population=population, generations=generations)
    assert found.evaluated <= population * generations
    rows = np.column_stack([-found.scores, found.costs])
    return rows[found.front()]


def volume(rows: Floats, low: Floats, high: Floats) -> float:
    """Return the hypervolume of objectives scaled to [low, high], reference point 1.1."""
    return float(HV(ref_point=np.full(len(low), 1.1))((rows - low) / (high - low)))


def against_pymoo(made: Family, prices: list, seeds: int, population: int, generations: int) -> dict[str, Any]:
    """Compare hypervolumes over seeds; each seed has a landscape of its own."""
    space = made.space
    limits = tabulate(made, prices)
    rows = []
    for seed in range(seeds):
        score = random_score(space, seed)
        sample = space.sample(np.random.default_rng(seed), 20_000)
        low, high = bounds(np.column_stack([-score(sample), costs_of(limits, sample)]), space, limits)
        start = time.process_time()
        own = volume(own_front(space, score, limits, seed, population, generations), low, high)
        own_s = time.process_time() - start
        theirs = volume(pymoo_front(space, score, limits, seed, population, generations), low, high)
        theirs_s = time.process_time() - start - own_s
        row = {"seed": seed, "netwright": own, "pymoo": theirs, "ratio": own / theirs, "cpu_s": [own_s, theirs_s]}
        say(f"{space.name}, {1 + len(limits)} objectives: {row}")
        rows.append(row)
    ratios = [row["ratio"] for row in rows]
    return {
        "space": space.name,
        "objectives": ["-score", *(limit.name for limit in limits)],
        "evaluations": population * generations,
        "ratio_median": statistics.median(ratios),
        "ratio_least": min(ratios),
        "runs": rows,
    }


def against_the_truth(made: Family, seeds: int, population: int, generations: int) -> dict[str, Any]:
    """Compare with the front of a space that is enumerated in full."""
    space = made.space
    limits = tabulate(made, [("macs", macs_price)])
    every = enumerate_space(space)
    rows = []
    for seed in range(seeds):
        score = random_score(space, seed)
        objectives = np.column_stack([-score(every), costs_of(limits, every)])
        low, high = objectives.min(0), objectives.max(0)
        truth = volume(objectives[front(objectives)], low, high)
        own = volume(own_front(space, score, limits, seed, population, generations), low, high)
        theirs = volume(pymoo_front(space, score, limits, seed, population, generations), low, high)
        rows.append({"seed": seed, "netwright": own / truth, "pymoo": theirs / truth})
        say(f"{space.name}, enumerated: {rows[-1]}")
    shares = [row["netwright"] for row in rows]
    return {
        "space": space.name,
        "networks": len(every),
        "evaluations": population * generations,
        "share_median": statistics.median(shares),
        "share_least": min(shares),
        "pymoo_share_median": statistics.median(row["pymoo"] for row in rows),
        "runs": rows,
    }


def tabulate(made: Family, prices: list) -> list[Limit]:
    """Return unbounded limits, which are objectives."""
    return [Limit(name, AdditiveTable(made, price)) for name, price in prices]


def bounds(sample: Floats, space: SearchSpace, limits: list[Limit]) -> tuple[Floats, Floats]:
    """Return the range to scale by: least costs exactly, the rest from the sample."""
    low, high = sample.min(0), sample.max(0)
    low[1:] = [limit.table.minimum()[0] for limit in limits]
    return low, high


def enumerate_space(space: SearchSpace) -> Genes:
    """Return every arch of a small space."""
    count = int(np.prod(space.sizes))
    every = np.stack(np.unravel_index(np.arange(count), space.sizes), 1)
    return np.unique(space.canonical(every), axis=0)


def main() -> None:
    """Run and write results/nsga2_front.json and .md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds, a third of the evaluations")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    seeds, population, generations = (2, 60, 30) if options.quick else (options.seeds, 100, 50)
    macs, params = ("macs", macs_price), ("params", params_price)
    mobile, tiny = family("ofa-mbv3-w1.0"), family("tiny")
    record = {
        "quick": options.quick,
        "population": population,
        "generations": generations,
        "pymoo": [
            against_pymoo(mobile, [macs], seeds, population, generations),
            against_pymoo(mobile, [macs, params], seeds, population, generations),
            against_pymoo(family("mobilenet-v3-small"), [macs], seeds, population, generations),
        ],
        "enumerated": against_the_truth(tiny, seeds, population, generations),
        "environment": environment(),
        "date": time.strftime("%Y-%m-%d"),
    }
    name = "nsga2_front.quick" if options.quick else "nsga2_front"
    write_json(RESULTS / f"{name}.json", record)
    write_bytes(RESULTS / f"{name}.md", markdown(record).encode())
    print(markdown(record))


def markdown(record: dict[str, Any]) -> str:
    """Write the record as a page."""
    lines = ["# NSGA-II: hypervolume against pymoo's and against the true front", ""]
    lines += [
        "| space | objectives | evaluations | seeds | hypervolume over pymoo's, median | least |",
        "|--|--|--|--|--|--|",
    ]
    for row in record["pymoo"]:
        lines.append(
            f"| {row['space']} | {', '.join(row['objectives'])} | {row['evaluations']} | {len(row['runs'])} | "
            f"{row['ratio_median']:.4f} | {row['ratio_least']:.4f} |"
        )
    truth = record["enumerated"]
    lines += [
        "",
        f"Space {truth['space']!r}, all {truth['networks']:,} networks enumerated: {100 * truth['share_median']:.2f} % of the true "
        f"front's hypervolume with {truth['evaluations']} evaluations (median; least {100 * truth['share_least']:.2f} %; "
        f"pymoo {100 * truth['pymoo_share_median']:.2f} %).",
    ]
    machine = record["environment"]
    lines += [
        "",
        f"{record['date']}, {machine['processor']}, Python {machine['python']}, numpy {machine['versions']['numpy']}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
