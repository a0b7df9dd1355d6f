"""Training one supernet for a dataset: the run directory is made, or the one that was begun goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError, unknown
from netwright.core.lock import check_free
from netwright.core.run import Run
from netwright.core.tables import name_of
from netwright.workflow.changes import changes_of_supernet
from netwright.workflow.open import KIND, TASK, OpenRun, check_config
from netwright.workflow.size import draft_family, size_of
from netwright.workflow.source import Source
from netwright.workflow.start import space_of, start_record, take_start

if TYPE_CHECKING:
    from netwright.models.family import Family
    from netwright.models.own_space import GivenSpace
    from netwright.tasks.task import Task
    from netwright.training.loop import GivenRecipe
    from netwright.training.recipe import Recipe

LEAST_SIZE = 8
OF_DATA = {"seed": int, "val_fraction": float, "search_fraction": float}
OF_ONE_NETWORK = ("fine-tuning",)  # recipes that train no supernet
Callback = Callable[[dict[str, Any]], Any]


def train(
    data: str | Path,
    *,
    space: GivenSpace | None = None,
    start: str | None = None,
    weights: str | Path | None = None,
    out: str | Path,
    recipe: GivenRecipe | None = None,
    epochs: float | None = None,
    size: int | None = None,
    task: str | Task = TASK,
    callback: Callback | None = None,
    **settings: Any,
) -> OpenRun:
    """Train one supernet, from which networks for every budget are cut, and return its run, opened.

    A run directory that was begun with the same settings goes on where it was stopped.

    Args:
        data: what `load_dataset` takes: a folder or .zip of class folders, "digits", "torchvision:NAME[:ROOT]", ...
        space: the search space: a name, FILE.py:NAME, a function that returns a `Family`, or a `Family`. None: that of
            `start`.
        start: a network whose trained weights the largest network begins with, by name (`models.pretrained.STARTS`).
        weights: a file of its weights; None: an installed package that carries them, or timm's download.
        out: the run directory.
        recipe: how to train: a name, FILE.py:NAME, a function that returns a `Recipe`, or a `Recipe`. None: "pretrained" with
            a start, else "progressive".
        epochs: passes over the training images; None: the recipe's.
        size: height and width of the images in pixels. None: of a run that was begun, its own; of a space that takes a size,
            what `workflow.size.choose_size` chooses from the images (up to 96 without a GPU); else the largest of the space.
        task: what the networks are for: a name, FILE.py:NAME or a `Task`.
        callback: called with each record of training as it is written; where it returns True, training stops after
            it has saved its state.
        settings: fields of the recipe by name (`batch_size=64`), of the space and of the data by the names that
            `netwright train --set` takes (`**{"space.normalization": "group", "data.seed": 1}`).

    Raises:
        NetwrightError: a wrong name, value or path; the directory holds something else; training diverged.
    """
    if callback is not None and not callable(callback):
        raise NetwrightError(f"callback must be a function of one record, not a {type(callback).__name__}.")
    how: dict[str, Any] = {"recipe": recipe, "epochs": epochs, "size": size, "task": task, **settings}
    run = begin(data, space=space, start=start, weights=weights, out=out, **how)
    go_on(run, callback)
    return run


def begin(
    data: str | Path,
    *,
    space: GivenSpace | None = None,
    start: str | None = None,
    weights: str | Path | None = None,
    out: str | Path,
    recipe: GivenRecipe | None = None,
    epochs: float | None = None,
    size: int | None = None,
    task: str | Task = TASK,
    **settings: Any,
) -> OpenRun:
    """Read the data and create the run, or open the one that was begun with the same settings; arguments as of `train`.

    All that the arguments and the run say is checked before an image is read.

    Raises:
        NetwrightError: a wrong name, value or path, the directory holds something else, or another process writes into it.
    """
    from netwright.core.progress import say
    from netwright.data.images import held_out
    from netwright.data.kept import keep_split, kept_split
    from netwright.models.pretrained import find_start
    from netwright.tasks.tasks import TASKS
    from netwright.training.distributed import create_run
    from netwright.training.loop import check_plan

    for name, path in (("data", data), ("out", out)):
        if not isinstance(path, str | Path):
            raise NetwrightError(f"{name} must be a path, not a {type(path).__name__}.")
    of_recipe, of_space, of_data = split_settings(settings)
    if weights is not None and start is None:
        raise NetwrightError("--weights is a file of weights for the network of --from; name that too.")
    begins = None if start is None else find_start(start)
    space, of_space = space_of(begins, space, of_space)
    from_weights = {} if begins is None else {"start": start_record(begins, weights)}
    recipe = recipe or ("pretrained" if begins else "progressive")
    plan = make_recipe(recipe, epochs, of_recipe)
    changes_of_supernet(plan)  # refuses before anything is written
    _check_size(size)
    wanted, begun = TASKS.find(task), _begun(Path(out))
    draft = draft_family(space, size, of_space)
    check_plan(plan, draft.space)
    Source(str(data), max(draft.space.resolutions), **of_data)  # refuses fractions before anything is read
    size, pixels, reason = size_of(str(data), space, size, of_space, draft, begun)
    source = Source(str(data), pixels, **of_data)
    prepares = begun is None or "preparation" in begun.config
    asked = _Asked(space, size, of_space, task, wanted, source, plan, prepares, from_weights)
    if begun is not None:
        begun.compare(asked.config_as_in(begun.config))
    say(f"Images are used at {pixels} x {pixels} pixels: {reason}.")
    dataset = kept_split(Path(out), source.load(), source.to_json())
    if begins is not None:  # its weights expect images as they were trained on
        dataset = dataclasses.replace(dataset, mean=begins.mean, std=begins.std)
    made, config = asked.config(wanted.outputs(dataset), dataset.classes, dataset.mean, dataset.std)
    if task == TASK:
        _check_classes(made, wanted.outputs(dataset))
    opened = OpenRun(create_run(out, config), space if "own" in config else None, task)
    opened.family, opened.dataset, opened.recipe = made, dataset, plan
    search_N = held_out(dataset.train.labels_N, source.search_fraction, source.seed)
    keep_split(opened.path, dataset, source.to_json(), search_N)
    say(_summary(opened, name_of(recipe)))
    return opened


@dataclass(frozen=True)
class _Asked:
    """What was asked of a training, checked; with the facts of the data it becomes the config of the run.

    `start`: what the config says of trained weights that it begins with, or nothing. `prepares`: the config says how image files are prepared; not so of runs that were begun before this was recorded.
    """

    space: GivenSpace
    size: int | None
    of_space: Mapping[str, Any]
    task: str | Task
    found: Task
    source: Source
    recipe: Recipe
    prepares: bool
    start: Mapping[str, Any]

    def config(
        self, outputs: int, classes: Sequence[str], mean: Sequence[float], std: Sequence[float]
    ) -> tuple[Family, dict[str, Any]]:
        """Return the family for a number of outputs, and the config of the run."""
        from netwright.data.preparation import Preparation
        from netwright.models.own_space import make_family, record_family, settings_for

        called_with = settings_for(self.space, classes=outputs, size=self.size, given=self.of_space)
        made = make_family(self.space, classes=outputs, size=self.size, given=self.of_space)
        prepared = Preparation(self.source.size, self.source.size, tuple(mean), tuple(std)).to_json()
        return made, {
            "kind": KIND,
            **record_family(made, self.space, called_with),
            **_task_record(self.task, self.found),
            "data": {**self.source.to_json(), "classes": list(classes), "mean": list(mean), "std": list(std)},
            "recipe": self.recipe.to_json(),
            **({"preparation": prepared} if self.prepares else {}),
            **self.start,
        }

    def config_as_in(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config that the run would have if its data were those that another config names."""
        data, own = config["data"], config.get("own") or {}
        settings = own.get("called_with", config["settings"])
        outputs = settings.get("classes", len(data["classes"]))
        return self.config(outputs, data["classes"], data["mean"], data["std"])[1]


