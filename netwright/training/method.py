"""What a method of training decides: its stages, and which networks learn in a step and from what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from netwright.models.arch import Arch
from netwright.models.space import SearchSpace
from netwright.training.recipe import Recipe


@dataclass(frozen=True)
class Lesson:
    """One network's part in a step.

    Attributes:
        arch: the network that learns; its resolution is that of the batch.
        target: learn from the labels; or also, by the recipe's distillation weight, from the soft answers of
            the step's first network (in place) or of the frozen teacher.
    """

    arch: Arch
    target: Literal["labels", "first", "teacher"] = "labels"


@dataclass(frozen=True)
class Stage:
    """A part of training with a learning rate schedule of its own.

    Attributes:
        share: of the epochs, relative to the other stages.
        elastic: fields of Arch that vary; the others stay at the largest network's.
        subnets: networks that learn in one step.
        distils: a frozen copy of the largest network, made when the first such stage begins, teaches.
        sorts_channels: put channels in order of importance when the stage begins.
    """

    name: str
    share: float
    elastic: tuple[str, ...]
    subnets: int = 1
    distils: bool = False
    sorts_channels: bool = False


@dataclass(frozen=True)
class Method:
    """Two functions: the stages of a training, and the lessons of one step (pure: all chance comes from the rng)."""

    stages: Callable[[SearchSpace, Recipe], list[Stage]]
    lessons: Callable[[SearchSpace, Stage, np.random.Generator], list[Lesson]]


ALL_FIELDS = ("resolution", "depths", "kernels", "expansions", "widths", "heads")


def sample(space: SearchSpace, elastic: tuple[str, ...], rng: np.random.Generator, count: int) -> list[Arch]:
    """Return random archs that equal the largest one in every field that is not elastic."""
    genes = space.sample(rng, count)
    fixed = np.array([field not in elastic for field, _, _ in space.positions])
    genes = space.canonical(np.where(fixed, space.sizes - 1, genes))
    return [space.decode(row) for row in genes]


def one_stage(space: SearchSpace, recipe: Recipe) -> list[Stage]:
    """Everything elastic from the first step to the last."""
    return [Stage("all", 1.0, ALL_FIELDS, recipe.subnets_per_step)]
