"""What mutation and crossover must do about blocks that a change of depth brings in."""

import numpy as np
from search_families import small_family

from netwright.searching.variation import crossover, mutate

SPACE = small_family().space
DEPTH = [name for name, _, _ in SPACE.positions].index("depths")
FIRST_OF_SECOND_BLOCK = [(name, index) for name, index, _ in SPACE.positions].index(("kernels", 1))


def archs(depth: int, kernel: int, count: int = 2000):
    genes = np.zeros((count, len(SPACE.sizes)), np.int64)
    genes[:, DEPTH], genes[:, FIRST_OF_SECOND_BLOCK] = depth, kernel
    return genes


def test_a_block_that_mutation_brings_in_is_drawn():
    rng = np.random.default_rng(0)
    mutants = mutate(SPACE, rng, archs(0, 0), 0.2)
    deeper = mutants[mutants[:, DEPTH] == 1]
    assert 0.4 < deeper[:, FIRST_OF_SECOND_BLOCK].mean() < 0.6
    assert (mutants[mutants[:, DEPTH] == 0, FIRST_OF_SECOND_BLOCK] == 0).all()


def test_rates_of_mutation_may_differ_by_row():
    rng = np.random.default_rng(0)
    rates = np.repeat([[0.0], [1.0]], 1000, 0)
    mutants = mutate(SPACE, rng, archs(1, 1), rates)
    assert (mutants[:1000] == archs(1, 1, 1000)).all()
    assert (mutants[1000:] != archs(1, 1, 1000)).any(1).mean() > 0.9


def test_a_block_only_one_parent_has_is_taken_from_it():
    rng = np.random.default_rng(0)
    for mothers, fathers in ((archs(0, 0), archs(1, 1)), (archs(1, 1), archs(0, 0))):
        children = crossover(SPACE, rng, mothers, fathers)
        deeper = children[children[:, DEPTH] == 1]
        assert 800 < len(deeper) < 1200
        assert (deeper[:, FIRST_OF_SECOND_BLOCK] == 1).all()