def _begun(out: Path) -> Run | None:
    """Return the run that is there already, checked."""
    begun = Run.begun(out)
    if begun is not None:
        check_config(begun)
        if os.environ.get("RANK", "0") == "0":  # under torchrun the first process holds the lock for all
            check_free(begun.path)
    return begun


def _check_size(size: object) -> None:
    if size is not None and (not isinstance(size, int) or isinstance(size, bool)):
        raise NetwrightError(f"--size is {size!r}; it must be a whole number of pixels.")
    if size is not None and size < LEAST_SIZE:
        raise NetwrightError(f"--size is {size}; the smallest side of an image is {LEAST_SIZE} pixels.")


def _summary(run: OpenRun, recipe: str) -> str:
    """Say what is about to be trained, on what."""
    training, held, seen = len(run.training.train), len(run.held_out), len(run.validation)
    classes = len(run.dataset.classes)
    sizes = ", ".join(map(str, run.family.space.resolutions)) if len(run.family.space.resolutions) < 6 else "several"
    return (
        f"{run.dataset.name}: {training:,} images to train on, {held:,} held out for the search, {seen:,} for validation"
        + (f", {classes} classes" if classes else "")
        + f". Space {run.family.space.name}, networks of {sizes} pixels; recipe {recipe}. Run directory {run.path}."
    )


