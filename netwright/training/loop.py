"""The training loop: for each step a batch, the networks the method chose, losses, gradients, one update.

One loop serves supernets and single networks, whatever their task; what differs is in the recipe's method.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.lock import sole_writer
from netwright.core.progress import say
from netwright.core.run import Run, processor
from netwright.core.seeds import derive_seed
from netwright.core.state import save_state
from netwright.core.tables import name_of
from netwright.data import Dataset, Loader
from netwright.models.space import SearchSpace
from netwright.supernet.supernet import Supernet
from netwright.tasks.task import Task
from netwright.tasks.tasks import TASKS
from netwright.training import checkpoint
from netwright.training.change import Change
from netwright.training.distributed import Group, processes
from netwright.training.evaluate import evaluate, evaluate_subnet, landmarks
from netwright.training.interrupt import Interruption, interruptible
from netwright.training.job import Job
from netwright.training.learn import learn
from netwright.training.lesson import Stage
from netwright.training.methods.table import METHODS
from netwright.training.monitor import Callback, Monitor
from netwright.training.recipe import Recipe
from netwright.training.recipe import recipe as find_recipe
from netwright.training.schedule import Schedule
from netwright.training.training import Training, check_precision

GivenRecipe = str | Recipe | Callable[..., Recipe]


def train_supernet(
    supernet: Supernet,
    dataset: Dataset,
    recipe: GivenRecipe,
    run: Run | None = None,
    *,
    task: str | Task = "classification",
    changes: Sequence[Change] = (),
    callback: Callback | None = None,
) -> None:
    """Train the shared weights in place, on a GPU where there is one; resume where the run has a checkpoint.

    At the end the supernet, and `model.safetensors` of the run, hold the averaged weights.

    Args:
        recipe: a Recipe, a name in RECIPES, FILE.py:NAME, or a function that returns a Recipe.
        task: a name in TASKS, FILE.py:NAME, or a Task; it brings its targets to the data set.
        changes: terms of the loss; see `training.change`.
        callback: called with each record as metrics.jsonl gets it. Once it returns True, the training stops early: the
            run has a checkpoint to resume from and no model yet, the supernet holds the averaged weights so far.

    Raises:
        NetwrightError: training diverged, or the run's checkpoint is damaged.
    """
    plan, task = find_recipe(recipe), TASKS.find(task)
    dataset = task.prepare(dataset)

    def evaluate_all(module: nn.Module) -> dict[str, float]:
        del module  # the supernet: no surgery is done on it
        shared = {"task": task, "calibration_images": plan.calibration_images}
        archs = landmarks(supernet.family.space)
        return {name: evaluate_subnet(supernet, arch, dataset, **shared) for name, arch in archs.items()}

    job = Job(supernet, supernet.family.space, task, METHODS.find(plan.method), evaluate_all)
    _train(job, dataset, plan, run, changes, callback)


def train_network(
    net: nn.Module,
    dataset: Dataset,
    recipe: GivenRecipe,
    *,
    resolution: int,
    run: Run | None = None,
    teacher: nn.Module | None = None,
    task: str | Task = "classification",
    changes: Sequence[Change] = (),
    callback: Callback | None = None,
) -> nn.Module:
    """Train one network in place, as `train_supernet` does; a frozen teacher sees the same batches.

    Returns:
        The network; where `changes` hold surgery, what that made of it.

    Raises:
        NetwrightError: the recipe's method is for supernets; training diverged; the checkpoint is damaged.
    """
    plan, task = find_recipe(recipe), TASKS.find(task)
    method = METHODS.find(plan.method)
    if method.supernets_only:
        raise NetwrightError(f"One network trains with method static or a recipe of it, not {name_of(plan.method)!r}.")
    dataset = task.prepare(dataset)

    def evaluate_it(module: nn.Module) -> dict[str, float]:
        device = next(module.parameters()).device
        shared = {"mean": dataset.mean, "std": dataset.std, "resolution": resolution, "device": device}
        return {"network": evaluate(module, dataset.val, task=task, **shared)}

    job = Job(net, SearchSpace("network", (resolution,)), task, method, evaluate_it, teacher)
    return _train(job, dataset, plan, run, changes, callback)


def check_plan(recipe: Recipe, space: SearchSpace) -> None:
    """Refuse what cannot train on this machine, before any image is read.

    Raises:
        NetwrightError: the method does not take the recipe, a precision that needs a GPU, or a batch that cannot be shared.
    """
    METHODS.find(recipe.method).stages(space, recipe)
    check_precision(recipe, "cuda" if torch.cuda.is_available() else "cpu")
    _parts(recipe, int(os.environ.get("WORLD_SIZE", 1)))


def _train(
    job: Job, dataset: Dataset, recipe: Recipe, run: Run | None, changes: Sequence[Change], callback: Callback | None
) -> nn.Module:
    with (
        processes() as group,
        sole_writer(run.path) if run and group.first else contextlib.nullcontext(),
        _own_randomness(group.device),
        interruptible() as asked,
    ):
        loader = _loader(job.task, dataset, recipe, group)
        stages = job.method.stages(job.space, recipe)
        schedule = Schedule.of(stages, recipe, loader.steps_per_epoch // recipe.accumulate)
        job = job.prepared(changes, loader, dataset, recipe)
        training = Training(job.module, recipe, group.device, job.teacher, job.extras)
        for module in (job.module, *(extra.module for extra in job.extras)):
            group.agree(module)
        about = job.about(changes)
        if run and checkpoint.resume(training, run, group.first, about) and group.first:
            say(f"Resuming {run.path} after step {training.step} of {schedule.steps}.")
        job = job.planned(changes, loader, dataset, group.device)
        own_run = run if group.first else None  # one process writes
        callback = callback if group.first else None
        monitor = Monitor(schedule, job.task.metric, own_run, group.first, callback, job.work(schedule, recipe))
        saver = checkpoint.Saver(training, own_run, about)
        if training.step < schedule.steps:
            saver.check_space()
        if group.first and training.step < schedule.steps:
            say(_plan(schedule, stages, group))
        try:
            job.module.train()
            stopped = False
            while training.step < schedule.steps and not stopped:
                stopped = _step(job, training, schedule, loader, group, monitor, saver, asked)
            training.finish()
            if own_run and training.step == schedule.steps:
                save_state(own_run.path / "model.safetensors", job.module.state_dict())
        except NetwrightError as error:
            raise (saver.explained(error) if isinstance(error.__cause__, OSError) else error) from error.__cause__
        group.wait()  # no process leaves before the files are there
    return job.module


def _step(
    job: Job,
    training: Training,
    schedule: Schedule,
    loader: Loader,
    group: Group,
    monitor: Monitor,
    saver: checkpoint.Saver,
    asked: Interruption,
) -> bool:
    """Do one step, and what is due after it; return whether the callback wants no more."""
    recipe, step = training.recipe, training.step
    span = schedule.span(step)
    if step == span.start:
        training.begin(span)
        group.agree(training.teacher)
    rng = np.random.default_rng(derive_seed(recipe.seed, "archs", step))
    lessons = job.method.lessons(job.space, span.stage, rng)
    torch.manual_seed(derive_seed(recipe.seed, "step", step, group.rank))  # for dropout
    loss = learn(job, training, lessons, loader, schedule.epoch(step))
    loss, (interrupted, stopped) = group.average(training.parameters(), loss, bool(asked.signal), monitor.stop)
    training.update(schedule.learning_rate(step), step - span.start)
    if job.method.after is not None:
        job.method.after(training)
    monitor.step(step, loss)
    started = time.monotonic()
    if group.first and schedule.due(step, recipe.evaluate_every):
        with training.averaged_weights():
            monitor.evaluated(step, job.evaluate(job.module))
        job.module.train()
    stopped = stopped or (monitor.stop and group.size == 1)  # several processes agree in the next step
    stopped = stopped and training.step < schedule.steps
    if interrupted or stopped or training.step == schedule.steps or saver.due():
        monitor.check()
        if interrupted or stopped:
            saver.save()
        else:
            saver.try_to_save(last=training.step == schedule.steps)
    monitor.skip_time(started)
    if interrupted or stopped:
        saver.say_how_to_resume()
    if interrupted:
        asked.stop()
    return stopped


def _plan(schedule: Schedule, stages: Sequence[Stage], group: Group) -> str:
    """Say what is about to be done, and on what."""
    on = torch.cuda.get_device_name(group.device) if group.device.type == "cuda" else processor()
    threads = "" if group.device.type == "cuda" else f", {torch.get_num_threads()} threads"
    several = f", {group.size} processes" if group.size > 1 else ""
    without = ", ".join(stage.name for stage in stages[len(schedule.spans) :])
    return (
        f"Training: {schedule.steps} steps of {schedule.recipe.batch_size} images, {schedule.epochs:.4g} epochs of "
        f"{schedule.steps_per_epoch} steps, on {on}{threads}{several}."
        + (f" That is too few steps for the stages {without}: they are left out." if without else "")
    )


@contextlib.contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Leave the caller's random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _loader(task: Task, dataset: Dataset, recipe: Recipe, group: Group) -> Loader:
    parts = _parts(recipe, group.size)
    augment = task.augment(dataset)
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


def _parts(recipe: Recipe, processes: int) -> int:
    """Return how many parts a batch is cut into, over all processes."""
    parts = recipe.accumulate * processes
    if recipe.batch_size % parts:
        raise NetwrightError(
            f"batch_size {recipe.batch_size} cannot be cut into {recipe.accumulate} parts for each of {processes} "
            f"processes: make it a multiple of {parts}."
        )
    return parts
