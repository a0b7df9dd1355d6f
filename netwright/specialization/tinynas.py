"""TinyNAS: choose the search space for a device before searching it.

MCUNet, Lin et al. 2020, arXiv:2007.10319, Section 3.1: among spaces that differ in input resolution and width, the one whose
networks within the device's memory have the most multiply-accumulates holds the most accurate ones. No network is trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.core.seeds import derive_seed
from netwright.models.family import Family
from netwright.models.space import Genes, SearchSpace
from netwright.searching.limits.budget import Limit, costs_of
from netwright.searching.limits.reach import reach
from netwright.searching.tables import AdditiveTable, macs_price

QUANTILES = (0.1, 0.2, 0.5, 0.8, 0.9)
_BATCH = 2000
_BATCHES = 10
_LEAST = 0.05  # of the networks asked for: a space with fewer that fit is not judged


@dataclass(frozen=True)
class Subspace:
    """One resolution and width of a space, and the networks of it that fit.

    `fitting`: share of the networks drawn that hold all limits; `networks`: how many of them the figures are of.
    `mean_macs` and `quantile_macs` (of `QUANTILES`): distribution of their multiply-accumulates.
    """

    resolution: int
    width: float
    fitting: float
    networks: int
    mean_macs: float
    quantile_macs: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)


def choose_space(
    family: Family, limits: Sequence[Limit], *, samples: int = 1000, macs: AdditiveTable | None = None, seed: int = 0
) -> tuple[Subspace, ...]:
    """Return every resolution and width of a family of which networks fit, the best first: the most MACs on average.

    `samples` networks that hold the limits are drawn of each, uniformly (fewer where few fit); `macs` may be given where it is
    tabulated already.

    Raises:
        NetwrightError: no network of the family fits; the message names the least reachable values.
    """
    if len(family.space.widths) > 1:
        raise NetwrightError(
            f"Space {family.space.name!r} has {len(family.space.widths)} widths a network; TinyNAS chooses one multiplier."
        )
    reach(family.space, limits, np.random.default_rng(0))
    macs = macs or AdditiveTable(family, macs_price, layout=limits[0].table.layout if limits else None)
    found = []
    for resolution in family.space.resolutions:
        for width in family.space.widths[0] if family.space.widths else (1.0,):
            judged = _judge(family.space, limits, macs, (resolution, width), samples, seed)
            if judged is not None:
                found.append(judged)
    return tuple(sorted(found, key=lambda space: (-space.mean_macs, space.resolution, space.width)))


def restricted(family: Family, subspace: Subspace) -> Family:
    """Return the family with that resolution and width only; its archs are archs of the whole one."""
    widths = ((subspace.width,),) if family.space.widths else ()
    space = dataclasses.replace(family.space, resolutions=(subspace.resolution,), widths=widths)
    return dataclasses.replace(family, space=space)


def within_subspace(space: SearchSpace, genes: Genes, resolution: int, width: float) -> Genes:
    """Return rows of genes of the whole space with resolution and width set."""
    genes = genes.copy()
    for column, (field, _, choices) in enumerate(space.positions):
        if field in ("resolution", "widths"):
            genes[:, column] = choices.index(resolution if field == "resolution" else width)
    return genes


def _judge(
    space: SearchSpace, limits: Sequence[Limit], macs: AdditiveTable, at: tuple[int, float], samples: int, seed: int
) -> Subspace | None:
    """Draw networks of one resolution and width until enough of them fit."""
    rng = np.random.default_rng(derive_seed("tinynas", space.name, str(at), seed))
    bounds = np.array([limit.bound for limit in limits])
    kept: list[NDArray[np.float64]] = []
    drawn = fitting = 0
    for _ in range(_BATCHES):
        genes = within_subspace(space, space.sample(rng, max(samples, _BATCH)), *at)
        fits = (costs_of(limits, genes) <= bounds).all(1)
        drawn, fitting = drawn + len(genes), fitting + int(fits.sum())
        kept.append(macs(genes[fits]))
        if fitting >= samples:
            break
    values = np.concatenate(kept)[:samples]
    if len(values) < max(1, _LEAST * samples):
        return None
    quantiles = tuple(float(value) for value in np.quantile(values, QUANTILES))
    return Subspace(*at, fitting / drawn, len(values), float(values.mean()), quantiles)
