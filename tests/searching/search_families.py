"""Small families whose spaces can be enumerated, and scores to search them by."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.core.seeds import derive_seed
from netwright.models.arch import Arch
from netwright.models.family import Family
from netwright.models.mobilenet import MobileConfig, Stage, mobile_blocks
from netwright.models.space import Genes, SearchSpace
from netwright.nn.block import Block, Shape


def small_family() -> Family:
    """1,600 networks of two stages."""
    stages = (Stage(16, 1, "relu", blocks=2), Stage(24, 2, "hswish", True, blocks=2))
    config = MobileConfig(4, 8, 2, "relu", 8, stages, 32, 16)
    space = SearchSpace("small", (16, 24), ((1, 2),) * 2, ((3, 5),) * 4, ((2, 4),) * 4, ((0.5, 1.0),))
    return Family(space, functools.partial(mobile_blocks, config))


@dataclass(frozen=True)
class Weighted(Block):
    """A block that only has a price."""

    price: float

    def out_shape(self, in_shape: Shape) -> Shape:
        return in_shape

    def macs(self, in_shape: Shape) -> int:
        return round(self.price * in_shape[1])


def chain_family(seed: int, stages: int = 4) -> Family:
    """Random prices in which each stage depends on its own width and on the one before, as in ResNets."""
    space = SearchSpace(
        f"chain{seed}", (8, 16), ((1, 2),) * stages, (), ((1, 2, 3),) * (2 * stages), ((1.0, 2.0),) * (stages + 1)
    )

    def blocks(arch: Arch) -> dict[str, Block]:
        made: dict[str, Block] = {"stem": _weighted(seed, "stem", arch.widths[0])}
        for stage, depth in enumerate(arch.depths):
            for index in range(depth):
                entry = arch.widths[stage + (index > 0)]
                key = (stage, index, entry, arch.widths[stage + 1], arch.expansions[2 * stage + index])
                made[f"stage{stage}.{index}"] = _weighted(seed, *key)
        return made

    return Family(space, blocks)


def _weighted(*key: float | str) -> Weighted:
    return Weighted(float(np.random.default_rng(derive_seed(*key)).integers(-20, 100)))


def enumerate_space(space: SearchSpace) -> Genes:
    """Return every arch once."""
    grid = np.array(list(itertools.product(*(range(size) for size in space.sizes))))
    return np.unique(space.canonical(grid), axis=0)


def bumpy_score(space: SearchSpace, seed: int = 0):
    """A score with interactions between positions, rounded so that the size of a batch does not show."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(int(space.sizes.sum()), 12))
    out = rng.normal(size=12)

    def score(genes: Genes) -> NDArray[np.float64]:
        return (np.tanh(space.features(genes) @ mix / 2) @ out).round(9)

    return score
