"""Progressive shrinking: the largest network first, then ever smaller ones, distilled from the largest.

Once-for-all, Cai et al. 2020, arXiv:1908.09791, Section 3.3.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.models.space import SearchSpace
from netwright.training.lesson import Lesson, Stage
from netwright.training.method import Method, sample
from netwright.training.recipe import Recipe

# Fields set free, share of the epochs, networks a step (the paper's 1, 1, 2, 4), one row a stage.
STAGES = (
    ("largest", ("resolution",), 0.4, 1),
    ("kernel", ("kernels",), 0.15, 1),
    ("depth", ("depths",), 0.2, 2),
    ("width", ("expansions", "widths", "heads"), 0.25, 4),
)


def stages(space: SearchSpace, recipe: Recipe) -> list[Stage]:
    """Return the stages; one whose fields have no choice in this space is left out.

    Raises:
        NetwrightError: the recipe splits its epochs into another number of stages.
    """
    shares = recipe.stages or tuple(share for _, _, share, _ in STAGES)
    if len(shares) != len(STAGES):
        names = ", ".join(name for name, *_ in STAGES)
        raise NetwrightError(f"Recipe: stages has {len(shares)} shares; progressive takes {len(STAGES)}: {names}.")
    result: list[Stage] = []
    elastic: tuple[str, ...] = ()
    for (name, fields, _, subnets), share in zip(STAGES, shares, strict=True):
        choices = [len(options) for field, _, options in space.positions if field in fields]
        if result and max(choices, default=1) == 1:
            continue
        elastic += fields
        subnets = min(subnets, recipe.subnets_per_step)
        stage = Stage(name, share, elastic, subnets, bool(result), name == "width")
        result.append(stage)
    return result


def lessons(space: SearchSpace, stage: Stage, rng: np.random.Generator) -> list[Lesson]:
    """Return random networks of the stage, all at the resolution of the first, so that the teacher answers once."""
    archs = sample(space, stage.elastic, rng, stage.subnets)
    target = "teacher" if stage.distils else "labels"
    return [Lesson(dataclasses.replace(arch, resolution=archs[0].resolution), target) for arch in archs]


PROGRESSIVE = Method(stages, lessons, supernets_only=True)
