"""Search a run: the best networks of its supernet within limits, timed where they run, and the file that keeps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netwright.core.errors import NetwrightError, unknown
from netwright.core.files import write_json
from netwright.core.lock import check_free, sole_writer
from netwright.core.progress import say
from netwright.core.tables import is_own, name_of
from netwright.cost.figures import Figure
from netwright.device.latency import LatencyModel
from netwright.device.machines import MACHINES, machine
from netwright.device.peaks import find_peaks
from netwright.device.store import THIS, device_folder
from netwright.models.arch import Arch
from netwright.models.family import Family
from netwright.models.own_space import GivenSpace
from netwright.runtime.runtimes import runtime as runtime_of
from netwright.searching.limits.budget import Budget
from netwright.searching.limits.kind import DevicePrices
from netwright.searching.limits.mcu_prices import McuPrices, mcu_prices, with_memories
from netwright.searching.limits.reach import reach
from netwright.searching.limits.table import LIMITS, budget_name, exceeded, exceeded_text, find_limit
from netwright.searching.predictor import LEAST, AccuracyPredictor
from netwright.searching.search import check_strategy
from netwright.searching.strategies.table import LEAST_EVALUATIONS, Strategy
from netwright.specialization.candidate import Candidate, Describe
from netwright.specialization.evaluate import evaluate_archs, recorded
from netwright.specialization.specialize import Callback, Specialization, specialize
from netwright.specialization.spending import Spending
from netwright.specialization.timed import LISTED, TRIES, timed_search
from netwright.specialization.tinynas import choose_space
from netwright.tasks.task import Task
from netwright.workflow.measure import describe_model, latency_model, measured_latencies, warn_of_doubt
from netwright.workflow.open import OpenRun, open_run

Limits = Mapping[Any, float]  # by name, key, FILE.py:NAME or LimitKind


@dataclass(frozen=True)
class Found:
    """What a search found, and the file that it is kept in.

    `candidates`: the best networks, the best first, with their metric on the validation images. `front`: the trade-off between
    metric and latency (multiply-accumulates where no latency is known), on the images that networks were chosen by.
    """

    candidates: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    path: Path
    data: Mapping[str, Any]

    @property
    def best(self) -> Candidate:
        """The best network; `deploy` and `compile` take it."""
        return self.candidates[0]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the result doubtful, and what to do; empty where nothing does."""
        model = self.data.get("latency_model") or {}
        above = [one for one in self.candidates if one.exceeds]
        limits = exceeded_text(above[0].exceeds) if above else ""
        named = (
            "all networks listed measure" if len(above) == len(self.candidates) else f"{len(above)} networks measure"
        )
        told = (
            self.data["predictor"].get("doubt"),
            f"the latency model stands on doubtful timings: {model['busy']}" if model.get("busy") else None,
            f"{named} {limits}: no network within the limit was found" if above else None,
        )
        return tuple(text for text in told if text)

    @property
    def name(self) -> str:
        """The limits in few words, which name the file."""
        return str(self.data["name"])

    def to_json(self) -> dict[str, Any]:
        """Return what the file holds."""
        return dict(self.data)


