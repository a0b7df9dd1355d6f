"""A run, opened once and handed down: its family, its supernet and its images, each read when it is first asked for."""

from __future__ import annotations

import dataclasses
import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError
from netwright.core.metric import Metric
from netwright.core.run import Run
from netwright.core.tables import give_again, is_own, name_of
from netwright.workflow.source import Source

if TYPE_CHECKING:
    from netwright.data.images import Dataset, ImageSet
    from netwright.data.preparation import Preparation
    from netwright.models.family import Family
    from netwright.models.own_space import GivenSpace
    from netwright.supernet.supernet import Supernet
    from netwright.tasks.task import Task
    from netwright.training.recipe import Recipe

KIND = "supernet"
TASK = "classification"


class OpenRun:
    """A run of a supernet: its directory, and what the directory holds, read once.

    Attributes:
        run: the directory itself.
        space: the space that was given on opening; None where the recorded name is enough.
    """

    def __init__(self, run: Run, space: GivenSpace | None = None, task: str | Task | None = None):
        self.run, self.space, self._task = run, space, task

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.run.path

    @property
    def config(self) -> dict[str, Any]:
        """What was asked of the training."""
        return self.run.config

    @property
    def trained(self) -> bool:
        """Whether the training has finished."""
        return (self.path / "model.safetensors").is_file()

    @functools.cached_property
    def family(self) -> Family:
        """The family of networks.

        Raises:
            NetwrightError: no such space here, it takes other settings, or it is another one than the run was trained with.
        """
        from netwright.models.own_space import read_family

        return read_family(self.config, str(self.path), self.space)

    @functools.cached_property
    def task(self) -> Task:
        """What the networks are for."""
        from netwright.tasks.tasks import TASKS

        return TASKS.find(self._task or self.config.get("task", TASK))

    @property
    def metric(self) -> Metric:
        """The number that says how well a network does its task."""
        return Metric.from_json(self.config.get("metric"))

    @functools.cached_property
    def recipe(self) -> Recipe:
        """How the supernet is trained."""
        from netwright.training.recipe import Recipe

        return Recipe.from_json(self.config["recipe"])

    @functools.cached_property
    def supernet(self) -> Supernet:
        """The trained supernet, in eval mode.

        Raises:
            NetwrightError: the training has not finished, or the weights do not fit the space.
        """
        from netwright.training.load import load_supernet

        self.require_trained()
        return load_supernet(self.run, self.family)

    @property
    def source(self) -> Source:
        """Where the images come from."""
        data = self.config["data"]
        return Source(**{name: data[name] for name in Source.__dataclass_fields__ if name in data})

    def preparation(self, resolution: int) -> Preparation:
        """Return how files become the input of a network of a resolution; older runs say it by size, mean and deviation."""
        from netwright.data.preparation import Preparation

        data, side = self.config["data"], {"height": resolution, "width": resolution}
        of_data = {"decoded_size": data["size"], "mean": data["mean"], "std": data["std"]}
        return Preparation.from_json({**of_data, **self.config.get("preparation", {}), **side})

    @functools.cached_property
    def dataset(self) -> Dataset:
        """All images of the run.

        Raises:
            NetwrightError: they are gone, or have other classes by now.
        """
        from netwright.data.kept import kept_split

        dataset = kept_split(self.path, self.source.load())
        if list(dataset.classes) != self.config["data"]["classes"]:
            raise NetwrightError(
                f"{self.config['data']['source']} has other classes than when {self.path} was trained. "
                "Restore the data, or train a new run."
            )
        data = self.config["data"]  # a run that began with trained weights has the mean and deviation of these
        return dataclasses.replace(dataset, mean=tuple(data["mean"]), std=tuple(data["std"]))

    @functools.cached_property
    def _parts(self) -> tuple[ImageSet, ImageSet]:
        from netwright.data.kept import search_parts

        return search_parts(self.dataset, self.source.search_fraction, self.source.seed)

    @functools.cached_property
    def training(self) -> Dataset:
        """The dataset without the images that are held out for the search."""
        return dataclasses.replace(self.dataset, train=self._parts[0], search_N=None)

    @property
    def held_out(self) -> ImageSet:
        """The training images by which a search chooses networks; none of them was trained on."""
        return self._parts[1]

    @property
    def validation(self) -> ImageSet:
        """The images on which the metric is reported, by which nothing is chosen."""
        return self.dataset.val

    def latest_search(self) -> dict[str, Any]:
        """Return the result of the latest search.

        Raises:
            NetwrightError: there is none, or its file is damaged.
        """
        from netwright.core.shape import read_search

        files = sorted((self.path / "search").glob("*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name))
        if not files:
            where = shlex.quote(str(self.path))
            raise NetwrightError(
                f"{self.path} was not searched yet. Begin with: netwright search {where} --latency 2ms; "
                f"for a microcontroller: netwright search {where} --device stm32f746"
            )
        return read_search(files[-1], self.metric)

    def require_trained(self) -> None:
        """Refuse a run whose training has not finished.

        Raises:
            NetwrightError: there is no model.safetensors.
        """
        if not self.trained:
            raise NetwrightError(
                f"{self.path} has no trained model yet. Finish the training first: repeat its `netwright train` command."
            )


def open_run(run: str | Path | OpenRun, *, space: GivenSpace | None = None, task: str | Task | None = None) -> OpenRun:
    """Open a run that was made by `train`, on the command line or in Python.

    Args:
        run: its directory; a run that is open already is returned as it is.
        space: the space it was trained with, where that is one of your own: FILE.py:NAME, a function or a Family. What a
            run's files name is never executed on its own.
        task: likewise its task.

    Raises:
        NetwrightError: not a run, of another kind, its config.json is not what was written, or another space or task than
            it was trained with.
    """
    if isinstance(run, OpenRun):
        return run if space is None and task is None else OpenRun(run.run, space or run.space, task or run._task)
    if not isinstance(run, str | Path):
        raise NetwrightError(f"A run is given by the path of its directory, not by a {type(run).__name__}.")
    opened = Run.open(run)
    check_config(opened)
    _check_task(opened, task)
    made = OpenRun(opened, space, task)
    if space is None:
        from netwright.models.own_space import check_given

        check_given(opened.config, str(opened.path))
    else:
        _ = made.family  # refuses another space at once
    return made


def _check_task(run: Run, task: str | Task | None) -> None:
    recorded = run.config.get("task", TASK)
    if task is None and (not isinstance(recorded, str) or is_own(recorded)):
        raise give_again(run.path, "task", recorded)
    if task is not None and name_of(task) != recorded:
        raise NetwrightError(f"{run.path} was trained for task {recorded!r}, not {name_of(task)!r}.")


def check_config(run: Run) -> None:
    """Refuse a run of another kind, or whose config.json is not what was written.

    Raises:
        NetwrightError: names what is wrong.
    """
    where = run.path / "config.json"
    if run.config.get("kind") != KIND:
        raise NetwrightError(
            f"{run.path} holds a run of kind {run.config.get('kind')!r}; a {KIND!r} run is needed here."
        )
    data = run.config.get("data")
    shapes: list[tuple[str, Any, type]] = [
        ("space", run.config.get("space"), str),
        ("settings", run.config.get("settings"), dict),
        ("recipe", run.config.get("recipe"), dict),
        ("data", data, dict),
    ]
    if isinstance(data, dict):
        shapes += [("data.source", data.get("source"), str), ("data.size", data.get("size"), int)]
        shapes += [(f"data.{name}", data.get(name), list) for name in ("classes", "mean", "std")]
    for name, value, kind in shapes:
        if not isinstance(value, kind):
            raise NetwrightError(
                f"{where}: {name} is {str(value)[:60]!r}, not a {kind.__name__}. Was it edited? Train again."
            )
