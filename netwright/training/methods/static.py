"""One network: the largest of a space, or the only one of a network trained alone."""

from __future__ import annotations

import numpy as np

from netwright.models.space import SearchSpace
from netwright.training.lesson import Lesson, Stage
from netwright.training.method import Method
from netwright.training.recipe import Recipe


def stages(space: SearchSpace, recipe: Recipe) -> list[Stage]:
    """Return one stage in which nothing is elastic."""
    return [Stage("all", 1.0, ())]


def lessons(space: SearchSpace, stage: Stage, rng: np.random.Generator) -> list[Lesson]:
    """Return the largest network; it learns from a teacher where one is given."""
    return [Lesson(space.largest(), "teacher")]


STATIC = Method(stages, lessons)
