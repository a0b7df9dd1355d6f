"""`netwright device`: what a machine can do, measured there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import Result
from netwright.core.errors import NetwrightError

if TYPE_CHECKING:
    from netwright.device.latency import LatencyModel
    from netwright.supernet.family import Family

DEFAULT_SPACE = "mobilenet-v3-small"
LEAST_NETWORKS = 24
SECONDS = 90.0


def device(
    name: Annotated[str, typer.Argument(help="The device: `this` is the machine that runs the command.")] = "this",
    measure: Annotated[bool, typer.Option("--measure", help="Measure now, and keep what is found.")] = False,
    space: Annotated[str, typer.Option(help="Space to measure, or the run directory of a supernet.")] = DEFAULT_SPACE,
    runtime: Annotated[str, typer.Option(help="onnxruntime or eager.")] = "onnxruntime",
    networks: Annotated[int, typer.Option(help="Whole networks to measure.", min=LEAST_NETWORKS)] = 160,
    seconds: Annotated[float, typer.Option(help="Most time for the timing itself.", min=1.0)] = SECONDS,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Measure a machine and fit its latency model, or print what is known of it."""
    del json
    from netwright.cli.latency import latency_model, measure_space
    from netwright.runtime.runtimes import runtime as runtime_of

    runtime_of(runtime)
    made = read_family(space)
    if measure:
        if name != "this":
            raise NetwrightError(
                f"Only the machine that runs the command can be measured: netwright device this --measure, not {name!r}. "
                "Run it on that device, then copy its file and name it with --device FILE.json when you search."
            )
        model = measure_space(made, runtime=runtime, networks=networks, seconds=seconds)
    else:
        found = latency_model(made, name, runtime, needed=True)
        assert found is not None
        model = found
    return Result(model.summary(), describe(model))


def read_family(space: str) -> Family:
    """Return a family by the name of its space, or that of a run directory.

    Raises:
        NetwrightError: neither.
    """
    from netwright.cli.workspace import family_of, open_run
    from netwright.supernet.spaces import SPACES, family

    if space not in SPACES and Path(space).is_dir():
        return family_of(open_run(Path(space)))
    return family(space)


def describe(model: LatencyModel) -> list[Any]:
    """Return what people want to know of a latency model."""
    held, noise = model.held_out, model.noise_floor
    return [
        f"{model.device}, {model.runtime_version}, {model.threads} thread",
        f"space {model.space}: {len(model.blocks_ms)} blocks timed, {model.measured.get('networks', '?')} networks",
        f"on {held['networks']:g} networks it had not seen: mean error {held['mape']:.1f} %, "
        f"{held['within_10pct']:.0f} % within 10 %, Kendall tau {held['kendall_tau']:.3f}",
        f"noise floor, two halves of the same measurements: mean difference {noise['mape']:.1f} %, "
        f"{noise['within_10pct']:.0f} % within 10 %, Kendall tau {noise['kendall_tau']:.3f}",
    ]