def search(
    run: str | Path | OpenRun,
    *,
    device: str = THIS,
    runtime: str = "onnxruntime",
    strategy: str | Strategy = "evolution",
    evaluations: int = 200,
    seed: int = 0,
    limits: Limits | None = None,
    listed: int = LISTED,
    calibration_images: int = 1024,
    workers: int | None = 1,
    callback: Callback | None = None,
    space: GivenSpace | None = None,
    task: str | Task | None = None,
    **by_key: float | None,
) -> Found:
    """Search a run within limits, write RUN/search/NAME.json, and return what it holds.

    Networks are chosen by the metric on images held out from training. The metric of the best is then measured on the
    validation images, by which nothing was chosen; where the latency of this machine is limited, they are timed too.

    Args:
        run: directory of a trained supernet, or the run itself, opened.
        device: whose latency counts: `this` machine, one that was measured, a latency model's FILE.json, or one of `MACHINES`;
            for a microcontroller, memories that are not limited are limited to all it has.
        runtime: what runs the networks on this machine.
        strategy: a name in `STRATEGIES`, FILE.py:NAME, or a function.
        evaluations: the most sub-networks that are evaluated in all: to fit the predictor, in the search, and the best ones
            once more on the validation images. Those that the run evaluated before count too, but cost nothing.
        seed: of the search.
        limits: as `Budget` takes them: {"training_memory@bias:8": 30e6}, or limits of your own.
        listed: how many of the best networks are timed and returned, at most a quarter of `evaluations`.
        calibration_images: how many training images BatchNorm is calibrated on.
        workers: processes that evaluate; None: as many as there are cores. More than one import the calling script again, which
            therefore runs its work under `if __name__ == "__main__":`.
        callback: called with each record of the search; where it returns True, the search ends with what was found. See
            `specialize`.
        space: the run's space again, where it is your own.
        task: the run's task again, where it is your own.
        **by_key: limits by the keys of `LIMITS`, such as `latency_ms=2.0, macs=20e6`.

    Raises:
        NetwrightError: no network fits (before anything is loaded, with the least reachable values), an argument is none of
            what is allowed, or there is nothing to search.
    """
    _check(device, runtime, strategy, evaluations, listed, seed)
    bounds = keyed(limits, by_key)
    timed = device_budget(device, bounds).latency_ms is not None and device == THIS
    spending = Spending.of(evaluations, listed, TRIES - 1 if timed else 0)
    opened = open_run(run, space=space, task=task)
    check_free(opened.path)
    opened.require_trained()
    prices, budget = price_device(opened.family, device, runtime, bounds)
    made = opened.family
    reach(made.space, budget.limits(made, prices), np.random.default_rng(0))
    say(spending.text())
    shared: dict[str, Any] = {"calibration_images": calibration_images, "workers": workers, "task": opened.task}
    stop = _Stop(callback)
    how = {"strategy": strategy, "seed": seed, "callback": stop if callback else None, **shared}
    model = prices.latency if isinstance(prices.latency, LatencyModel) else None
    measure = (lambda archs: measured_latencies(made, archs, runtime, model)) if timed else None
    search_within = _searcher(opened, prices, spending, how)
    with sole_writer(opened.path):
        found, best, measured = timed_search(search_within, budget, measure, listed=listed, stopped=stop.asked)
        values = evaluate_archs(opened.supernet, opened.training, best, opened.path / "validation.jsonl", **shared)
    describe = Describe(made, prices, opened.metric)
    chosen_by = {one.arch: one.cost.score for one in found.candidates}
    candidates = _listed(describe, best, values.tolist(), measured, chosen_by, budget)
    front = describe.trade_off([(one.arch, one.cost.score.value) for one in found.front if one.cost.score])
    used = runtime if prices.latency and not isinstance(prices.latency, McuPrices) else None
    asked = {"spent": vars(spending), "device": device, "runtime": used}
    asked |= {"strategy": name_of(strategy), "seed": seed, "evaluations": evaluations}
    data = _record(opened, asked, budget, found, candidates, front, describe, prices)
    path = opened.path / "search" / f"{data['name']}.json"
    write_json(path, data)
    return Found(candidates, front, path, data)


def _searcher(
    run: OpenRun, prices: DevicePrices, spending: Spending, how: dict[str, Any]
) -> Callable[[Budget], Specialization]:
    """Return a search of a run within a budget; the first one and those that repeat it spend what is meant for them."""
    settings = {"latency": prices, "images": run.held_out, "samples": spending.sample, **how}
    searched: list[Budget] = []

    def search_within(budget: Budget) -> Specialization:
        refined = spending.repeated if searched else spending.refined
        found = specialize(run.supernet, run.training, budget, run.path, refined=refined, **settings)
        searched.append(budget)  # one that no network fits has spent nothing
        return found

    return search_within


def _record(
    run: OpenRun,
    asked: Mapping[str, Any],
    budget: Budget,
    found: Specialization,
    candidates: tuple[Candidate, ...],
    front: tuple[Candidate, ...],
    describe: Describe,
    prices: DevicePrices,
) -> dict[str, Any]:
    """Return what the file of a search holds."""
    return {
        "schema": 1,
        "name": budget_name(budget.to_json()),
        **asked,
        "considered": found.considered,
        "images": {"chosen_by": len(run.held_out), "validation": len(run.validation)},
        "budget": budget.to_json(),
        "candidates": [one.to_json() for one in candidates],
        "front": [one.to_json() for one in front],
        "points": points(run, describe),
        "predictor": {**found.predictor.to_json(), "doubt": found.predictor.doubt, **held_out_pairs(run)},
        **_models(prices, run.family, budget),
    }


def _listed(
    describe: Describe,
    archs: Sequence[Arch],
    values: Sequence[float],
    measured: Mapping[Arch, Figure],
    chosen_by: Mapping[Arch, Figure | None],
    budget: Budget,
) -> tuple[Candidate, ...]:
    """Describe the best networks, in the order in which they were chosen, with what they were measured to exceed."""
    found = []
    for arch, value in zip(archs, values, strict=True):
        latency = measured.get(arch)
        one = describe.candidate(arch, Figure(round(value, 4), "measured"), latency, planned=True)
        above = exceeded(budget.to_json(), {"latency_ms": latency.value if latency else None})
        found.append(dataclasses.replace(one, exceeds=above, chosen_by=chosen_by.get(arch)))
    return tuple(found)


def keyed(limits: Limits | None, by_key: Mapping[str, float | None]) -> dict[Any, float]:
    """Return limits by their keys; those of a user's own stay as they are.

    Raises:
        NetwrightError: a limit is not known.
    """
    kinds = {find_limit(name): bound for name, bound in (limits or {}).items()}
    ours = {kind.key for kind in LIMITS.values()}
    found = {kind.key if kind.key.partition("@")[0] in ours else kind: bound for kind, bound in kinds.items()}
    return found | {key: bound for key, bound in by_key.items() if bound is not None}


