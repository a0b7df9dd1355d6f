"""`netwright search`: the best networks of a trained supernet within a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import SPACE_AGAIN, TASK_AGAIN, Result
from netwright.core.metric import Metric
from netwright.runtime.runtimes import RUNTIMES
from netwright.searching.limits.table import LIMITS, SHORT, exceeded_text, parse_limit
from netwright.searching.strategies.table import LEAST_EVALUATIONS, STRATEGIES

if TYPE_CHECKING:
    from netwright.searching.limits.kind import LimitKind
    from netwright.specialization.candidate import Candidate
    from netwright.workflow.search import Found


def search(
    run: Annotated[Path, typer.Argument(help="Run directory of a trained supernet.")],
    device: Annotated[
        str, typer.Option(help="Device whose latency counts, measured first; or a microcontroller.")
    ] = "this",
    latency: Annotated[str | None, typer.Option(help="Limit, for example 2ms or 500us.")] = None,
    macs: Annotated[str | None, typer.Option(help="Limit on multiply-accumulates, for example 20M.")] = None,
    params: Annotated[str | None, typer.Option(help="Limit on parameters, for example 1M.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            help=f"NAME=VALUE, repeatable: sram=128KB, energy=2mJ, training_memory@bias:8=30MB. Names: {LIMITS.help}. Of a "
            "microcontroller, memories that are not limited are limited to all it has."
        ),
    ] = None,
    strategy: Annotated[str, typer.Option(help=f"One of {STRATEGIES.help}.")] = "evolution",
    evaluations: Annotated[
        int, typer.Option(help="Most sub-networks to evaluate, all in all.", min=LEAST_EVALUATIONS)
    ] = 200,
    runtime: Annotated[str, typer.Option(help=f"What runs the networks: {RUNTIMES.help}.")] = "onnxruntime",
    seed: Annotated[int, typer.Option(help="Seed of the search.", min=0)] = 0,
    space: Annotated[str | None, typer.Option(help=SPACE_AGAIN)] = None,
    task: Annotated[str | None, typer.Option(help=TASK_AGAIN)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Find the best networks within the limits.

    All given limits hold at once.
    """
    del json
    limits = parse_limits({"latency": latency, "macs": macs, "params": params}, limit or [])
    STRATEGIES.check(strategy)
    from netwright.workflow import search as work

    found = work.search(
        run,
        device=device,
        runtime=runtime,
        strategy=strategy,
        evaluations=evaluations,
        seed=seed,
        workers=None,
        limits=limits,
        space=space,
        task=task,
    )
    told = found.to_json()
    data = {key: told[key] for key in ("device", "budget", "candidates", "front")} | {"warnings": list(found.warnings)}
    closing = [
        "",
        *describe_models(found),
        *(f"warning: {text}" for text in found.warnings),
        f"{len(found.front)} networks on the front; all in {found.path}",
        f"Next: {next_verb(run, told)}; netwright report {run}",
    ]
    return Result(data, [heading(found), table(found), *closing])


def heading(found: Found) -> str:
    """Return what the table lists, and in which order."""
    images = found.to_json()["images"]
    return (
        f"{found.name}, best first by the {images['chosen_by']} images held out for the search, by which networks are chosen; then on "
        f"the {images['validation']} validation images, by which nothing is chosen:"
    )


def describe_models(found: Found) -> list[str]:
    """Return how good the figures of the table are that were not measured."""
    told = found.to_json()
    model, on_mcu = told["latency_model"], told["microcontroller"]
    lines = []
    if model:
        held, noise = model["held_out"], model["noise_floor"]
        lines.append(
            f"latency model: mean error {held['mape']:.1f} %, noise floor of its timings {noise['mape']:.1f} %"
        )
    if on_mcu:
        lines.append(f"latency: {on_mcu['milliseconds']}")
    return lines


def parse_limits(short: dict[str, str | None], texts: list[str]) -> dict[str | LimitKind, float]:
    """Read the limits as they were typed: those with an option of their own, and NAME=VALUE.

    Raises:
        NetwrightError: an unknown name, not a number, not greater than zero, or a wrong unit.
    """
    assert set(short) == set(SHORT)
    found: dict[str | LimitKind, float] = {
        LIMITS[name]: LIMITS[name].parse(text, f"--{name}") for name, text in short.items() if text is not None
    }
    return found | dict(parse_limit(text) for text in texts)


def next_verb(run: Path, found: dict[str, Any]) -> str:
    """Return the command that brings the best network found to its device."""
    if on_mcu := found["microcontroller"]:
        return f"netwright compile {run}:best --cpu {on_mcu['cpu']} --sram {found['budget']['sram_bytes']:.0f}B --out build/"
    return f"netwright deploy {run} --arch best --to onnx --out build/"


def table(found: Found) -> Any:
    """Return candidates as a table."""
    from rich.table import Table

    metric: Metric = found.best.cost.metric
    on_mcu = found.best.microcontroller is not None
    more = ("arena", "flash", "instructions") if on_mcu else ()
    scores = (f"{metric.name}, held out", "validation")
    shown = Table("#", *scores, "latency", "MACs", "parameters", "input", *more, box=None, pad_edge=False)
    for column in shown.columns[1:]:
        column.justify = "right"
    shown.columns[3].no_wrap = True  # the mark of a limit exceeded stays beside its figure
    for place, one in enumerate(found.candidates):
        cost, needs = one.cost, one.microcontroller
        shown.add_row(
            str(place),
            *(
                f"{metric.text(score.value)} {score.kind}" if score else "not measured"
                for score in (one.chosen_by, cost.score)
            ),
            _latency(one),
            f"{cost.macs / 1e6:.2f} M",
            f"{cost.params / 1e3:.1f} k",
            f"{one.arch.resolution} px",
            *(_on_mcu(needs.to_json()) if needs else ()),
        )
    return shown


def _latency(one: Candidate) -> str:
    latency = one.cost.latency_ms
    if latency is None:
        return "not measured"
    return ", ".join(filter(None, [f"{latency.value:.3g} ms {latency.kind}", exceeded_text(one.exceeds)]))


def _on_mcu(one: dict[str, Any]) -> tuple[str, str, str]:
    return f"{one['arena_bytes']:,} B", f"{one['flash_bytes'] / 1024:.1f} KB", f"{one['instructions'] / 1e6:.2f} M"
