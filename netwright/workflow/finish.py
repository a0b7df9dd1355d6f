"""Training one network of a run alone, from the weights that it inherits, taught by the largest one."""

from __future__ import annotations

import hashlib
import json
import statistics
import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError
from netwright.workflow.archs import choose
from netwright.workflow.open import OpenRun, open_run

if TYPE_CHECKING:
    from torch import nn

    from netwright.core.metric import Metric
    from netwright.models.arch import Arch
    from netwright.models.own_space import GivenSpace
    from netwright.tasks.task import Task
    from netwright.training.recipe import Recipe

FOLDER, RESULT = "finished", "finished.json"
STEPS_MEASURED = 4
Callback = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Finished:
    """What training on brought, by the task's metric.

    Attributes:
        held_out: on the images that searches choose by, before and after; they decide what is kept.
        validation: on the validation images, before and after.
        kept: "finished", or "inherited" where the held-out images say that it got worse.
    """

    arch: Arch
    folder: Path
    epochs: float
    held_out: tuple[float, float]
    validation: tuple[float, float]
    kept: str
    metric: Metric

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        pairs = {"held_out": self.held_out, "validation": self.validation}
        told = {name: {"inherited": round(a, 4), "finished": round(b, 4)} for name, (a, b) in pairs.items()}
        return {
            "arch": self.arch.to_json(),
            "folder": str(self.folder),
            "epochs": self.epochs,
            **told,
            "kept": self.kept,
        }


def finish(
    run: str | Path | OpenRun,
    arch: Any = "best",
    *,
    seconds: float | None = None,
    epochs: float | None = None,
    space: GivenSpace | None = None,
    task: str | Task | None = None,
    callback: Callback | None = None,
    **settings: Any,
) -> Finished:
    """Train one network of a run alone, and keep its weights beside the run: `deploy` and `compile` take them from there.

    A training that was begun with the same settings goes on where it was stopped.

    Args:
        run: the run directory of a trained supernet, or the run, opened.
        arch: best (of the latest search), front:N, smallest, largest, a JSON file, an `Arch`, or what a search lists.
        seconds: for the training; the epochs follow from a measured step.
        epochs: passes over the training images, where no time is given; None: the recipe's.
        space, task: the run's again, where they are your own.
        callback: called with each record of the training; where it returns True, training stops.
        settings: fields of the recipe.

    Raises:
        NetwrightError: a wrong name, value or path, or training diverged.
    """
    from netwright.core.files import write_json
    from netwright.core.run import Run
    from netwright.training.evaluate import calibrated
    from netwright.training.loop import train_network

    if seconds is not None and (epochs is not None or not 0 < seconds < float("inf")):
        raise NetwrightError(f"Give a time in seconds, greater than 0, or epochs, not both: {seconds!r}, {epochs!r}.")
    opened = open_run(run, space=space, task=task)
    opened.require_trained()
    chosen, _ = choose(opened, arch)
    folder = folder_of(opened, chosen)
    finishing(opened, **settings)  # refuses wrong settings before anything is computed
    net: nn.Module = calibrated(opened.supernet, chosen, opened.training)
    teacher = teacher_of(opened, chosen.resolution)
    if seconds is not None:
        epochs = _epochs_within(seconds, net, teacher, opened, chosen, settings)
    plan = finishing(opened, **settings, **({} if epochs is None else {"epochs": epochs}))
    config = {"kind": "network", "arch": chosen.to_json(), "recipe": plan.to_json(), "of": opened.path.resolve().name}
    own = Run.create(folder, config)
    before = _judge(opened, chosen, net)
    how: dict[str, Any] = {"resolution": chosen.resolution, "run": own, "teacher": teacher, "callback": callback}
    trained = train_network(net, opened.training, plan, task=opened.task, **how)
    after = _judge(opened, chosen, trained.cpu())
    better = opened.metric.score(after[0]) >= opened.metric.score(before[0])
    pairs = (before[0], after[0]), (before[1], after[1])
    done = Finished(chosen, folder, plan.epochs, *pairs, "finished" if better else "inherited", opened.metric)
    if (folder / "model.safetensors").is_file():  # not where a callback stopped it
        write_json(folder / RESULT, done.to_json())
    return done