def go_on(run: OpenRun, callback: Callback | None = None) -> None:
    """Train the supernet of a run from where it is to its end; see `train` for `callback`.

    Raises:
        NetwrightError: training diverged, or the run's checkpoint is damaged.
    """
    import torch

    from netwright.core.seeds import derive_seed
    from netwright.supernet.supernet import Supernet
    from netwright.training.checkpoint import NAME as CHECKPOINT
    from netwright.training.loop import train_supernet

    plan = run.recipe
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("weights", plan.seed))
        supernet = Supernet(run.family)
    if "start" in run.config and not (run.path / CHECKPOINT).is_file():
        take_start(run, supernet)
    changes = changes_of_supernet(plan)
    train_supernet(supernet, run.training, plan, run.run, task=run.task, changes=changes, callback=callback)


def make_recipe(given: GivenRecipe, epochs: float | None, fields: Mapping[str, Any]) -> Recipe:
    """Return a recipe of a supernet with fields replaced; a text is read as on the command line.

    Raises:
        NetwrightError: no such recipe or field, or a value of the wrong type.
    """
    from netwright.training.recipe import RECIPES, recipe, with_fields

    if isinstance(given, str) and given in OF_ONE_NETWORK:
        raise unknown("Recipe", given, [name for name in RECIPES if name not in OF_ONE_NETWORK])
    plan = recipe(given, **({} if epochs is None else {"epochs": epochs}))
    return with_fields(plan, fields)


def split_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Sort settings by what they set: the recipe (bare names, recipe.NAME), the space (space.NAME), the data (data.NAME).

    Raises:
        NetwrightError: a group or a setting of the data that is not known, or a value that is no number where one is needed.
    """
    of_recipe: dict[str, Any] = {}
    of_space: dict[str, Any] = {}
    of_data: dict[str, Any] = {}
    for name, value in settings.items():
        group, _, leaf = name.rpartition(".")
        if group in ("", "recipe"):
            of_recipe[leaf] = value
        elif group == "space":
            of_space[leaf] = _read(value.strip()) if isinstance(value, str) else value
        elif group == "data":
            if leaf not in OF_DATA:
                raise unknown("Data setting", leaf, OF_DATA)
            try:
                of_data[leaf] = OF_DATA[leaf](value)
            except (TypeError, ValueError) as error:
                raise NetwrightError(f"--set {name}={value}: {leaf} must be a number.") from error
        else:
            raise unknown("Group of settings", group, ("recipe", "space", "data"))
    return of_recipe, of_space, of_data


def final_values(run: OpenRun) -> dict[str, float]:
    """Return the last recorded value of the task's metric of each watched network."""
    key = run.metric.key
    records = [record for record in run.run.metrics() if record.get("kind") == "eval"]
    return {record["arch"]: record[key] for record in records if "arch" in record and key in record}


def _task_record(task: str | Task, found: Task) -> dict[str, Any]:
    """Return what a run's config says of its task; nothing of the usual one, as runs made before there were tasks."""
    return {} if task == TASK else {"task": name_of(task), "metric": found.metric.to_json()}


def _check_classes(made: Family, classes: int) -> None:
    """Refuse a family that was made for another number of classes."""
    last = made.priced_blocks(made.space.largest())[-1]
    answers = last.block.out_shape(*last.shapes)
    if answers != (classes,):
        raise NetwrightError(
            f"Space {made.space.name!r} makes networks with outputs of shape {answers}; the data has {classes} classes. Give a "
            "function that takes `classes`, or a family made for them."
        )


def _read(value: str) -> Any:
    """Return the number or the JSON list that a text holds; else the text."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    if value.startswith("["):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return {"true": True, "false": False, "null": None}.get(value, value)
