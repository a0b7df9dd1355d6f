"""`netwright train`: one supernet for a dataset."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.result import Result
from netwright.core.errors import NetwrightError
from netwright.core.tables import OWN
from netwright.models.families import SPACES
from netwright.models.pretrained import STARTS
from netwright.tasks.tasks import TASKS
from netwright.training.recipe import RECIPES
from netwright.workflow.open import TASK
from netwright.workflow.train import OF_ONE_NETWORK

SHOWN = ", ".join(name for name in RECIPES if name not in OF_ONE_NETWORK)


def train(
    data: Annotated[
        str,
        typer.Argument(help="Folder or .zip of class folders, digits, torchvision:NAME[:ROOT], or a datasets folder."),
    ],
    out: Annotated[Path, typer.Option(help="Run directory; if it holds the same run, that one is resumed.")],
    space: Annotated[str | None, typer.Option(help=f"Search space: {SPACES.help}.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help=f"Begin with the trained weights of a network: {', '.join(STARTS)}.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="File of these weights: .safetensors, .pth, .npz, .onnx (default: a package's).")
    ] = None,
    task: Annotated[str, typer.Option(help=f"What the networks are for: {TASKS.help}.")] = TASK,
    recipe: Annotated[
        str | None,
        typer.Option(help=f"How to train: {SHOWN}, or {OWN} (default: progressive; pretrained with --from)."),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images.")] = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="Height and width of the images in pixels (default: chosen from the images, or the space's own)."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a setting: batch_size=64, space.normalization=group, data.seed=1."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Train a supernet, from which networks are cut.

    One training serves every budget: networks of all sizes share its weights.
    """
    del json  # read by the verb's wrapper
    from netwright.workflow.train import final_values
    from netwright.workflow.train import train as train_supernet

    settings: dict[str, Any] = {**read_settings(set_ or [])}
    asked: dict[str, Any] = {
        "space": space,
        "start": start,
        "weights": weights,
        "task": task,
        "recipe": recipe,
        "size": size,
    }
    run = train_supernet(data, out=out, epochs=epochs, **asked, **settings)
    metric, values = run.metric, final_values(run)
    trained: str = space or run.config["space"]
    shown = [f"{run.path} holds the trained supernet of space {trained}."]
    shown += [f"{metric.name} of the {arch} network: {metric.text(value)}" for arch, value in values.items()]
    where = shlex.quote(str(run.path))
    device = f"netwright device this --measure --space {shlex.quote(trained)}"
    searches = f"{device}; netwright search {where} --latency 2ms"
    if trained == "mcunet":  # made for boards, of which nothing has to be measured here
        searches = f"netwright search {where} --device stm32f746"
    shown += [f"Next: {searches}"]
    data_shown = {"run": str(run.path), "space": trained, "recipe": run.config["recipe"], metric.key: values}
    return Result(data_shown, shown)


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Return the settings of `--set NAME=VALUE` by name.

    Raises:
        NetwrightError: a text without `=`.
    """
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise NetwrightError(f"--set {text!r} must look like name=value, for example --set learning_rate=0.1.")
        name = name.strip()
        settings[name if "." in name else f"recipe.{name}"] = value
    return settings
