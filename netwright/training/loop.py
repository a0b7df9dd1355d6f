"""The training loop: for each step a batch, the networks the method chose, losses, gradients, one update.

One loop serves supernets and single networks; what differs is in the recipe's method.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from netwright.core.errors import NetwrightError
from netwright.core.progress import say
from netwright.core.run import Run
from netwright.core.seeds import derive_seed
from netwright.core.state import save_state
from netwright.data import Dataset, Loader, augment_for
from netwright.models.arch import Arch
from netwright.models.space import SearchSpace
from netwright.supernet.supernet import Supernet
from netwright.training import checkpoint
from netwright.training.distributed import Group, processes
from netwright.training.evaluate import accuracy, landmarks, subnet_accuracy
from netwright.training.interrupt import interruptible
from netwright.training.method import Lesson
from netwright.training.methods.table import METHODS
from netwright.training.monitor import Monitor
from netwright.training.recipe import Recipe
from netwright.training.schedule import Schedule
from netwright.training.training import Training


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
    with processes() as group, _own_randomness(group.device), interruptible() as asked:
        loader = _loader(dataset, recipe, group)
        schedule = Schedule.of(method.stages(task.space, recipe), recipe, loader.steps_per_epoch // recipe.accumulate)
        training = Training(task.module, recipe, group.device, task.teacher)
        group.agree(task.module)
        if run and checkpoint.resume(training, run, group.first) and group.first:
            say(f"Resuming {run.path} after step {training.step} of {schedule.steps}.")
        own_run = run if group.first else None  # one process writes
        monitor = Monitor(schedule, own_run, group.first)
        saver = checkpoint.Saver(training, own_run)
        task.module.train()
        while training.step < schedule.steps:
            step = training.step
            span = schedule.span(step)
            if step == span.start:
                training.begin(span)
                group.agree(training.teacher)
            rng = np.random.default_rng(derive_seed(recipe.seed, "archs", step))
            lessons = method.lessons(task.space, span.stage, rng)
            torch.manual_seed(derive_seed(recipe.seed, "step", step, group.rank))  # for dropout
            loss = _learn(task, training, lessons, loader, schedule.epoch(step))
            loss, stop = group.average(task.module.parameters(), loss, bool(asked.signal))
            training.update(schedule.learning_rate(step), step - span.start)
            monitor.step(step, loss)
            started = time.monotonic()
            if group.first and schedule.due(step, recipe.evaluate_every):
                with training.averaged_weights():
                    monitor.evaluated(step, task.evaluate())
                task.module.train()
            if stop or training.step == schedule.steps or saver.due():
                monitor.check()
                saver.save()
            monitor.skip_time(started)
            if stop:
                saver.say_how_to_resume()
                asked.stop()
        training.finish()
        if own_run:
            save_state(own_run.path / "model.safetensors", task.module.state_dict())
        group.wait()  # no process leaves before the files are there


@contextlib.contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Leave the caller's random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _learn(task: Task, training: Training, lessons: list[Lesson], loader: Loader, at: tuple[int, int]) -> Tensor:
    """Leave the gradients of all lessons on all parts of a batch; return their mean loss."""
    recipe, teacher = training.recipe, training.teacher
    epoch, step = at
    total = torch.zeros((), device=training.device)
    for part in range(recipe.accumulate):
        batches: dict[int, tuple[Tensor, Tensor]] = {}
        taught: dict[int, Tensor] = {}  # the teacher's answers, by resolution
        first_BK: Tensor | None = None
        for lesson in lessons:
            size = lesson.arch.resolution
            if size not in batches:
                x_BCHW, y_B = loader.batch(epoch, step * recipe.accumulate + part, size)
                batches[size] = x_BCHW.contiguous(memory_format=torch.channels_last), y_B
            x_BCHW, y_B = batches[size]
            if lesson.target == "teacher" and teacher is not None and size not in taught:
                with torch.no_grad(), training.autocast():
                    taught[size] = teacher(x_BCHW).float().softmax(1)
            soft_BK = {"labels": None, "first": first_BK, "teacher": taught.get(size)}[lesson.target]
            with training.autocast():
                logits_BK = task.run_arch(x_BCHW, lesson.arch).float()
            if first_BK is None:
                first_BK = logits_BK.detach().softmax(1)
            loss = objective(logits_BK, y_B, soft_BK, recipe) / (len(lessons) * recipe.accumulate)
            training.scaler.scale(loss).backward()
            total += loss.detach()
    return total


def objective(logits_BK: Tensor, y_B: Tensor, soft_BK: Tensor | None, recipe: Recipe) -> Tensor:
    """Return cross entropy with the labels and, by the distillation weight, with soft targets [B, K]."""
    share = recipe.distillation_weight
    if soft_BK is None or share == 0:
        return functional.cross_entropy(logits_BK, y_B, label_smoothing=recipe.label_smoothing)
    soft = functional.cross_entropy(logits_BK, soft_BK)
    if share == 1:
        return soft
    hard = functional.cross_entropy(logits_BK, y_B, label_smoothing=recipe.label_smoothing)
    return share * soft + (1 - share) * hard


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
