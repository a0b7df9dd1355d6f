"""A training method: its stages, which networks learn in a step and from what, and, where it needs them, a loss of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from netwright.models.arch import Arch
from netwright.models.space import SearchSpace
from netwright.tasks.task import Task
from netwright.training.lesson import Extra, Lesson, Stage
from netwright.training.recipe import Recipe
from netwright.training.training import Training


@dataclass(frozen=True)
class Answer:
    """What one network answered to one batch, and what a loss may compare it with.

    Attributes:
        outputs: of the network, in float32.
        targets: of the batch, as the task made them.
        soft: soft targets by the lesson's `target`; None for "labels", or where there is no teacher.
        taught: the teacher's outputs for this batch, if it was asked.
        extra: the parameters of the method, as they are now.
    """

    task: Task
    recipe: Recipe
    lesson: Lesson
    outputs: Any
    targets: Any
    soft: Any | None
    taught: Any | None
    extra: nn.Module | None


@dataclass(frozen=True)
class Method:
    """How a supernet, or one network, trains. The first two functions suffice; a recipe names the method.

    Attributes:
        stages: the stages of a training.
        lessons: the networks of one step. Pure: all chance comes from the generator, so that a training can be resumed.
        loss: the loss of one network, a scalar; None: `mixed_loss.mixed`, the task's with soft targets mixed in.
        parameters: parameters of the method's own, for example of an architecture distribution.
        after: called after every update, with the whole state. What it keeps for later it keeps in tensors of the network or
            of `extras`, which the checkpoint holds; chance it derives from the recipe's seed and the step.
        supernets_only: it makes no sense for one network.
        name: what records call it, where it is passed as an object.
    """

    stages: Callable[[SearchSpace, Recipe], list[Stage]]
    lessons: Callable[[SearchSpace, Stage, np.random.Generator], list[Lesson]]
    loss: Callable[[Answer], Tensor] | None = None
    parameters: Callable[[nn.Module, SearchSpace], Extra] | None = None
    after: Callable[[Training], None] | None = None
    supernets_only: bool = False
    name: str = ""


ALL_FIELDS = ("resolution", "depths", "kernels", "expansions", "widths", "heads")


def sample(space: SearchSpace, elastic: tuple[str, ...], rng: np.random.Generator, count: int) -> list[Arch]:
    """Return random archs that equal the largest one in every field that is not elastic."""
    genes = space.sample(rng, count)
    fixed = np.array([field not in elastic for field, _, _ in space.positions])
    genes = space.canonical(np.where(fixed, space.sizes - 1, genes))
    return [space.decode(row) for row in genes]


def one_stage(space: SearchSpace, recipe: Recipe) -> list[Stage]:
    """Return one stage in which everything is elastic."""
    return [Stage("all", 1.0, ALL_FIELDS, recipe.subnets_per_step)]
