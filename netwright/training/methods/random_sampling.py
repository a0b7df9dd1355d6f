"""Random networks that learn from the labels: the baseline that other methods are measured against."""

from __future__ import annotations

import numpy as np

from netwright.models.space import SearchSpace
from netwright.training.lesson import Lesson, Stage
from netwright.training.method import Method, one_stage, sample


def lessons(space: SearchSpace, stage: Stage, rng: np.random.Generator) -> list[Lesson]:
    """Return networks drawn uniformly over the choices of every position."""
    return [Lesson(arch) for arch in sample(space, stage.elastic, rng, stage.subnets)]


RANDOM = Method(one_stage, lessons, supernets_only=True)
