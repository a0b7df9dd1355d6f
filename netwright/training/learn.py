"""The gradients of one step: every network of the step on every part of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from netwright.data import Loader
from netwright.training.evaluate import arguments
from netwright.training.job import Job
from netwright.training.lesson import Lesson
from netwright.training.method import Answer
from netwright.training.mixed_loss import loss_of
from netwright.training.training import Training


def learn(job: Job, training: Training, lessons: list[Lesson], loader: Loader, at: tuple[int, int]) -> Tensor:
    """Leave the gradients of all lessons on all parts of a batch; return their mean loss. `at`: epoch, step of it."""
    recipe = training.recipe
    epoch, step = at
    total = torch.zeros((), device=training.device)
    for part in range(recipe.accumulate):
        batches = _Part(job, training, loader, (epoch, step * recipe.accumulate + part))
        first: Any | None = None
        for lesson in lessons:
            size = lesson.arch.resolution
            inputs, targets = batches.batch(size)
            taught, softened = batches.taught(size, lesson)
            soft = {"labels": None, "first": first, "teacher": softened}[lesson.target]
            with training.autocast():
                outputs = each(Tensor.float, job.run(inputs, lesson.arch))
            if first is None:
                first = job.task.soften(each(Tensor.detach, outputs))
            answer = Answer(job.task, recipe, lesson, outputs, targets, soft, taught, job.extra)
            loss = loss_of(job.method, answer)
            for term in job.terms:
                loss = loss + term(outputs, taught, targets)
            loss = loss / (len(lessons) * recipe.accumulate)
            training.scaler.scale(loss).backward()
            total += loss.detach()
    return total


class _Part:
    """One part of a batch at the resolutions that were asked for, and the teacher's answers to it."""

    def __init__(self, job: Job, training: Training, loader: Loader, at: tuple[int, int]):
        self._job, self._training, self._loader, self._at = job, training, loader, at
        self._batches: dict[int, tuple[tuple[Any, ...], Any]] = {}
        self._taught: dict[int, tuple[Any, Any]] = {}

    def batch(self, size: int) -> tuple[tuple[Any, ...], Any]:
        """Return (inputs, targets) at a resolution."""
        if size not in self._batches:
            inputs, targets = self._job.task.batch(*self._loader.batch(*self._at, size))
            self._batches[size] = arguments(inputs), targets
        return self._batches[size]

    def taught(self, size: int, lesson: Lesson) -> tuple[Any | None, Any | None]:
        """Return the teacher's outputs, also as soft targets; None where it is not needed."""
        teacher = self._training.teacher
        if teacher is None or not (lesson.target == "teacher" or self._job.terms):
            return None, None
        if size not in self._taught:
            with torch.no_grad(), self._training.autocast():
                outputs = each(Tensor.float, teacher(*self.batch(size)[0]))
                self._taught[size] = outputs, self._job.task.soften(outputs)
        return self._taught[size]


def each(function: Callable[[Tensor], Tensor], outputs: Any) -> Any:
    """Apply a function to the tensors of outputs that may be nested in tuples, lists and dicts."""
    if isinstance(outputs, Tensor):
        return function(outputs)
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return type(outputs)(*(each(function, one) for one in outputs))
    if isinstance(outputs, tuple | list):
        return type(outputs)(each(function, one) for one in outputs)
    if isinstance(outputs, dict):
        return {name: each(function, one) for name, one in outputs.items()}
    return outputs
