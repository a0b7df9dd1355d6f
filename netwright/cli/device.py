"""`netwright device`: what a machine can do, measured there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import Result
from netwright.core.errors import NetwrightError, unknown

if TYPE_CHECKING:
    from netwright.device.latency import LatencyModel
    from netwright.device.machine import Machine
    from netwright.models.family import Family

DEFAULT_SPACE = "mobilenet-v3-small"
LEAST_NETWORKS = 24
SECONDS = 90.0


def device(
    name: Annotated[
        str,
        typer.Argument(help="`this`, the machine that runs the command, or one known from data sheets, such as a100."),
    ] = "this",
    measure: Annotated[bool, typer.Option("--measure", help="Measure now, and keep what is found.")] = False,
    peaks: Annotated[bool, typer.Option("--peaks", help="Only peak rates: with --measure three seconds.")] = False,
    space: Annotated[str, typer.Option(help="Space to measure, or the run directory of a supernet.")] = DEFAULT_SPACE,
    runtime: Annotated[str, typer.Option(help="onnxruntime or eager.")] = "onnxruntime",
    networks: Annotated[int, typer.Option(help="Whole networks to measure.", min=LEAST_NETWORKS)] = 160,
    seconds: Annotated[float, typer.Option(help="Most time for the timing itself.", min=1.0)] = SECONDS,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Measure a machine: its peak rates and a latency model; or print what is known of it."""
    del json
    from netwright.device.machines import MACHINES
    from netwright.runtime.runtimes import runtime as runtime_of

    if measure and name != "this":
        raise NetwrightError(
            f"Only the machine that runs the command can be measured: netwright device this --measure, not {name!r}. "
            "Run it on that device, then copy its file and name it with --device FILE.json when you search."
        )
    if name in MACHINES:
        return Result(MACHINES[name].to_json(), describe_machine(MACHINES[name]))
    if peaks:
        return peak_rates(name, measure)
    if name != "this" and not name.endswith(".json"):
        raise unknown("Device", name, (*MACHINES, "this", "a latency model's FILE.json"))
    from netwright.cli.latency import latency_model, measure_space

    runtime_of(runtime)
    made = read_family(space)
    if measure:
        peak_rates(name, measure)
        model = measure_space(made, runtime=runtime, networks=networks, seconds=seconds)
    else:
        found = latency_model(made, name, runtime, needed=True)
        assert found is not None
        model = found
    known = known_peaks() if name == "this" else []
    rates = {"peaks": [machine.to_json() for machine in known]} if known else {}
    return Result(model.summary() | rates, describe(model) + [line for one in known for line in describe_machine(one)])


def peak_rates(name: str, measure: bool) -> Result:
    """Return the peak rates of this machine with one thread and with all; measured now, or as they were kept.

    Raises:
        NetwrightError: another machine, or none were measured yet.
    """
    from netwright.core.errors import unknown
    from netwright.core.progress import say
    from netwright.device.machines import MACHINES
    from netwright.device.peaks import measure_peaks, save_peaks, this_machine, thread_counts

    if name != "this":
        raise unknown("Device", name, (*MACHINES, "this"))
    if measure:
        for threads in thread_counts():
            say(f"measuring peak rates with {threads} thread(s)")
            save_peaks(measure_peaks(threads))
    known = known_peaks() or [this_machine()]
    return Result(
        {"peaks": [one.to_json() for one in known]}, [line for one in known for line in describe_machine(one)]
    )


def known_peaks() -> list[Machine]:
    """Return this machine as it was measured, for each number of threads."""
    from netwright.device.peaks import find_peaks, thread_counts

    return [found.machine() for threads in thread_counts() if (found := find_peaks(threads)) is not None]


def describe_machine(machine: Machine) -> list[Any]:
    """Return the figures of a machine, each with its source."""
    from rich.table import Table

    table = Table("figure", "value", "kind", "source", box=None, pad_edge=False)
    table.columns[0].no_wrap, table.columns[1].justify = True, "right"
    for name, figure in machine.figures().items():
        table.add_row(name, f"{figure.value:.4g}", figure.kind, figure.source)
    notes = [f"note: {note}" for note in machine.notes]
    return [f"{machine.name}: {machine.scope}", table, f"energies: {machine.energy.citation}", *notes]


def read_family(space: str) -> Family:
    """Return a family by the name of its space, or that of a run directory.

    Raises:
        NetwrightError: neither.
    """
    from netwright.cli.workspace import family_of, open_run
    from netwright.models.families import SPACES, family

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
