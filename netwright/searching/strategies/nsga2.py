"""NSGA-II: the whole trade-off between score and costs in one search.

Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEC 6(2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netwright.models.space import Genes, SearchSpace
from netwright.searching.candidates import Candidates, Result
from netwright.searching.limits.budget import Limit
from netwright.searching.pareto import crowding, ranks
from netwright.searching.score import Floats, Score
from netwright.searching.variation import children


def search(
    space: SearchSpace,
    score: Score,
    limits: Sequence[Limit],
    *,
    seed: int = 0,
    population: int = 100,
    generations: int = 50,
    mutation: float = 0.03,
) -> Result:
    """Search the trade-off between the score and the cost of every limit, bounded or not; see `Result.front`.

    Costs are known before evaluation, so candidates beyond a limit are replaced instead of evaluated, which makes
    the paper's constrained domination plain domination. Children: half crossed over, all mutated, at rates of their own.

    Raises:
        NetwrightError: no arch is within the limits.
    """
    candidates = Candidates(space, score, limits, seed)
    rng = candidates.rng
    genes, costs = candidates.collect(candidates.random, population)
    scores = candidates.evaluate(genes, costs)
    objectives = np.column_stack([-scores, costs])
    for _ in range(generations - 1):
        merit = _merit(objectives)

        def propose(count: int, pool: Genes = genes, merit: Floats = merit) -> Genes:
            mothers, fathers = (pool[_tournament(rng, merit, count)] for _ in range(2))
            return children(space, rng, mothers, fathers, mutation)

        offspring, costs = candidates.collect(propose, population)
        if not len(offspring):
            break
        scores = candidates.evaluate(offspring, costs)
        genes = np.concatenate([genes, offspring])
        objectives = np.concatenate([objectives, np.column_stack([-scores, costs])])
        survivors = np.argsort(_merit(objectives), kind="stable")[:population]
        genes, objectives = genes[survivors], objectives[survivors]
    return candidates.result()


def _merit(objectives_NM: Floats) -> Floats:
    """Return the place of each row, lowest first: by front, within a front the least crowded first."""
    rank = ranks(objectives_NM)
    distance = np.zeros(len(rank))
    for level in range(rank.max() + 1):
        distance[rank == level] = crowding(objectives_NM[rank == level])
    place = np.empty(len(rank))
    place[np.lexsort((-distance, rank))] = np.arange(len(rank))
    return place


def _tournament(rng: np.random.Generator, merit: Floats, count: int) -> np.ndarray:
    pairs = rng.integers(0, len(merit), size=(count, 2))
    return np.where(merit[pairs[:, 0]] <= merit[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
