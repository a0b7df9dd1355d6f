"""Dominance between rows of objectives, all to be minimised.

Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEC 6(2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def front(objectives_NM: Floats) -> NDArray[np.int64]:
    """Return the rows that no row dominates, in rising order of the first objective; of equal rows the first."""
    order = np.lexsort(objectives_NM.T[::-1])
    rows = objectives_NM[order]
    if rows.shape[1] <= 2:  # sorted by the first, a row is on the front when it lowers the second
        second = rows[:, -1]
        before = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
        return order[second < before] if rows.shape[1] == 2 else order[:1]
    kept = []
    while len(order):
        kept.append(order[0])
        better = (rows < rows[0]).any(1)  # what is not better anywhere is dominated by or equal to this row
        order, rows = order[better], rows[better]
    return np.array(kept, np.int64)


def ranks(objectives_NM: Floats) -> NDArray[np.int64]:
    """Return the number of the front each row belongs to: 0 where nothing dominates it, and so on."""
    no_worse = np.all(objectives_NM[:, None] <= objectives_NM[None], axis=2)
    dominates = no_worse & ~no_worse.T
    dominators = dominates.sum(0)
    rank = np.full(len(objectives_NM), -1)
    level = 0
    while (rank < 0).any():
        current = (dominators == 0) & (rank < 0)
        rank[current] = level
        dominators = dominators - dominates[current].sum(0)
        level += 1
    return rank


def crowding(objectives_NM: Floats) -> Floats:
    """Return how far the neighbours of each row are along its front, summed over objectives; ends are infinite."""
    distance = np.zeros(len(objectives_NM))
    for values in objectives_NM.T:
        order = np.argsort(values, kind="stable")
        distance[order[[0, -1]]] = np.inf
        width = values[order[-1]] - values[order[0]]
        if width > 0:
            distance[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / width
    return distance


def hypervolume(objectives_NM: Floats, reference_M: Floats) -> float:
    """Return the volume dominated within the box below a reference point, exactly.

    By slicing along the last objective; Zitzler and Thiele 1998, doi:10.1007/BFb0056872.
    """
    inside = objectives_NM[(objectives_NM < reference_M).all(1)]
    if not len(inside):
        return 0.0
    if inside.shape[1] == 1:
        return float(reference_M[0] - inside.min())
    inside = inside[np.argsort(inside[:, -1], kind="stable")]
    edges = np.append(inside[:, -1], reference_M[-1])
    volume = 0.0
    for count in range(1, len(inside) + 1):
        thickness = edges[count] - edges[count - 1]
        if thickness > 0:
            slab = inside[:count, :-1]
            volume += thickness * hypervolume(slab[front(slab)], reference_M[:-1])
    return volume
