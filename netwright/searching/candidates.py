"""What the strategies share: candidates within the limits, none evaluated twice, and the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.core.seeds import derive_seed
from netwright.models.space import Genes, SearchSpace
from netwright.searching.limits.budget import Limit, costs_of
from netwright.searching.limits.reach import reach
from netwright.searching.pareto import front
from netwright.searching.score import Floats, Score, SearchStopped, checked_scores

Propose = Callable[[int], Genes]

_BATCH = 8192
_PATIENCE = 6  # batches without anything new
_ENUMERABLE = 100_000  # combinations of genes


@dataclass(frozen=True)
class Result:
    """Everything a search evaluated, best score first.

    `genes` [N, G]; `scores` [N], higher is better; `costs` [N, L], one column a limit; `history`, one record a
    generation: how many were evaluated so far, and the best score.
    """

    genes: Genes
    scores: Floats
    costs: Floats
    history: tuple[dict[str, float], ...]

    @property
    def evaluated(self) -> int:
        """How many candidates were evaluated; no two are equal."""
        return len(self.genes)

    def front(self) -> NDArray[np.int64]:
        """Return the rows that no other row beats in score and all costs at once, best score first."""
        return front(np.column_stack([-self.scores, self.costs]))


class Candidates:
    """The record of one search: proposals pass through it, and only new ones within the limits are evaluated."""

    def __init__(self, space: SearchSpace, score: Score, limits: Sequence[Limit], seed: int):
        self.space = space
        self.rng = np.random.default_rng(derive_seed("search", seed))
        self._score = score
        self._limits = tuple(limits)
        self._bounds = np.array([limit.bound for limit in limits])
        self._anchor = reach(space, limits, self.rng)
        self._seen: set[bytes] = set()
        self._genes: list[Genes] = []
        self._scores: list[Floats] = []
        self._costs: list[Floats] = []
        self._history: list[dict[str, float]] = []
        self._patience = _PATIENCE
        self._stopped = False
        self._rest = self._enumerate()

    def random(self, count: int) -> Genes:
        """Propose archs uniformly."""
        return self.space.sample(self.rng, count)

    def collect(self, propose: Propose, count: int) -> tuple[Genes, Floats]:
        """Return up to `count` new archs within the limits, and their costs; fewer only when no more turn up.

        Proposals are drawn and filtered in large batches. Where fewer than one in 20 passes, half of the next batch
        is drawn towards a network known to fit; in a space that can be enumerated the rest is drawn from what is left.
        Once the search was stopped there are none.
        """
        if self._stopped:
            return self._anchor[None][:0], np.zeros((0, len(self._limits)))
        found: list[Genes] = []
        missing, batch, poor, idle = count, 2 * count, False, 0
        while missing > 0 and idle < self._patience:
            proposals = propose(batch)
            if poor:
                proposals = np.concatenate([self._towards_anchor(proposals), proposals])
            fresh = self._fresh(proposals, missing)
            poor = poor or len(fresh) < len(proposals) / 20
            idle = 0 if len(fresh) else idle + 1
            missing -= len(fresh)
            found.append(fresh)
            batch = min(_BATCH, 2 * batch)
            if poor and self._rest is not None:
                self._rest = self._rest[~self._met(self._rest)]
                fresh = self._fresh(self.rng.permutation(self._rest), missing)
                missing -= len(fresh)
                found.append(fresh)
                break
        if missing:
            self._patience = 2  # nearly everything within the limits was met: later generations give up sooner
        genes = np.concatenate(found)
        return genes, costs_of(self._limits, genes)

    def evaluate(self, genes: Genes, costs: Floats) -> Floats:
        """Score what `collect` returned, keep it, and note the generation.

        Raises:
            NetwrightError: the score is not one finite number an arch.
        """
        scores = np.zeros(0)
        if len(genes):
            try:
                scores = self._score(genes)
            except SearchStopped as stopped:
                scores, self._stopped = stopped.scores, True
        scores = checked_scores(scores, len(genes))
        self._genes.append(genes)
        self._scores.append(scores)
        self._costs.append(costs)
        count = sum(map(len, self._genes))
        best = max((float(s.max()) for s in self._scores if len(s)), default=float("nan"))
        self._history.append({"evaluated": count, "best": best})
        return scores

    def result(self) -> Result:
        """Return everything evaluated, best score first; equal scores in the order of evaluation."""
        genes, scores, costs = np.concatenate(self._genes), np.concatenate(self._scores), np.concatenate(self._costs)
        order = np.argsort(-scores, kind="stable")
        return Result(genes[order], scores[order], costs[order], tuple(self._history))

    def _enumerate(self) -> Genes | None:
        """Return every arch within the limits, where that is cheap."""
        count = math.prod(int(size) for size in self.space.sizes)
        if count > _ENUMERABLE:
            return None
        every = self.space.canonical(np.stack(np.unravel_index(np.arange(count), self.space.sizes), 1))
        within = every[(costs_of(self._limits, every) <= self._bounds).all(1)]
        return np.unique(within, axis=0)

    def _met(self, genes: Genes) -> NDArray[np.bool_]:
        return np.array([key in self._seen for key in _keys(genes)], bool)

    def _fresh(self, genes: Genes, most: int) -> Genes:
        """Return the first rows that are within the limits and new, and note them as met."""
        for limit in self._limits:  # one after the other: the last may be dear to tell
            genes = genes[limit.table(genes) <= limit.bound]
        kept = []
        for at, key in enumerate(_keys(genes)):
            if len(kept) == most:
                break
            if key not in self._seen:
                self._seen.add(key)
                kept.append(at)
        return genes[kept]

    def _towards_anchor(self, genes: Genes) -> Genes:
        """Take a share of the positions, another for each arch, from the network known to fit."""
        take = self.rng.random(genes.shape) < self.rng.random((len(genes), 1))
        return self.space.canonical(np.where(take, self._anchor, genes))


def _keys(genes: Genes) -> list[bytes]:
    rows = np.ascontiguousarray(genes, np.uint16)
    return rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel().tolist()
