"""Training one supernet for a dataset: the run directory is made, or the one that was begun goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError, unknown
from netwright.core.tables import name_of
from netwright.workflow.changes import changes_of_supernet
from netwright.workflow.open import KIND, TASK, OpenRun
from netwright.workflow.source import Source

if TYPE_CHECKING:
    from netwright.data.images import Dataset
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
    space: GivenSpace,
    out: str | Path,
    recipe: GivenRecipe = "progressive",
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
        space: the search space: a name, FILE.py:NAME, a function that returns a `Family`, or a `Family`.
        out: the run directory.
        recipe: how to train: a name, FILE.py:NAME, a function that returns a `Recipe`, or a `Recipe`.
        epochs: passes over the training images; None: the recipe's.
        size: height and width of the images in pixels; None: the largest of the space.
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
    run = begin(data, space=space, out=out, recipe=recipe, epochs=epochs, size=size, task=task, **settings)
    go_on(run, callback)
    return run


def begin(
    data: str | Path,
    *,
    space: GivenSpace,
    out: str | Path,
    recipe: GivenRecipe = "progressive",
    epochs: float | None = None,
    size: int | None = None,
    task: str | Task = TASK,
    **settings: Any,
) -> OpenRun:
    """Read the data and create the run, or open the one that was begun with the same settings; arguments as of `train`.

    Raises:
        NetwrightError: a wrong name, value or path, or the directory holds something else.
    """
    from netwright.data.images import held_out
    from netwright.data.kept import keep_split, kept_split
    from netwright.models.own_space import make_family, record_family, settings_for
    from netwright.tasks.tasks import TASKS
    from netwright.training.distributed import create_run

    for name, path in (("data", data), ("out", out)):
        if not isinstance(path, str | Path):
            raise NetwrightError(f"{name} must be a path, not a {type(path).__name__}.")
    of_recipe, of_space, of_data = split_settings(settings)
    plan = make_recipe(recipe, epochs, of_recipe)
    changes_of_supernet(plan)  # refuses before anything is written
    if size is not None and not isinstance(size, int):
        raise NetwrightError(f"--size is {size!r}; it must be a whole number of pixels.")
    if size is not None and size < LEAST_SIZE:
        raise NetwrightError(f"--size is {size}; the smallest side of an image is {LEAST_SIZE} pixels.")
    draft = make_family(space, classes=10, size=size, given=of_space)
    source = Source(str(data), size or max(draft.space.resolutions), **of_data)
    wanted = TASKS.find(task)
    dataset = kept_split(Path(out), source.load(), source.to_json())
    classes = wanted.outputs(dataset)
    called_with = settings_for(space, classes=classes, size=size, given=of_space)
    made = make_family(space, classes=classes, size=size, given=of_space)
    if task == TASK:
        _check_classes(made, classes)
    config = {
        "kind": KIND,
        **record_family(made, space, called_with),
        **_task_record(task, wanted),
        "data": {
            **source.to_json(),
            "classes": list(dataset.classes),
            "mean": list(dataset.mean),
            "std": list(dataset.std),
        },
        "recipe": plan.to_json(),
        **_preparation_record(Path(out), dataset),
    }
    search_N = held_out(dataset.train.labels_N, source.search_fraction, source.seed)
    opened = OpenRun(create_run(out, config), space if "own" in config else None, task)
    opened.family, opened.dataset, opened.recipe = made, dataset, plan
    keep_split(opened.path, dataset, source.to_json(), search_N)
    return opened


def go_on(run: OpenRun, callback: Callback | None = None) -> None:
    """Train the supernet of a run from where it is to its end; see `train` for `callback`.

    Raises:
        NetwrightError: training diverged, or the run's checkpoint is damaged.
    """
    import torch

    from netwright.core.seeds import derive_seed
    from netwright.supernet.supernet import Supernet
    from netwright.training.loop import train_supernet

    plan = run.recipe
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("weights", plan.seed))
        supernet = Supernet(run.family)
    changes = changes_of_supernet(plan)
    train_supernet(supernet, run.training, plan, run.run, task=run.task, changes=changes, callback=callback)


def make_recipe(given: GivenRecipe, epochs: float | None, fields: Mapping[str, Any]) -> Recipe:
    """Return a recipe of a supernet with fields replaced; a text is read as on the command line.

    Raises:
        NetwrightError: no such recipe or field, or a value of the wrong type.
    """
    from netwright.training.recipe import RECIPES, override, recipe

    if isinstance(given, str) and given in OF_ONE_NETWORK:
        raise unknown("Recipe", given, [name for name in RECIPES if name not in OF_ONE_NETWORK])
    plan = recipe(given, **({} if epochs is None else {"epochs": epochs}))
    plan = override(plan, [f"{name}={value}" for name, value in fields.items() if isinstance(value, str)])
    values = {name: value for name, value in fields.items() if not isinstance(value, str)}
    return recipe(plan, **values) if values else plan


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
            of_space[leaf] = _number_or_text(value.strip()) if isinstance(value, str) else value
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


def _preparation_record(out: Path, dataset: Dataset) -> dict[str, Any]:
    """Return how image files are prepared, for a run's config; nothing for a run that was begun before this was recorded."""
    from netwright.core.files import read_json
    from netwright.data.preparation import Preparation

    if (out / "config.json").is_file() and "preparation" not in read_json(out / "config.json"):
        return {}
    size = dataset.train.size
    return {"preparation": Preparation(size, size, dataset.mean, dataset.std).to_json()}


def _check_classes(made: Family, classes: int) -> None:
    """Refuse a family that was made for another number of classes."""
    last = made.priced_blocks(made.space.largest())[-1]
    answers = last.block.out_shape(*last.shapes)
    if answers != (classes,):
        raise NetwrightError(
            f"Space {made.space.name!r} makes networks with outputs of shape {answers}; the data has {classes} classes. Give a "
            "function that takes `classes`, or a family made for them."
        )


def _number_or_text(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
