"""What the verbs share: a supernet run read back as values. Imports torch only inside functions."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from netwright.core.errors import NetwrightError, unknown
from netwright.core.run import Run

if TYPE_CHECKING:
    from netwright.data.images import Dataset, ImageSet
    from netwright.models.family import Family

KIND = "supernet"


@dataclass(frozen=True)
class Source:
    """Where a run's images come from, and how they are read and split.

    `search_fraction` of the training images is held out from training: networks are chosen by them, so that the
    validation images, on which accuracy is reported, stay unseen. `val_fraction` counts where there are no validation images.
    """

    source: str
    size: int
    seed: int = 0
    val_fraction: float = 0.1
    search_fraction: float = 0.1

    def __post_init__(self) -> None:
        """Refuse fractions that leave one side without images."""
        for name in ("val_fraction", "search_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise NetwrightError(f"data.{name} must lie between 0 and 1, not {getattr(self, name)}.")

    def load(self) -> Dataset:
        """Decode the images, or take them from the cache, and warn of those left out."""
        from netwright.core.progress import say
        from netwright.data.load import load_dataset

        dataset = load_dataset(
            self.source, size=self.size, val_fraction=self.val_fraction, seed=self.seed, cache=self._cache()
        )
        for reason in dataset.skipped[:5]:
            say(f"left out: {reason}")
        if len(dataset.skipped) > 5:
            say(f"left out: {len(dataset.skipped) - 5} more")
        return dataset

    def _cache(self) -> Path | None:
        if self.source == "digits":  # decoded in an instant
            return None
        from netwright.device.store import home

        return home() / "images"


def open_run(path: Path) -> Run:
    """Open a run that `netwright train` made.

    Raises:
        NetwrightError: not a run, of another kind, or its config.json is not what was written.
    """
    run = Run.open(path)
    where = run.path / "config.json"
    if run.config.get("kind") != KIND:
        raise NetwrightError(f"{path} holds a run of kind {run.config.get('kind')!r}; a {KIND!r} run is needed here.")
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
    return run


def source_of(run: Run) -> Source:
    """Return the data of a run."""
    data = run.config["data"]
    return Source(**{name: data[name] for name in Source.__dataclass_fields__ if name in data})


def dataset_of(run: Run) -> Dataset:
    """Load the data of a run.

    Raises:
        NetwrightError: it is gone, or has other classes by now.
    """
    dataset = source_of(run).load()
    if list(dataset.classes) != run.config["data"]["classes"]:
        raise NetwrightError(
            f"{run.config['data']['source']} has other classes than when {run.path} was trained. "
            "Restore the data, or train a new run."
        )
    return dataset


def parts_of(run: Run, dataset: Dataset) -> tuple[ImageSet, ImageSet]:
    """Return the images a run trains on, and those held out to choose networks by."""
    from netwright.data.images import split

    source = source_of(run)
    return split(dataset.train, source.search_fraction, source.seed)


def training_part(run: Run, dataset: Dataset) -> Dataset:
    """Return the dataset without the images that are held out for the search."""
    return dataclasses.replace(dataset, train=parts_of(run, dataset)[0])


def latest_search(run: Run) -> dict[str, Any]:
    """Return the result of the latest search.

    Raises:
        NetwrightError: there is none, or its file is damaged.
    """
    from netwright.core.shape import read_search

    files = sorted((run.path / "search").glob("*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name))
    if not files:
        raise NetwrightError(
            f"{run.path} was not searched yet. Begin with: netwright search {run.path} --latency 2ms; "
            f"for a microcontroller: netwright search {run.path} --device stm32f746"
        )
    return read_search(files[-1])


def family_of(run: Run) -> Family:
    """Return the family of a run.

    Raises:
        NetwrightError: this netwright has no such space, or it takes other settings.
    """
    from netwright.models.families import family

    return family(run.config["space"], **run.config["settings"])


def settings_for(space: str, *, classes: int, size: int | None, given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a space's function for a dataset: its classes, and the image size where it takes one."""
    from netwright.models.families import SPACES

    if space not in SPACES:
        raise unknown("Space", space, SPACES)
    takes = inspect.signature(SPACES[space]).parameters
    wrong = next((name for name in given if name not in takes), None)
    if wrong is not None:
        raise unknown(f"--set space.{wrong}: setting", wrong, takes)
    for name, kind in get_type_hints(SPACES[space]).items():
        if name in given and get_origin(kind) is Literal and given[name] not in get_args(kind):
            raise unknown(f"--set space.{name}: value", str(given[name]), get_args(kind))
    settings = {"classes": classes, **given}
    if size is not None and "size" in takes:
        settings["size"] = size
    return settings


def has_model(run: Run) -> None:
    """Refuse a run whose training has not finished.

    Raises:
        NetwrightError: there is no model.safetensors.
    """
    if not (run.path / "model.safetensors").is_file():
        raise NetwrightError(
            f"{run.path} has no trained model yet. Finish the training first: repeat its `netwright train` command."
        )
