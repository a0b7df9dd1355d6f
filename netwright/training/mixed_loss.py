"""The loss of one network in a step: its task's, with soft targets mixed in, or its method's."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from netwright.tasks.task import Task
from netwright.training.method import Answer, Method
from netwright.training.recipe import Recipe


def mixed_loss(outputs: Any, targets: Any, soft: Any | None, recipe: Recipe, task: Task) -> Tensor:
    """Return the task's loss against the targets and, by the distillation weight, against soft targets."""
    share = recipe.distillation_weight
    if soft is None or share == 0:
        return task.loss(outputs, targets, smoothing=recipe.label_smoothing)
    distilled = task.soft_loss(outputs, soft)
    if share == 1:
        return distilled
    hard = task.loss(outputs, targets, smoothing=recipe.label_smoothing)
    return share * distilled + (1 - share) * hard


def mixed(answer: Answer) -> Tensor:
    """Return the loss of methods that have none of their own."""
    return mixed_loss(answer.outputs, answer.targets, answer.soft, answer.recipe, answer.task)


def loss_of(method: Method, answer: Answer) -> Tensor:
    """Return the method's loss of an answer."""
    return (method.loss or mixed)(answer)
