"""`netwright search`: the best networks of a trained supernet within a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.microcontroller import (
    describe_prices,
    is_microcontroller,
    needs,
    parse_more,
    predicted_ms,
    with_memories,
)
from netwright.cli.result import Result
from netwright.core.errors import unknown
from netwright.core.units import COUNT, TIME_MS, parse_quantity

if TYPE_CHECKING:
    from netwright.cost.figures import Figure
    from netwright.device.latency import LatencyModel
    from netwright.models.arch import Arch
    from netwright.models.family import Family
    from netwright.searching.limits.budget import Budget
    from netwright.searching.limits.microcontroller import McuPrices
    from netwright.specialization.specialize import Specialization
    from netwright.workflow.open import OpenRun

STRATEGY_NAMES = ("evolution", "nsga2", "random")
LISTED = 5
TRIES = 3
MOST_FRONT = 30


@dataclass(frozen=True)
class Plan:
    """How to search. `evaluations` sub-networks are evaluated before the accuracy predictor is first fitted."""

    device: str = "this"
    runtime: str = "onnxruntime"
    strategy: str = "evolution"
    evaluations: int = 200
    seed: int = 0
    calibration_images: int = 1024
    workers: int | None = None


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
        typer.Option(help="Of a microcontroller, NAME=VALUE: sram=128KB, flash=512KB (all it has), instructions=10M."),
    ] = None,
    strategy: Annotated[str, typer.Option(help=f"One of {', '.join(STRATEGY_NAMES)}.")] = "evolution",
    evaluations: Annotated[int, typer.Option(help="Sub-networks to evaluate for the predictor.", min=20)] = 200,
    runtime: Annotated[str, typer.Option(help="onnxruntime or eager.")] = "onnxruntime",
    seed: Annotated[int, typer.Option(help="Seed of the search.", min=0)] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Find the networks with the best accuracy within the limits; all given limits hold at once."""
    del json
    from netwright.runtime.runtimes import runtime as runtime_of
    from netwright.workflow.open import open_run

    limits = parse_limits(latency, macs, params) | parse_more(limit or [])
    if strategy not in STRATEGY_NAMES:
        raise unknown("Strategy", strategy, STRATEGY_NAMES)
    runtime_of(runtime)
    check_device(device)
    opened = open_run(run)
    found = search_run(opened, limits, Plan(device, runtime, strategy, evaluations, seed))
    data = {key: found[key] for key in ("device", "budget", "candidates", "front")}
    closing = [
        "",
        f"{len(found['front'])} networks on the front; all in {run / 'search' / found['name']}.json",
        f"Next: {next_verb(run, found)}; netwright report {run}",
    ]
    return Result(data, [f"{found['name']}, the most accurate first:", table(found["candidates"]), *closing])


def next_verb(run: Path, found: dict[str, Any]) -> str:
    """Return the command that brings the best network found to its device."""
    if on_mcu := found["microcontroller"]:
        return f"netwright compile {run}:best --cpu {on_mcu['cpu']} --sram {found['budget']['sram_bytes']:.0f}B --out build/"
    return f"netwright deploy {run} --arch best --to onnx --out build/"


def check_device(device: str) -> None:
    """Refuse a device that is neither described nor measured.

    Raises:
        NetwrightError: it is not known; names those that are.
    """
    from netwright.device.machines import MACHINES
    from netwright.device.store import THIS, device_folder

    if device in MACHINES or device == THIS or device.endswith(".json") or device_folder(device).is_dir():
        return
    raise unknown("Device", device, (*MACHINES, THIS, "a latency model's FILE.json"))


def parse_limits(latency: str | None, macs: str | None, params: str | None) -> dict[str, float]:
    """Read the limits as they were typed.

    Raises:
        NetwrightError: not a number, not greater than zero, or a wrong unit.
    """
    given = {
        "latency_ms": (latency, TIME_MS, "--latency"),
        "macs": (macs, COUNT, "--macs"),
        "params": (params, COUNT, "--params"),
    }
    return {key: parse_quantity(text, units, flag) for key, (text, units, flag) in given.items() if text is not None}


