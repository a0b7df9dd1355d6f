"""What trains: a network or a supernet, its task and method, and what is done to it before and while it trains."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.seeds import derive_seed
from netwright.core.tables import name_of
from netwright.data import Dataset, Loader, calibration_batches
from netwright.models.arch import Arch
from netwright.models.space import SearchSpace
from netwright.supernet.supernet import Supernet
from netwright.tasks.task import Task
from netwright.training.change import Change, Example, Objective, Plan, Surgery, Term
from netwright.training.evaluate import arguments
from netwright.training.lesson import Extra
from netwright.training.method import Method
from netwright.training.recipe import Recipe
from netwright.training.schedule import Schedule

WORK_SAMPLES = 8  # steps drawn to tell what a stage costs


@dataclass(frozen=True)
class Job:
    """A training that is about to begin.

    Attributes:
        module: what is trained, evaluated and saved.
        space: what the method draws networks from.
        evaluate: the metric of each watched network of the module.
        teacher: of one network, frozen.
        terms: added to the loss.
        extras: parameters that learn beside the module's.
        extra: that of the method, among them.
        steps_with: computes the steps in place of the module, with the same parameters.
    """

    module: nn.Module
    space: SearchSpace
    task: Task
    method: Method
    evaluate: Callable[[nn.Module], dict[str, float]]
    teacher: nn.Module | None = None
    terms: tuple[Term, ...] = ()
    extras: tuple[Extra, ...] = ()
    extra: nn.Module | None = None
    steps_with: nn.Module | None = None

    def run(self, inputs: tuple[Any, ...], arch: Arch) -> Any:
        """Return the outputs of one network in a step."""
        computes = self.steps_with or self.module
        return computes(*inputs, arch=arch) if isinstance(computes, Supernet) else computes(*inputs)

    def work(self, schedule: Schedule, recipe: Recipe) -> list[float]:
        """Return about what a step of each stage costs, beside the others: in multiply-accumulates an image of a supernet."""
        if len(schedule.spans) == 1 or not isinstance(self.module, Supernet):
            return [1.0] * len(schedule.spans)
        family, rng = self.module.family, np.random.default_rng(0)
        macs = functools.lru_cache(maxsize=None)(family.macs)
        costs = []
        for span in schedule.spans:
            drawn = [self.method.lessons(self.space, span.stage, rng) for _ in range(WORK_SAMPLES)]
            learnt = 3.0 * sum(macs(lesson.arch) for lessons in drawn for lesson in lessons)  # there and back
            taught = [lessons[0].arch.resolution for lessons in drawn if lessons and lessons[0].target == "teacher"]
            largest = self.space.largest()
            asked = taught if span.stage.distils and recipe.distillation_weight else []
            learnt += sum(macs(dataclasses.replace(largest, resolution=size)) for size in asked)
            costs.append(learnt / WORK_SAMPLES or 1.0)
        return costs

    def about(self, changes: Sequence[Change]) -> dict[str, Any]:
        """Return what a checkpoint notes, beside the recipe."""
        return {"task": self.task.name, "changes": [name_of(change) for change in changes]}

    def prepared(self, changes: Sequence[Change], loader: Loader, dataset: Dataset, recipe: Recipe) -> Job:
        """Return the job with the surgery done, and with the parameters of its method and of its loss terms.

        Raises:
            NetwrightError: something that is no change, or surgery on a supernet.
        """
        if recipe.changes and not changes:
            named = ", ".join(str(dict(change)) for change in recipe.changes)
            raise NetwrightError(
                f"The recipe names changes ({named}), and none were given. Pass them as objects: "
                "train_network(..., changes=resolve(recipe.changes, tables)), with resolve of netwright.training.change."
            )
        check_changes(changes, of_supernet=isinstance(self.module, Supernet))
        torch.manual_seed(derive_seed(recipe.seed, "changes"))
        module = self.module
        for change in changes:
            if isinstance(change, Surgery):
                device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
                module = change.change(module, self._example(loader, dataset, device))
        terms = tuple(change.objective(module, self.teacher) for change in changes if isinstance(change, Objective))
        own = self.method.parameters(module, self.space) if self.method.parameters else None
        extras = (*([own] if own else []), *(Extra(term) for term in terms if isinstance(term, nn.Module)))
        extra = own.module if own else None
        return dataclasses.replace(self, module=module, terms=terms, extras=extras, extra=extra)

    def planned(self, changes: Sequence[Change], loader: Loader, dataset: Dataset, device: torch.device) -> Job:
        """Return the job with its steps computed by a plan, if there is one; the module is on the device already."""
        plans = [change for change in changes if isinstance(change, Plan)]
        if not plans:
            return self
        self.module.train()
        return dataclasses.replace(self, steps_with=plans[0].plan(self.module, self._example(loader, dataset, device)))

    def _example(self, loader: Loader, dataset: Dataset, device: torch.device) -> Example:
        resolution = self.space.largest().resolution
        inputs, _ = self.task.batch(*loader.batch(0, 0, resolution))
        on_device = tuple(one.to(device) if isinstance(one, torch.Tensor) else one for one in arguments(inputs))

        def calibration(images: int) -> list[torch.Tensor]:
            return calibration_batches(dataset, resolution=resolution, images=images, device=device)

        return Example(on_device, calibration)


def check_changes(changes: Sequence[Change], *, of_supernet: bool) -> None:
    """Refuse what cannot be done together, or not to what trains.

    Raises:
        NetwrightError: something that is no change, surgery or a plan for a supernet, or two plans.
    """
    for change in changes:
        if not isinstance(change, Surgery | Objective | Plan):
            raise NetwrightError(
                f"{name_of(change)!r} is no change of a network: it has none of the methods change, objective and plan. "
                "training/change.py says what they take and return."
            )
        if of_supernet and isinstance(change, Surgery | Plan):
            raise NetwrightError(
                f"{name_of(change)!r} changes one network; a supernet is many. Train the supernet without it, extract a "
                "network, and apply it there."
            )
    if sum(isinstance(change, Plan) for change in changes) > 1:
        raise NetwrightError("Two plans cannot both decide how a step is computed: give one.")
