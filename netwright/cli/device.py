"""`netwright device`: what a machine can do, measured there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import Result
from netwright.core.errors import NetwrightError, unknown
from netwright.runtime.runtimes import RUNTIMES
from netwright.workflow.measure import DEFAULT_SPACE, LEAST_NETWORKS, NETWORKS, SECONDS

if TYPE_CHECKING:
    from netwright.device.latency import LatencyModel
    from netwright.device.machine import Machine


def device(
    name: Annotated[
        str,
        typer.Argument(
            help="`this`, the machine that runs the command, one known from data sheets, such as a100, or FILE.py:NAME."
        ),
    ] = "this",
    measure: Annotated[bool, typer.Option("--measure", help="Measure now, and keep what is found.")] = False,
    peaks: Annotated[bool, typer.Option("--peaks", help="Only peak rates: with --measure three seconds.")] = False,
    space: Annotated[
        str, typer.Option(help="Space to measure, FILE.py:NAME, or the run directory of a supernet.")
    ] = DEFAULT_SPACE,
    runtime: Annotated[str, typer.Option(help=f"What runs the networks: {RUNTIMES.help}.")] = "onnxruntime",
    networks: Annotated[int, typer.Option(help="Whole networks to measure.", min=LEAST_NETWORKS)] = NETWORKS,
    seconds: Annotated[float, typer.Option(help="Most time for the timing itself.", min=1.0)] = SECONDS,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Measure a machine: its peak rates and a latency model.

    Without anything to measure, it prints what is known of the machine.
    """
    del json
    from netwright.runtime.runtimes import runtime as runtime_of
    from netwright.workflow.measure import described, known_rates, latency_model, measure_device, read_space

    if measure and name != "this":
        raise NetwrightError(
            f"Only the machine that runs the command can be measured: netwright device this --measure, not {name!r}. "
            "Run it on that device, then copy its file and name it with --device FILE.json when you search."
        )
    machine = described(name)
    if machine is not None:
        return Result(machine.to_json(), describe_machine(machine))
    if peaks:
        return peak_rates(name, measure)
    if measure:
        model = measure_device(space, runtime=runtime, networks=networks, seconds=seconds)
    else:
        runtime_of(runtime)
        found = latency_model(read_space(space), name, runtime, needed=True)
        assert found is not None
        model = found
    known = known_rates() if name == "this" else []
    rates = {"peaks": [machine.to_json() for machine in known]} if known else {}
    return Result(model.summary() | rates, describe(model) + [line for one in known for line in describe_machine(one)])


def peak_rates(name: str, measure: bool) -> Result:
    """Return the peak rates of this machine with one thread and with all; measured now, or as they were kept.

    Raises:
        NetwrightError: another machine, or none were measured yet.
    """
    from netwright.device.machines import MACHINES
    from netwright.device.peaks import this_machine
    from netwright.workflow.measure import known_rates, measure_rates

    if name != "this":
        raise unknown("Device", name, (*MACHINES, "this"))
    known = (measure_rates() if measure else known_rates()) or [this_machine()]
    return Result(
        {"peaks": [one.to_json() for one in known]}, [line for one in known for line in describe_machine(one)]
    )


def describe_machine(machine: Machine) -> list[Any]:
    """Return the figures of a machine, each with its source."""
    from rich.table import Table

    table = Table("figure", "value", "kind", "source", box=None, pad_edge=False)
    table.columns[0].no_wrap, table.columns[1].justify = True, "right"
    for name, figure in machine.figures().items():
        table.add_row(name, f"{figure.value:.4g}", figure.kind, figure.source)
    notes = [f"note: {note}" for note in machine.notes]
    return [f"{machine.name}: {machine.scope}", table, f"energies: {machine.energy.citation}", *notes]


def describe(model: LatencyModel) -> list[Any]:
    """Return what people want to know of a latency model."""
    held, noise, calm = model.held_out, model.noise_floor, model.measured.get("calm")
    share = [] if calm is None else [f"{calm:.0%} of the timings fell in calm moments of the machine"]
    again = f"Measure again when it is idle: netwright device this --measure --space {model.space}"
    busy = [f"warning: {model.doubt}. {again}"] if model.doubt else []
    return [
        f"{model.device}, {model.runtime_version}, {model.threads} thread",
        f"space {model.space}: {len(model.blocks_ms)} blocks timed, {model.measured.get('networks', '?')} networks",
        f"on {held['networks']:g} networks it had not seen: mean error {held['mape']:.1f} %, "
        f"{held['within_10pct']:.0f} % within 10 %, Kendall tau {held['kendall_tau']:.3f}",
        f"noise floor, two halves of the same measurements: mean difference {noise['mape']:.1f} %, "
        f"{noise['within_10pct']:.0f} % within 10 %, Kendall tau {noise['kendall_tau']:.3f}",
        *share,
        *busy,
    ]