def search_run(run: OpenRun, limits: dict[str, float], plan: Plan) -> dict[str, Any]:
    """Search a run within limits, write RUN/search/NAME.json, and return what it holds.

    Networks are chosen by their accuracy on images held out from training. The accuracy of the candidates is then
    measured on the validation images, by which nothing was chosen.

    Raises:
        NetwrightError: no network fits (before anything is loaded, with the least reachable values), or there is
            nothing to search.
    """
    import numpy as np

    from netwright.core.files import write_json
    from netwright.searching.limits.budget import Budget, reach
    from netwright.searching.limits.microcontroller import McuPrices, mcu_prices
    from netwright.specialization.evaluate import evaluate_archs
    from netwright.specialization.specialize import specialize
    from netwright.workflow.measure import describe_model, latency_model

    made = run.family
    if is_microcontroller(plan.device):
        budget = Budget(**with_memories(plan.device, limits))
        model = mcu_prices(plan.device, sram_bytes=budget.sram_bytes)
    else:
        budget = Budget(**limits)
        model = latency_model(made, plan.device, plan.runtime, needed=budget.latency_ms is not None)
    reach(made.space, budget.limits(made, model), np.random.default_rng(0))
    run.require_trained()
    supernet, training, held_out = run.supernet, run.training, run.held_out
    shared = {"calibration_images": plan.calibration_images, "workers": plan.workers}

    def search_within(limit: Budget) -> Specialization:
        return specialize(
            supernet,
            training,
            limit,
            run.path,
            latency=model,
            images=held_out,
            samples=plan.evaluations,
            strategy=plan.strategy,
            seed=plan.seed,
            **shared,
        )

    found, best, measured = timed_search(search_within, made, budget, plan)
    values = evaluate_archs(supernet, training, best, run.path / "validation.jsonl", **shared)
    listing, on_mcu = Listing(made, model), isinstance(model, McuPrices)
    result = {
        "schema": 1,
        "name": name_of(budget),
        "device": plan.device,
        "runtime": plan.runtime if model and not on_mcu else None,
        "strategy": plan.strategy,
        "seed": plan.seed,
        "evaluations": plan.evaluations,
        "considered": found.considered,
        "budget": budget.to_json(),
        "candidates": [
            listing.entry(arch, float(value), measured.get(arch)) for arch, value in zip(best, values, strict=True)
        ],
        "front": listing.front([(one.arch, one.accuracy.value) for one in found.front]),
        "points": listing.points(run),
        "predictor": {**found.predictor.to_json(), **held_out_pairs(made, run)},
        "latency_model": describe_model(model) if model and not isinstance(model, McuPrices) else None,
        "microcontroller": describe_prices(model, made, budget) if isinstance(model, McuPrices) else None,
    }
    write_json(run.path / "search" / f"{result['name']}.json", result)
    return result


def timed_search(
    search_within: Callable[[Budget], Specialization], made: Family, budget: Budget, plan: Plan
) -> tuple[Specialization, list[Arch], dict[Arch, Figure]]:
    """Search, and where this machine's latency is limited, time what was found; return also the best and their latencies.

    A prediction can be some percent off. Networks that measure above the limit are left out; while none is left, the search
    is repeated within a limit lowered by as much as the best one exceeded it.
    """
    from netwright.core.progress import say
    from netwright.workflow.measure import measured_latencies

    found = search_within(budget)
    best = [one.arch for one in found.candidates[:LISTED]]
    if plan.device != "this" or budget.latency_ms is None:
        return found, best, {}
    measured: dict[Arch, Figure] = {}
    aim_ms = budget.latency_ms
    for tries_left in reversed(range(TRIES)):
        measured |= measured_latencies(made, best, plan.runtime)
        fitting = [arch for arch in best if measured[arch].value <= budget.latency_ms]
        if fitting:
            return found, fitting, measured
        if not tries_left:
            break
        least_ms = min(measured[arch].value for arch in best)
        aim_ms *= budget.latency_ms / least_ms
        say(
            f"the networks found measure {least_ms:.4g} ms and more: searching once more, within {aim_ms:.4g} ms predicted"
        )
        found = search_within(dataclasses.replace(budget, latency_ms=aim_ms))
        best = [one.arch for one in found.candidates[:LISTED]]
    say(f"warning: none of {TRIES} searches found a network that measures at most {budget.latency_ms:g} ms here")
    return found, best, measured


