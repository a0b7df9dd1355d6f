"""Fronts, crowding and hypervolumes against pymoo, the reference implementation of NSGA-II."""

from __future__ import annotations

import numpy as np
import pytest
from pymoo.indicators.hv import HV
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from netwright.searching.pareto import crowding, front, hypervolume, ranks
from netwright.searching.strategies.nsga2 import _merit

SCALES = {2: (1.0, 1e6), 3: (1e-3, 1.0, 1e7)}  # as accuracies, milliseconds and parameters differ


def objectives(seed: int, columns: int, count: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).random((count, columns)) * SCALES[columns]


@pytest.mark.parametrize("columns", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_ranks_and_fronts_are_pymoos(seed, columns):
    rows = objectives(seed, columns)
    theirs = np.empty(len(rows), int)
    for level, members in enumerate(NonDominatedSorting().do(rows)):
        theirs[members] = level
    assert (ranks(rows) == theirs).all()
    assert set(front(rows)) == set(np.flatnonzero(theirs == 0))


@pytest.mark.parametrize("columns", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_crowding_is_pymoos_whatever_the_scale_of_the_objectives(seed, columns):
    """pymoo's distance is the mean over the objectives, ours the sum."""
    rows = objectives(seed, columns)
    rows = rows[front(rows)]
    np.testing.assert_allclose(crowding(rows), columns * np.asarray(calc_crowding_distance(rows)))


def test_of_rows_that_are_equal_in_one_objective_the_better_is_on_the_front():
    rows = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 2.0], [2.0, 0.0], [3.0, 0.0]])
    assert front(rows).tolist() == [1, 4]
    assert front(np.column_stack([rows, np.zeros(6)])).tolist() == [1, 4]


def test_crowding_in_closed_form():
    """Five points on a line, one objective a million times the other: the gaps count as shares of each range."""
    at = np.array([0.0, 0.1, 0.2, 0.6, 1.0])
    rows = np.column_stack([at, 1e6 * (1 - at)])
    assert crowding(rows)[[0, -1]].tolist() == [np.inf, np.inf]
    np.testing.assert_allclose(crowding(rows)[1:-1], [0.4, 1.0, 1.6])


def test_the_least_crowded_survive_whatever_the_scale():
    """Of one front, those survive that pymoo keeps: an objective of large numbers decides no more than the others."""
    at = np.sort(np.random.default_rng(3).random(12))
    rows = np.column_stack([1e-3 * at, 1e6 * (1 - at**3)])
    kept = np.argsort(_merit(rows), kind="stable")[:6]
    theirs = np.argsort(-np.asarray(calc_crowding_distance(rows)), kind="stable")[:6]
    assert set(kept) == set(theirs)


@pytest.mark.parametrize("columns", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_hypervolumes_are_pymoos(seed, columns):
    rows = objectives(seed, columns, 25)
    reference = 1.1 * np.array(SCALES[columns])
    assert hypervolume(rows, reference) == pytest.approx(HV(ref_point=reference)(rows))
