"""The arena of whole populations: by the blocks' table where that fits, by the plan of the whole network where not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netwright.mcu.price.chain import chain_memory
from netwright.models.family import Family
from netwright.models.space import Genes
from netwright.searching.layout import Layout
from netwright.searching.limits.mcu_prices import McuPrices
from netwright.searching.tables import MaxTable


class ArenaTable(MaxTable):
    """Bytes of arena of networks, no more than these: the costliest block's, which is enough to know where it fits a bound.

    Blocks that stream together can need less than any of them alone; that is asked only of networks that the blocks' table
    puts beyond `bound`, and remembered. Where blocks read others than the one before, values live across the blocks
    between, and every network is planned.
    """

    exact = False

    def __init__(self, family: Family, prices: McuPrices, bound: float, *, layout: Layout | None = None):
        super().__init__(family, prices.memory_bytes, layout=layout)
        self._bound = bound
        self._mode = "stream" if prices.stream else "layers"
        self._whole: dict[bytes, int] = {}

    def __call__(self, genes: Genes) -> NDArray[np.float64]:
        """Return the bytes of each row of genes [N, G]."""
        if self.layout.branches:
            return np.array([float(self._planned(row)) for row in genes])
        costs = super().__call__(genes)
        for row in np.flatnonzero(costs > self._bound):
            costs[row] = min(costs[row], self._planned(genes[row]))
        return costs

    def excess(self, genes: Genes, bound: float) -> NDArray[np.float64]:
        """Return what the slots exceed a bound by, added up; 0 for rows that fit as a whole."""
        planned = self(genes)
        least = planned - bound if self.layout.branches else 0.0
        return np.where(planned <= bound, 0.0, np.maximum(super().excess(genes, bound), least))

    def minimum(self) -> tuple[float, Genes]:
        """Return the least bytes that are known to be reachable, and an arch that reaches them."""
        value, genes = super().minimum()
        planned = float(self._planned(genes))
        return planned if self.layout.branches else min(value, planned), genes

    def _planned(self, genes: Genes) -> int:
        key = genes.tobytes()
        if key not in self._whole:
            arch = self.family.space.decode(genes)
            shape = (3, arch.resolution, arch.resolution)
            self._whole[key] = chain_memory(self.family.blocks(arch), shape, mode=self._mode)
        return self._whole[key]
