"""The training loop: for each step a batch, the networks the method chose, losses, gradients, one update.

One loop serves supernets and single networks; what differs is in the recipe's method.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from netwright.core.arch import Arch
from netwright.core.errors import NetwrightError
from netwright.core.run import Run
from netwright.core.seeds import derive_seed
from netwright.core.state import save_state
from netwright.data import Dataset, Loader, augment_for
from netwright.supernet.space import SearchSpace
from netwright.supernet.supernet import Supernet
from netwright.train.distributed import Group, processes
from netwright.train.evaluate import accuracy, landmarks, subnet_accuracy
from netwright.train.method import Lesson
from netwright.train.methods import METHODS
from netwright.train.monitor import Monitor
from netwright.train.recipe import Recipe
from netwright.train.schedule import Schedule
from netwright.train.training import Training


@dataclass(frozen=True)
class Task:
    """What trains: a module, how one arch of it runs, and how it is evaluated."""

    module: nn.Module
    run_arch: Callable[[Tensor, Arch], Tensor]
    space: SearchSpace
    evaluate: Callable[[], dict[str, float]]
    teacher: nn.Module | None = None


def train_supernet(supernet: Supernet, dataset: Dataset, recipe: Recipe, run: Run | None = None) -> None:
    """Train the shared weights in place, on a GPU where there is one; resume where the run has a checkpoint.

    At the end the supernet, and `model.safetensors` of the run, hold the averaged weights.

    Raises:
        NetwrightError: training diverged, or the run's checkpoint is damaged.
    """

    def evaluate() -> dict[str, float]:
        archs = landmarks(supernet.family.space)
        count = recipe.calibration_images
        return {
            name: subnet_accuracy(supernet, arch, dataset, calibration_images=count) for name, arch in archs.items()
        }

    _train(Task(supernet, supernet, supernet.family.space, evaluate), dataset, recipe, run)


def train_network(
    net: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    resolution: int,
    run: Run | None = None,
    teacher: nn.Module | None = None,
) -> None:
    """Train one network in place, as `train_supernet` does; a frozen teacher sees the same batches.

    Raises:
        NetwrightError: the recipe's method is not static; training diverged; the checkpoint is damaged.
    """
    if recipe.method != "static":
        raise NetwrightError(f"One network trains with method static or a recipe of it, not {recipe.method!r}.")

    def evaluate() -> dict[str, float]:
        device = next(net.parameters()).device
        shared = {"mean": dataset.mean, "std": dataset.std, "resolution": resolution, "device": device}
        return {"network": accuracy(net, dataset.val, **shared)}

    space = SearchSpace("network", (resolution,))
    _train(Task(net, lambda x_BCHW, arch: net(x_BCHW), space, evaluate, teacher), dataset, recipe, run)


def _train(task: Task, dataset: Dataset, recipe: Recipe, run: Run | None) -> None:
    method = METHODS[recipe.method]
    with processes() as group, torch.random.fork_rng(devices=[group.device] if group.device.type == "cuda" else []):
        loader = _loader(dataset, recipe, group)
        schedule = Schedule.of(method.stages(task.space, recipe), recipe, loader.steps_per_epoch // recipe.accumulate)
        training = Training(task.module, recipe, group.device, task.teacher)
        group.agree(task.module)
        monitor = Monitor(schedule, run if group.first else None, group.first)
        task.module.train()
        while training.step < schedule.steps:
            step = training.step
            span = schedule.span(step)
            if step == span.start:
                training.begin(span)
                if training.teacher is not None:
                    group.agree(training.teacher)
            lessons = method.lessons(
                task.space, span.stage, np.random.default_rng(derive_seed(recipe.seed, "archs", step))
            )
            torch.manual_seed(derive_seed(recipe.seed, "step", step, group.rank))  # dropout; so no random state is kept
            loss = _learn(task, training, lessons, loader, schedule.epoch(step))
            loss = group.average(task.module.parameters(), loss[None])[0]
            training.update(schedule.learning_rate(step), step - span.start)
            monitor.step(step, loss)
            if group.first and schedule.due(step, recipe.evaluate_every):
                started = time.monotonic()
                with training.averaged_weights():
                    monitor.evaluated(step, task.evaluate())
                task.module.train()
                monitor.skip_time(started)
        training.finish()
        if run and group.first:
            save_state(run.path / "model.safetensors", task.module.state_dict())


def _learn(task: Task, training: Training, lessons: list[Lesson], loader: Loader, at: tuple[int, int]) -> Tensor:
    """Leave the gradients of all lessons on all parts of a batch; return their mean loss."""
    recipe = training.recipe
    epoch, step = at
    total = torch.zeros((), device=training.device)
    for part in range(recipe.accumulate):
        batches: dict[int, tuple[Tensor, Tensor]] = {}
        answers: dict[tuple[str, int], Tensor] = {}  # soft targets by (who gave them, at which resolution)
        for lesson in lessons:
            resolution = lesson.arch.resolution
            if resolution not in batches:
                x_BCHW, y_B = loader.batch(epoch, step * recipe.accumulate + part, resolution)
                batches[resolution] = x_BCHW.contiguous(memory_format=torch.channels_last), y_B
            x_BCHW, y_B = batches[resolution]
            with training.autocast():
                soft_BK = None
                if lesson.target == "teacher" and training.teacher is not None:
                    if ("teacher", resolution) not in answers:
                        with torch.no_grad():
                            answers["teacher", resolution] = training.teacher(x_BCHW).float().softmax(1)
                    soft_BK = answers["teacher", resolution]
                elif lesson.target == "first":
                    soft_BK = answers["first", 0]
                logits_BK = task.run_arch(x_BCHW, lesson.arch)
            answers.setdefault(("first", 0), logits_BK.detach().float().softmax(1))
            loss = objective(logits_BK.float(), y_B, soft_BK, recipe) / (len(lessons) * recipe.accumulate)
            training.scaler.scale(loss).backward()
            total += loss.detach()
    return total


def objective(logits_BK: Tensor, y_B: Tensor, soft_BK: Tensor | None, recipe: Recipe) -> Tensor:
    """Return cross entropy with the labels and, by the distillation weight, with soft targets [B, K]."""
    share = recipe.distillation_weight if soft_BK is not None else 0.0
    loss = torch.zeros((), device=logits_BK.device)
    if share < 1:
        loss = (1 - share) * functional.cross_entropy(logits_BK, y_B, label_smoothing=recipe.label_smoothing)
    if share > 0:
        loss = loss + share * functional.cross_entropy(logits_BK, soft_BK)
    return loss


def _loader(dataset: Dataset, recipe: Recipe, group: Group) -> Loader:
    parts = recipe.accumulate * group.size
    if recipe.batch_size % parts:
        raise NetwrightError(
            f"batch_size {recipe.batch_size} cannot be cut into {recipe.accumulate} parts for each of {group.size} "
            f"processes: make it a multiple of {parts}."
        )
    augment = augment_for(dataset)
    if recipe.augment != "auto":
        augment = dataclasses.replace(augment, kind=recipe.augment, flip=augment.flip and recipe.augment != "none")
    loader = Loader(
        dataset.train,
        batch_size=recipe.batch_size // parts,
        mean=dataset.mean,
        std=dataset.std,
        augment=augment,
        seed=derive_seed(recipe.seed, "batches"),
        rank=group.rank,
        world_size=group.size,
        device=group.device,
    )
    if loader.steps_per_epoch < recipe.accumulate:
        raise NetwrightError(
            f"{len(dataset.train)} training images are fewer than one batch of {recipe.batch_size} in "
            f"{recipe.accumulate} parts. Choose a smaller batch_size or accumulate."
        )
    return loader
