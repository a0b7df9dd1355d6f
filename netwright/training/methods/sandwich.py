"""The sandwich rule with in-place distillation: the largest network learns the labels, the others learn its answers.

BigNAS, Yu et al. 2020, arXiv:2003.11142, Section 3.1.
"""

from __future__ import annotations

import numpy as np

from netwright.models.space import SearchSpace
from netwright.training.lesson import Lesson, Stage
from netwright.training.method import Method, one_stage, sample


def lessons(space: SearchSpace, stage: Stage, rng: np.random.Generator) -> list[Lesson]:
    """Return the largest, the smallest and random networks, each at a resolution of its own."""
    others = [space.smallest(), *sample(space, stage.elastic, rng, max(0, stage.subnets - 2))]
    return [Lesson(space.largest()), *(Lesson(arch, "first") for arch in others)][: stage.subnets]


SANDWICH = Method(one_stage, lessons, supernets_only=True)
