"""An architecture within all limits, or the proof that there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.models.space import Genes, SearchSpace
from netwright.searching.limits.budget import Limit, costs_of
from netwright.searching.minimum import minimize_sum
from netwright.searching.variation import mutate

_ROUNDS = 25


class OutOfReach(NetwrightError):
    """No network holds the limits. `least`: by name, the least value of each limit that cannot be held even alone."""

    def __init__(self, message: str, least: Mapping[str, float]):
        super().__init__(message)
        self.least = dict(least)


def reach(space: SearchSpace, limits: Sequence[Limit], rng: np.random.Generator) -> Genes:
    """Return an arch that holds all limits.

    Each limit alone is decided exactly. Several together are sought by minimising weighted sums of the costs
    (exactly, raising the weight of what is violated), then by mutation; a weighted sum whose minimum exceeds
    its bound proves that no arch exists.

    Raises:
        OutOfReach: there is none, or none was found; names those limits that cannot be held, all where only together
            they cannot, with their least reachable values.
    """
    bounded = [limit for limit in limits if math.isfinite(limit.bound)]
    if not bounded:
        return np.zeros_like(space.sizes)
    least = [limit.table.minimum() for limit in bounded]
    beyond = [value > limit.bound for (value, _), limit in zip(least, bounded, strict=True)]
    if any(beyond):
        raise _beyond(space, bounded, [value for value, _ in least])
    scale = np.array([max(abs(limit.bound), 1e-12) for limit in bounded])

    def violation(genes: Genes) -> NDArray[np.float64]:
        return np.stack([limit.excess(genes) for limit in bounded], 1) / scale

    tried = np.stack([genes for _, genes in least])
    weights = np.full(len(bounded), 1 / len(bounded))
    proven = False
    for _ in range(_ROUNDS):
        if violation(tried).max(1).min() <= 0 or proven:
            break
        factors = [
            (columns, values * weight / size)
            for limit, weight, size in zip(bounded, weights, scale, strict=True)
            for columns, values in limit.factors
        ]
        _, genes = minimize_sum(factors, space.sizes)
        genes = space.canonical(genes[None])
        excess = violation(genes)[0]
        proven = all(limit.table.exact for limit in bounded) and float(weights @ excess) > 1e-9
        tried = np.concatenate([tried, genes])
        weights = weights * np.exp(np.clip(4 * excess, -4, 4))
        weights /= weights.sum()
    for _ in range(0 if proven else _ROUNDS):
        worst = violation(tried).max(1)
        if worst.min() <= 0:
            break
        near = tried[np.argsort(worst, kind="stable")[:20]]
        tried = np.concatenate([near, mutate(space, rng, near.repeat(50, 0), 2 / len(space.sizes))])
    worst = violation(tried).max(1)
    best = tried[worst.argmin()]
    if worst.min() > 0:
        text = _beyond_together(space, bounded, [value for value, _ in least], costs_of(bounded, best[None])[0], proven)
        raise OutOfReach(text, {})
    return best


def _reachable(least: Iterable[tuple[Limit, float]]) -> list[str]:
    return [
        f"{limit.name} at most {limit.text(limit.bound)} (least reachable: {limit.text_above(value)})"
        for limit, value in least
    ]


def _beyond(space: SearchSpace, limits: Sequence[Limit], least: Sequence[float]) -> OutOfReach:
    """Return the error where some limits cannot be held even alone: just those, each with its least reachable value."""
    beyond = [pair for pair in zip(limits, least, strict=True) if pair[1] > pair[0].bound]
    parts = _reachable(beyond)
    advice = "Raise this limit to at least that" if len(parts) == 1 else "Raise these limits to at least those values"
    text = f"No network of space {space.name!r} fits this budget: {'; '.join(parts)}. {advice}."
    return OutOfReach(text, {limit.name: value for limit, value in beyond})


def _beyond_together(
    space: SearchSpace, limits: Sequence[Limit], least: Sequence[float], joint: NDArray[np.float64], proven: bool
) -> str:
    """Write the message where only all limits together cannot be held: with least values and the nearest miss."""
    parts = _reachable(zip(limits, least, strict=True))
    nearest = ", ".join(f"{limit.name} {limit.text(value)}" for limit, value in zip(limits, joint, strict=True))
    how = "fits" if proven else "was found to fit"
    return (
        f"No network of space {space.name!r} {how} all limits together, though each alone can be reached: "
        f"{'; '.join(parts)}. The nearest found has {nearest}. Raise a limit."
    )
