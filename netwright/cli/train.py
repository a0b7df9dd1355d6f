"""`netwright train`: one supernet for a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import Result
from netwright.cli.workspace import KIND, Source, settings_for, training_part
from netwright.core.errors import NetwrightError, unknown

if TYPE_CHECKING:
    from netwright.core.run import Run
    from netwright.data.images import Dataset
    from netwright.models.family import Family
    from netwright.training.recipe import Recipe

SUPERNET_RECIPES = ("progressive", "sandwich", "random", "static")


def train(
    data: Annotated[
        str,
        typer.Argument(help="Folder or .zip of class folders, digits, torchvision:NAME[:ROOT], or a datasets folder."),
    ],
    space: Annotated[str, typer.Option(help="Search space, for example mobilenet-v3-small.")],
    out: Annotated[Path, typer.Option(help="Run directory; if it holds the same run, that one is resumed.")],
    recipe: Annotated[str, typer.Option(help=f"How to train: {', '.join(SUPERNET_RECIPES)}.")] = "progressive",
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images.")] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of the images in pixels (default: the space's largest).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a setting: batch_size=64, space.normalization=group, data.seed=1."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Train one supernet, from which networks for every budget are cut."""
    del json  # read by the verb's wrapper
    run, dataset, made, plan = prepare(data, space, out, recipe, epochs, size, set_ or [])
    train_run(run, dataset, made, plan)
    accuracies = final_accuracies(run)
    shown = [f"{run.path} holds the trained supernet of space {space}."]
    shown += [f"top-1 accuracy of the {arch} network: {value:.2f} %" for arch, value in accuracies.items()]
    shown += [f"Next: netwright device this --measure --space {space}; netwright search {run.path} --latency 2ms"]
    result = {"run": str(run.path), "space": space, "recipe": plan.to_json(), "accuracy": accuracies}
    return Result(result, shown)


def prepare(
    data: str, space: str, out: Path, recipe: str, epochs: float | None, size: int | None, overrides: list[str]
) -> tuple[Run, Dataset, Family, Recipe]:
    """Read the data and create the run, or open the one that was begun with the same settings.

    Raises:
        NetwrightError: a wrong name, value or path.
    """
    from netwright.models.families import family
    from netwright.training import recipe as recipes
    from netwright.training.distributed import create_run

    if recipe not in SUPERNET_RECIPES:
        raise unknown("Recipe", recipe, SUPERNET_RECIPES)
    of_recipe, of_space, of_data = split_overrides(overrides)
    plan = recipes.override(recipes.recipe(recipe, **({} if epochs is None else {"epochs": epochs})), of_recipe)
    if size is not None and size < 8:
        raise NetwrightError(f"--size is {size}; the smallest side of an image is 8 pixels.")
    settings = settings_for(space, classes=10, size=size, given=of_space)
    source = Source(data, size or max(family(space, **settings).space.resolutions), **of_data)
    dataset = source.load()
    settings = settings_for(space, classes=len(dataset.classes), size=size, given=of_space)
    made = family(space, **settings)
    config = {
        "kind": KIND,
        "space": space,
        "settings": dict(made.settings),
        "data": {
            **vars(source),
            "source": absolute(data),
            "classes": list(dataset.classes),
            "mean": list(dataset.mean),
            "std": list(dataset.std),
        },
        "recipe": plan.to_json(),
    }
    return create_run(out, config), dataset, made, plan


def split_overrides(overrides: list[str]) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """Sort `--set` texts by what they set: the recipe (bare names, recipe.NAME), the space, the data.

    Raises:
        NetwrightError: a text without `=`, or a name that is not known.
    """
    of_recipe: list[str] = []
    of_space: dict[str, Any] = {}
    of_data: dict[str, Any] = {}
    for text in overrides:
        name, equals, value = text.partition("=")
        group, _, leaf = name.strip().rpartition(".")
        if not equals:
            raise NetwrightError(f"--set {text!r} must look like name=value, for example --set learning_rate=0.1.")
        if group in ("", "recipe"):
            of_recipe.append(f"{leaf}={value}")
        elif group == "space":
            of_space[leaf] = _number_or_text(value.strip())
        elif group == "data":
            kinds = {"seed": int, "val_fraction": float, "search_fraction": float}
            if leaf not in kinds:
                raise unknown("Data setting", leaf, kinds)
            try:
                of_data[leaf] = kinds[leaf](value)
            except ValueError as error:
                raise NetwrightError(f"--set {text}: {leaf} must be a number.") from error
        else:
            raise unknown("Group of settings", group, ("recipe", "space", "data"))
    return of_recipe, of_space, of_data


def train_run(run: Run, dataset: Dataset, made: Family, plan: Recipe) -> None:
    """Train the supernet of a run, or go on where it was stopped."""
    import torch

    from netwright.core.seeds import derive_seed
    from netwright.supernet.supernet import Supernet
    from netwright.training.loop import train_supernet

    torch.manual_seed(derive_seed("weights", plan.seed))
    train_supernet(Supernet(made), training_part(run, dataset), plan, run)


def final_accuracies(run: Run) -> dict[str, float]:
    """Return the last recorded accuracy, in percent, of each watched network."""
    records = [record for record in run.metrics() if record.get("kind") == "eval"]
    return {record["arch"]: record["accuracy"] for record in records if "arch" in record and "accuracy" in record}


def absolute(source: str) -> str:
    """Return a source that means the same from every working directory."""
    if Path(source).exists():
        return str(Path(source).resolve())
    parts = [part.strip() for part in source.split(",")]
    return ",".join(str(Path(part).resolve()) for part in parts) if all(Path(p).exists() for p in parts) else source


def _number_or_text(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
