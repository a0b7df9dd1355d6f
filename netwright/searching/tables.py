"""Additive cost tables: what every network of a space costs, as a few array look-ups."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.models.family import Family, Price
from netwright.models.space import Genes
from netwright.nn.block import Block, Shape
from netwright.searching.layout import Layout
from netwright.searching.minimum import Factor, minimize_sum, spread

_CHUNK = 4096  # rows at a time, so that indices and values stay in the CPU's cache
_MERGED = 8192  # entries of a merged table; 64 KB


class AdditiveTable:
    """cost(arch) = offset + sum over its blocks of price(block, *input shapes), for whole populations.

    Each distinct block is priced once. `layout` may be taken from another table of the same family, which makes
    a second cost cheap. Attributes: `factors`, one small array a slot.

    Raises:
        NetwrightError: a price is not a finite number, or the family's blocks cannot be tabulated.
    """

    exact = True  # sums of `factors` are the cost itself, up to a constant

    def __init__(self, family: Family, price: Price, offset: float = 0.0, *, layout: Layout | None = None):
        self.family = family
        self.offset = float(offset)
        self.layout = layout or Layout(family)
        prices = np.array([0.0 if key is None else float(price(*key)) for key in self.layout.keys])
        if not np.isfinite(prices).all():
            bad = self.layout.keys[int(np.flatnonzero(~np.isfinite(prices))[0])]
            raise NetwrightError(f"The price of {bad} is not a finite number. Every block needs a price.")
        self.factors: list[Factor] = [
            (columns, prices[ids]) for columns, ids in zip(self.layout.columns, self.layout.ids, strict=True)
        ]
        self._prepare()

    def __call__(self, genes: Genes) -> NDArray[np.float64]:
        """Return the cost of each row of genes [N, G]."""
        costs = np.empty(len(genes))
        for start in range(0, len(genes), _CHUNK):
            rows = genes[start : start + _CHUNK].astype(self._strides.dtype)
            index = (rows @ self._strides + self._starts).astype(np.intp)
            costs[start : start + _CHUNK] = self._values.take(index).sum(1)
        return costs + self.offset

    @functools.cached_property
    def least(self) -> tuple[float, Genes]:
        """The exact least cost of the space, and an arch that reaches it."""
        value, genes = minimize_sum(self.factors, self.family.space.sizes)
        return value + self.offset, self.family.space.canonical(genes[None])[0]

    def minimum(self) -> tuple[float, Genes]:
        """Return the exact least cost of the space, and the genes of an arch that reaches it."""
        return self.least

    def _prepare(self) -> None:
        """Lay the merged factors end to end, so that one matrix product gives every position to look up."""
        sizes = self.family.space.sizes
        merged = _merge(self.factors, sizes)
        strides = np.zeros((len(sizes), len(merged)), np.int64)
        for number, (columns, values) in enumerate(merged):
            strides[list(columns), number] = np.array(values.strides, np.int64) // values.itemsize
        lengths = np.array([values.size for _, values in merged])
        exact = np.float32 if lengths.sum() < 2**24 else np.float64  # matrix products of integers must be exact
        self._strides = strides.astype(exact)
        self._starts = (lengths.cumsum() - lengths).astype(exact)
        self._values = np.concatenate([values.ravel() for _, values in merged])


class MaxTable:
    """cost(arch) = greatest of price(block, *input shapes) over its blocks: peak memory, block by block.

    Attributes: `factors`, one small array a slot, as in `AdditiveTable`.

    Raises:
        NetwrightError: a price is not a finite number of at least 0, or the family's blocks cannot be tabulated.
    """

    exact = True  # sums of `excess_factors` are the excess itself

    def __init__(self, family: Family, price: Price, *, layout: Layout | None = None):
        self.family = family
        self.layout = layout or Layout(family)
        prices = np.array([0.0 if key is None else float(price(*key)) for key in self.layout.keys])
        if not (np.isfinite(prices) & (prices >= 0)).all():
            bad = self.layout.keys[int(np.flatnonzero(~(np.isfinite(prices) & (prices >= 0)))[0])]
            raise NetwrightError(f"The price of {bad} is not a finite number of at least 0. Every block needs a price.")
        self.factors: list[Factor] = [
            (columns, prices[ids]) for columns, ids in zip(self.layout.columns, self.layout.ids, strict=True)
        ]

    def __call__(self, genes: Genes) -> NDArray[np.float64]:
        """Return the cost of each row of genes [N, G]."""
        return self.by_slot(genes).max(1)

    def by_slot(self, genes: Genes) -> NDArray[np.float64]:
        """Return the price of what each slot holds, for each row of genes: [N, slots], 0 where it holds nothing."""
        found = np.empty((len(genes), len(self.factors)))
        for slot, (columns, values) in enumerate(self.factors):
            found[:, slot] = values[tuple(genes[:, list(columns)].T)]
        return found

    def excess(self, genes: Genes, bound: float) -> NDArray[np.float64]:
        """Return what the slots exceed a bound by, added up: 0 exactly for the rows within it."""
        return np.maximum(self.by_slot(genes) - bound, 0).sum(1)

    def excess_factors(self, bound: float) -> list[Factor]:
        """Return `excess` as a sum of small arrays."""
        return [(columns, np.maximum(values - bound, 0)) for columns, values in self.factors]

    def minimum(self) -> tuple[float, Genes]:
        """Return the exact least cost of the space, and the genes of an arch that reaches it: bisection over the prices."""
        values = np.unique(np.concatenate([values.ravel() for _, values in self.factors]))
        low, high = 0, len(values) - 1
        while low < high:
            middle = (low + high) // 2
            if self._within(values[middle])[0] <= 0:
                high = middle
            else:
                low = middle + 1
        genes = self._within(values[low])[1]
        return float(values[low]), self.family.space.canonical(genes[None])[0]

    def _within(self, bound: float) -> tuple[float, Genes]:
        return minimize_sum(self.excess_factors(bound), self.family.space.sizes)


def _merge(factors: list[Factor], sizes: Genes) -> list[Factor]:
    """Add up tables while the joint one stays small: fewer look-ups a network."""
    merged: list[Factor] = []
    for columns, values in sorted(factors, key=lambda factor: (-factor[1].size, factor[0])):
        sums = [tuple(sorted({*columns, *other})) for other, _ in merged]
        joint = [math.prod(int(sizes[c]) for c in union) for union in sums]
        best = min(range(len(merged)), key=lambda at: joint[at], default=None)
        if best is None or joint[best] > max(_MERGED, merged[best][1].size):
            merged.append((columns, np.ascontiguousarray(values)))
            continue
        total = spread(merged[best], sums[best]) + spread((columns, values), sums[best])
        merged[best] = (sums[best], np.ascontiguousarray(total))
    return merged


def macs_price(block: Block, *in_shapes: Shape) -> float:
    """Price a block by its multiply-accumulates."""
    return block.macs(*in_shapes)


def params_price(block: Block, *in_shapes: Shape) -> float:
    """Price a block by its number of parameters."""
    return block.params()