class Listing:
    """Writes networks as entries of a search result."""

    def __init__(self, made: Family, model: LatencyModel | McuPrices | None):
        self.made, self.model = made, model

    def entry(self, arch: Arch, accuracy: float, measured: Figure | None = None) -> dict[str, Any]:
        """Return one network with its measured accuracy, and its predicted latency where none was measured."""
        from netwright.cost.figures import Cost, Figure
        from netwright.searching.limits.microcontroller import McuPrices

        figure = Figure(round(accuracy, 4), "measured")
        cost = Cost(self.made.macs(arch), self.made.params(arch), measured or self.latency(arch), figure)
        more = {"microcontroller": needs(self.model, self.made, arch)} if isinstance(self.model, McuPrices) else {}
        return {"arch": arch.to_json(), **cost.to_json(), **more}

    def latency(self, arch: Arch) -> Figure | None:
        """Return the predicted latency of a network, None where no model is known."""
        from netwright.searching.limits.microcontroller import McuPrices
        from netwright.workflow.measure import predicted_latency

        if isinstance(self.model, McuPrices):
            return predicted_ms(self.model, self.made, arch)
        return predicted_latency(self.model, self.made, arch) if self.model else None

    def front(self, networks: list[tuple[Arch, float]]) -> list[dict[str, Any]]:
        """Return the trade-off between accuracy and latency (MACs where it is unknown), best accuracy first, thinned."""
        import numpy as np

        from netwright.searching.pareto import front

        entries = [self.entry(arch, accuracy) for arch, accuracy in networks]
        costs = [one["latency_ms"]["value"] if self.model else one["macs"] for one in entries]
        rows = front(np.array([[-one["accuracy"]["value"], cost] for one, cost in zip(entries, costs, strict=True)]))
        if len(rows) > MOST_FRONT:
            rows = rows[np.linspace(0, len(rows) - 1, MOST_FRONT).round().astype(int)]
        return [entries[row] for row in rows]

    def points(self, run: OpenRun) -> list[list[float | None]]:
        """Return (latency or None, MACs, accuracy) of every network that was evaluated, for plots."""
        from netwright.specialization.evaluate import recorded

        points: list[list[float | None]] = []
        for arch, accuracy in recorded(run.path / "evaluations.jsonl").items():
            latency = self.latency(arch)
            points.append([latency.value if latency else None, self.made.macs(arch), round(accuracy, 4)])
        return points


def held_out_pairs(made: Family, run: OpenRun) -> dict[str, Any]:
    """Fit a predictor to four fifths of what was evaluated; return (predicted, measured) accuracies of the last fifth."""
    import numpy as np

    from netwright.searching.predictor import AccuracyPredictor
    from netwright.specialization.evaluate import recorded

    known = recorded(run.path / "evaluations.jsonl")
    order = np.random.default_rng(0).permutation(len(known))
    genes = np.stack([made.space.encode(arch) for arch in known])[order]
    values = np.array(list(known.values()))[order]
    held = len(known) // 5
    guessed = AccuracyPredictor.fit(made.space, genes[held:], values[held:])(genes[:held])
    pairs = [
        [round(float(guess), 4), round(float(value), 4)] for guess, value in zip(guessed, values[:held], strict=True)
    ]
    return {"held_out": held, "pairs": pairs}


def table(candidates: list[dict[str, Any]]) -> Any:
    """Return candidates as a table."""
    from rich.table import Table

    on_mcu = all("microcontroller" in one for one in candidates)
    more = ("arena", "flash", "instructions") if on_mcu else ()
    shown = Table("#", "top-1 accuracy", "latency", "MACs", "parameters", "input", *more, box=None, pad_edge=False)
    for column in shown.columns[1:]:
        column.justify = "right"
    for place, one in enumerate(candidates):
        accuracy, latency = one["accuracy"], one["latency_ms"]
        shown.add_row(
            str(place),
            f"{accuracy['value']:.2f} % {accuracy['kind']}",
            f"{latency['value']:.3g} ms {latency['kind']}" if latency else "not measured",
            f"{one['macs'] / 1e6:.2f} M",
            f"{one['params'] / 1e3:.1f} k",
            f"{one['arch']['resolution']} px",
            *(_on_mcu(one["microcontroller"]) if on_mcu else ()),
        )
    return shown


def _on_mcu(one: dict[str, Any]) -> tuple[str, str, str]:
    return f"{one['arena_bytes']:,} B", f"{one['flash_bytes'] / 1024:.1f} KB", f"{one['instructions'] / 1e6:.2f} M"


def name_of(budget: Budget) -> str:
    """Return a file name for a budget: latency-2ms_macs-20M."""
    from netwright.report.sections import budget_text

    return budget_text({"budget": budget.to_json()}).replace(", ", "_").replace(" ", "-")
