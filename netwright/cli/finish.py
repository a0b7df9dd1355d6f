"""`netwright finish`: one found network, trained on alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.result import SPACE_AGAIN, TASK_AGAIN, Result
from netwright.cli.train import read_settings


def finish(
    run: Annotated[Path, typer.Argument(help="Run directory of a trained supernet.")],
    arch: Annotated[
        str, typer.Option(help="best (of the latest search), front:N, smallest, largest, or a JSON file.")
    ] = "best",
    time: Annotated[str | None, typer.Option(help="How long to train: 5min, 90s, 1h.")] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the training images, where no time is given.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a setting: learning_rate=0.001.")] = None,
    space: Annotated[str | None, typer.Option(help=SPACE_AGAIN)] = None,
    task: Annotated[str | None, typer.Option(help=TASK_AGAIN)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Train one network of a run alone, taught by the largest.

    Its weights are kept beside the run: deploy and compile take them from there.
    """
    del json
    from netwright.core.units import DURATION_S, parse_quantity
    from netwright.workflow.finish import finish as finish_network

    seconds = None if time is None else parse_quantity(time, DURATION_S, "--time")
    settings = {name.removeprefix("recipe."): value for name, value in read_settings(set_ or []).items()}
    done = finish_network(run, arch, seconds=seconds, epochs=epochs, space=space, task=task, **settings)
    metric = done.metric
    shown = [
        f"{done.folder}: {done.epochs:g} epochs alone",
        f"{metric.name} {metric.text(done.validation[0])} inherited, {metric.text(done.validation[1])} finished "
        f"(validation images); {metric.text(done.held_out[0])} and {metric.text(done.held_out[1])} on held-out images",
        f"kept: the {done.kept} weights",
    ]
    return Result(done.to_json(), shown)
