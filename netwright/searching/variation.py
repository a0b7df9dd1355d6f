"""Mutation and crossover of architectures: how evolution and NSGA-II make children."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netwright.models.space import Genes, SearchSpace


def mutate(
    space: SearchSpace, rng: np.random.Generator, genes: Genes, probability: float | NDArray[np.float64] = 0.1
) -> Genes:
    """Redraw each position with the given probability (one, or one a row [N, 1]).

    The positions of a block that a greater depth brings in are drawn too: their first choices say nothing.
    """
    redrawn = rng.integers(0, space.sizes, size=genes.shape)
    change = (rng.random(genes.shape) < probability) | ~space.active(genes)
    return space.canonical(np.where(change, redrawn, genes))


def crossover(space: SearchSpace, rng: np.random.Generator, mothers: Genes, fathers: Genes) -> Genes:
    """Take each position from either parent with equal probability, from the one where it is active if only one."""
    of_mother, of_father = space.active(mothers), space.active(fathers)
    either = rng.random(mothers.shape) < 0.5
    return space.canonical(np.where(of_mother & (either | ~of_father), mothers, fathers))


def children(space: SearchSpace, rng: np.random.Generator, mothers: Genes, fathers: Genes, mutation: float) -> Genes:
    """Return one child a pair: half are crossed over, all mutated, each at a rate of its own, `mutation` on average."""
    crossed = np.where(rng.random((len(mothers), 1)) < 0.5, crossover(space, rng, mothers, fathers), mothers)
    return mutate(space, rng, crossed, rng.random((len(mothers), 1)) * 2 * mutation)