def price_device(made: Family, device: str, runtime: str, limits: Limits) -> tuple[DevicePrices, Budget]:
    """Return what is known of a device, and the budget: on a microcontroller, with its memories as limits.

    Raises:
        NetwrightError: a limit is not known, or needs a latency model that was not measured yet.
    """
    budget = device_budget(device, limits)
    if is_microcontroller(device):
        return DevicePrices(device, mcu_prices(device, sram_bytes=budget.sram_bytes), machine(device)), budget
    model = latency_model(made, device, runtime, needed=budget.latency_ms is not None)
    if model is not None:
        warn_of_doubt(model)
    return DevicePrices(device, model, _machine(device)), budget


def device_budget(device: str, limits: Limits) -> Budget:
    """Return the budget of limits on a device; on a microcontroller, with its memories as limits.

    Raises:
        NetwrightError: a limit is not known, or above what the device has.
    """
    return budget_of(with_memories(device, limits) if is_microcontroller(device) else limits)


def budget_of(limits: Limits) -> Budget:
    """Return the budget of limits as `keyed` returns them: plain keys that are not known are refused by name."""
    plain = {key: bound for key, bound in limits.items() if isinstance(key, str) and "@" not in key}
    return Budget({key: bound for key, bound in limits.items() if key not in plain}, **plain)


def is_microcontroller(device: str) -> bool:
    """Whether a device is known as a microcontroller."""
    return (device in MACHINES or is_own(device)) and machine(device).core is not None


def check_device(device: str) -> None:
    """Refuse a device that is neither described nor measured.

    Raises:
        NetwrightError: it is not known; names those that are.
    """
    if device in MACHINES or device == THIS or is_own(device) or device.endswith(".json"):
        return
    if not device_folder(device).is_dir():
        raise unknown("Device", device, (*MACHINES, THIS, "a latency model's FILE.json"))


def points(run: OpenRun, describe: Describe) -> list[list[float | None]]:
    """Return (latency or None, MACs, metric) of every network that was evaluated, for plots."""
    rows: list[list[float | None]] = []
    for arch, value in recorded(run.path / "evaluations.jsonl", key=describe.metric.key).items():
        latency = describe.latency(arch)
        rows.append([latency.value if latency else None, run.family.macs(arch), round(value, 4)])
    return rows


def held_out_pairs(run: OpenRun) -> dict[str, Any]:
    """Fit a predictor to four fifths of what was evaluated; return (predicted, measured) metrics of the last fifth."""
    metric, space = run.task.metric, run.family.space
    known = recorded(run.path / "evaluations.jsonl", key=metric.key)
    order = np.random.default_rng(0).permutation(len(known))
    genes = np.stack([space.encode(arch) for arch in known])[order]
    scores = np.array([metric.score(value) for value in known.values()])[order]
    held = min(len(known) // 5, max(0, len(known) - LEAST))
    guessed = AccuracyPredictor.fit(space, genes[held:], scores[held:])(genes[:held])
    pairs = [
        [round(metric.score(float(guess)), 4), round(metric.score(float(score)), 4)]
        for guess, score in zip(guessed, scores[:held], strict=True)
    ]
    return {"held_out": held, "pairs": pairs}


class _Stop:
    """The user's callback, which remembers whether it asked to stop."""

    def __init__(self, callback: Callback | None):
        self._callback, self._asked = callback, False

    def __call__(self, record: dict[str, Any]) -> bool:
        self._asked = (self._callback is not None and self._callback(record) is True) or self._asked
        return self._asked

    def asked(self) -> bool:
        return self._asked


def _check(device: str, runtime: str, strategy: str | Strategy, evaluations: int, listed: int, seed: int) -> None:
    check_strategy(strategy, {})
    runtime_of(runtime)
    check_device(device)
    least = {"evaluations": (evaluations, LEAST_EVALUATIONS), "listed": (listed, 1), "seed": (seed, 0)}
    for name, (given, smallest) in least.items():
        if not isinstance(given, int) or isinstance(given, bool) or given < smallest:
            raise NetwrightError(f"{name} must be a whole number of at least {smallest}, not {given!r}.")


def _machine(device: str) -> Any:
    if device == THIS:
        peaks = find_peaks(1)
        return peaks.machine() if peaks else None
    return machine(device) if device in MACHINES or is_own(device) else None


def _models(prices: DevicePrices, made: Family, budget: Budget) -> dict[str, Any]:
    """Return what a search file keeps of the models used; of a microcontroller also what TinyNAS says of resolutions and
    widths.
    """
    model = prices.latency
    if not isinstance(model, McuPrices):
        described = describe_model(model) if isinstance(model, LatencyModel) else None
        return {"latency_model": described, "microcontroller": None}
    told = {
        "cpu": model.cpu,
        "clock_hz": model.clock_hz,
        "instructions_error": model.instructions.error,
        "flash_error": model.flash.error,
        "milliseconds": model.latency_source,
        "spaces": [space.to_json() for space in choose_space(made, budget.limits(made, prices))],
    }
    return {"latency_model": None, "microcontroller": told}