def finishing(run: OpenRun, **fields: Any) -> Recipe:
    """Return the recipe for one network: that of the run's own kind of training, at a lower rate, with soft targets."""
    from netwright.training.recipe import recipe, with_fields

    shared = {"seed": run.recipe.seed, "augment": run.recipe.augment, "evaluate_every": 0.0}
    if run.config.get("start"):
        pretrained = {"optimizer": "adamw", "learning_rate": 5e-4, "batch_size": 32, "weight_decay": 0.01}
        shared |= {**pretrained, "epochs": 20.0, "warmup_epochs": 0.5, "ema_decay": 0.99}
    else:
        shared |= {"batch_size": run.recipe.batch_size}
    return with_fields(recipe("fine-tuning", **shared), fields)


def folder_of(run: OpenRun, arch: Arch) -> Path:
    """Return the folder beside a run in which a network of it is finished."""
    told = hashlib.sha256(json.dumps(arch.to_json(), sort_keys=True).encode()).hexdigest()[:12]
    return run.path / FOLDER / told


def finished_result(run: OpenRun, arch: Arch) -> dict[str, Any] | None:
    """Return what `finish` wrote of a network, where that is better than the inherited one; else None."""
    from netwright.core.files import read_json

    file = folder_of(run, arch) / RESULT
    told = read_json(file) if file.is_file() else {}
    return told if told.get("kept") == "finished" else None


def finished_weights(run: OpenRun, arch: Arch) -> Path | None:
    """Return the file of weights of a network that was finished, and is better than the inherited one; else None."""
    return folder_of(run, arch) / "model.safetensors" if finished_result(run, arch) else None


def teacher_of(run: OpenRun, resolution: int, calibration_images: int = 1024) -> nn.Module:
    """Return the largest network, its statistics measured at the resolution at which it will teach."""
    from netwright.data.loader import calibration_batches

    batches = calibration_batches(run.training, resolution=resolution, images=calibration_images)
    return run.supernet.extract(run.family.space.largest(), batches)


def _judge(run: OpenRun, arch: Arch, module: nn.Module) -> tuple[float, float]:
    """Return the task's metric on the images held out for searches, and on the validation images."""
    import dataclasses

    from netwright.training.evaluate import evaluate

    data = run.training
    shared = {"mean": data.mean, "std": data.std, "resolution": arch.resolution, "task": run.task}
    first, second = (
        evaluate(module, run.task.prepare(dataclasses.replace(data, val=images)).val, **shared)
        for images in (run.held_out, run.validation)
    )
    return first, second


def _epochs_within(
    seconds: float, net: nn.Module, teacher: nn.Module, run: OpenRun, arch: Arch, settings: dict[str, Any]
) -> float:
    """Return the epochs that fit into a time; of a training that was begun, those that it was planned with."""
    from netwright.core.progress import say
    from netwright.core.run import Run

    folder = folder_of(run, arch)
    if (folder / "config.json").is_file():
        return float(Run.open(folder).config["recipe"]["epochs"])
    plan = finishing(run, **settings)
    step_s = _step_seconds(net, teacher, plan.batch_size, arch.resolution)
    steps = max(1, -(-len(run.training.train) // plan.batch_size))
    epochs = max(1 / steps, round(seconds / step_s / steps, 3))
    say(f"a step takes {1000 * step_s:.0f} ms: {epochs:g} epochs in {seconds:.0f} s")
    return epochs


def _step_seconds(net: nn.Module, teacher: nn.Module, batch_size: int, resolution: int) -> float:
    """Return the seconds of a training step on the CPU: the median of a few on a copy, and a share for images and optimizer."""
    import copy

    import torch

    learner, taken = copy.deepcopy(net).train(), []
    x_BCHW = torch.randn(batch_size, 3, resolution, resolution)
    for _ in range(STEPS_MEASURED):
        start = clock.perf_counter()
        with torch.no_grad():
            taught = teacher(x_BCHW)
        (learner(x_BCHW) - taught).square().mean().backward()
        taken.append(clock.perf_counter() - start)
    return 1.15 * statistics.median(taken[1:])
