"""Evolutionary search within limits.

Once-for-all, Cai et al. 2020, arXiv:1908.09791, Appendix; after Real et al. 2019, arXiv:1802.01548.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netwright.models.space import Genes, SearchSpace
from netwright.searching.candidates import Candidates, Result
from netwright.searching.limits.budget import Limit
from netwright.searching.score import Score
from netwright.searching.variation import children


def search(
    space: SearchSpace,
    score: Score,
    limits: Sequence[Limit],
    *,
    seed: int = 0,
    population: int = 200,
    generations: int = 50,
    parents: float = 1.0,
    mutation: float = 0.05,
) -> Result:
    """Evaluate a random population, then children of the best so far: half mutated, half crossed over and mutated.

    Parents are the best `parents` x `population` of everything evaluated, chosen by rank (the best most often).
    A child that exceeds a limit or was met before costs nothing: it is replaced before evaluation. Each mutant has its
    own rate, up to `mutation` on average, so that some differ in a single position.

    Raises:
        NetwrightError: no arch is within the limits.
    """
    candidates = Candidates(space, score, limits, seed)
    rng = candidates.rng
    genes, costs = candidates.collect(candidates.random, population)
    best, best_scores = genes, candidates.evaluate(genes, costs)
    keep = max(2, round(parents * population))
    for _ in range(generations - 1):
        order = np.argsort(-best_scores, kind="stable")[:keep]
        best, best_scores = best[order], best_scores[order]
        weights = np.arange(len(best), 0, -1.0)
        weights /= weights.sum()

        def propose(count: int, pool: Genes = best, weights: np.ndarray = weights) -> Genes:
            mothers = pool[rng.choice(len(pool), count, p=weights)]
            fathers = pool[rng.choice(len(pool), count, p=weights)]
            return children(space, rng, mothers, fathers, mutation)

        genes, costs = candidates.collect(propose, population)
        if not len(genes):
            break
        scores = candidates.evaluate(genes, costs)
        best, best_scores = np.concatenate([best, genes]), np.concatenate([best_scores, scores])
    return candidates.result()
