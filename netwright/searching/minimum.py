"""The exact least value of a sum of small tables: min-sum variable elimination.

Dechter 1999, "Bucket elimination: a unifying framework for reasoning", Artificial Intelligence 113.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.models.space import Genes

Factor = tuple[tuple[int, ...], NDArray[np.float64]]  # columns in rising order, values over their choices
LARGEST_FACTOR = 20_000_000


def minimize_sum(factors: Sequence[Factor], sizes: Genes) -> tuple[float, Genes]:
    """Return the least sum over all genes, and genes that reach it.

    The variable whose removal makes the smallest new table is removed first, so private genes vanish
    inside their own slot and a chain of slots costs the square of one stage's choices.

    Raises:
        NetwrightError: the tables are so entangled that a joint one would not fit in memory.
    """
    pending = list(factors)
    removed: list[tuple[int, tuple[int, ...], NDArray[np.int64]]] = []
    left = set(range(len(sizes)))
    while left:
        column = min(left, key=lambda c: (_joint_size(_union(pending, c), sizes), c))
        columns = _union(pending, column)
        if _joint_size(columns, sizes) > LARGEST_FACTOR:
            raise NetwrightError(f"The least cost cannot be found: {len(columns)} positions depend on each other.")
        joint = sum(
            (spread(factor, columns) for factor in pending if column in factor[0]),
            start=np.zeros([int(sizes[c]) for c in columns]),
        )
        pending = [factor for factor in pending if column not in factor[0]]
        axis = columns.index(column)
        rest = columns[:axis] + columns[axis + 1 :]
        removed.append((column, rest, joint.argmin(axis)))
        pending.append((rest, joint.min(axis)))
        left.remove(column)
    genes = np.zeros(len(sizes), np.int64)
    for column, rest, choice in reversed(removed):
        genes[column] = choice[tuple(genes[list(rest)])]
    return float(sum(values for _, values in pending)), genes


def spread(factor: Factor, columns: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the values as an array that broadcasts over more columns."""
    own, values = factor
    return values.reshape([values.shape[own.index(c)] if c in own else 1 for c in columns])


def _union(factors: Sequence[Factor], column: int) -> tuple[int, ...]:
    together = {column}.union(*(columns for columns, _ in factors if column in columns))
    return tuple(sorted(together))


def _joint_size(columns: Sequence[int], sizes: Genes) -> int:
    return math.prod(int(sizes[c]) for c in columns)
