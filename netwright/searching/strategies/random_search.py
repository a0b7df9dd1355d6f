"""Random search: the baseline every strategy must beat.

Bergstra and Bengio 2012, "Random search for hyper-parameter optimization", JMLR 13.
"""

from __future__ import annotations

from collections.abc import Sequence

from netwright.models.space import SearchSpace
from netwright.searching.candidates import Candidates, Result
from netwright.searching.limits.budget import Limit
from netwright.searching.score import Score


def search(
    space: SearchSpace,
    score: Score,
    limits: Sequence[Limit],
    *,
    seed: int = 0,
    population: int = 100,
    generations: int = 50,
) -> Result:
    """Evaluate `population` times `generations` different archs drawn uniformly from those within the limits.

    Raises:
        NetwrightError: no arch is within the limits.
    """
    candidates = Candidates(space, score, limits, seed)
    for _ in range(generations):
        genes, costs = candidates.collect(candidates.random, population)
        candidates.evaluate(genes, costs)
        if len(genes) < population:
            break
    return candidates.result()
