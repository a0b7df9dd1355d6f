"""The whole way on a small dataset that comes with scikit-learn: train, measure, search, deploy, report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.device.latency import LatencyModel
    from netwright.models.family import Family
    from netwright.workflow.open import OpenRun

STEPS = 5


@dataclass(frozen=True)
class Size:
    """How much the demo does; the defaults take about three minutes on two free cores."""

    epochs: float = 18.0
    settings: Mapping[str, Any] = field(
        default_factory=lambda: {"batch_size": 64, "learning_rate": 0.1, "subnets_per_step": 1, "evaluate_every": 2.0}
    )
    networks: int = 64
    seconds: float = 20.0
    evaluations: int = 125
    calibration_images: int = 512
    budgets: tuple[float, ...] = (0.15, 0.35, 0.7)  # places between the least and the largest latency of the space
    workers: int = 1  # starting more takes longer than they save here


@dataclass(frozen=True)
class Demo:
    """What the demo made: its run, the report, how long it took, and a row for each network.

    `latency_model`: what `LatencyModel.summary` tells of the model that predicted. `warnings`: what makes the result doubtful.
    """

    run: Path
    report: Path
    seconds: float
    networks: tuple[dict[str, Any], ...]
    latency_model: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "run": str(self.run),
            "report": str(self.report),
            "seconds": round(self.seconds, 1),
            "networks": list(self.networks),
            "latency_model": dict(self.latency_model),
            "warnings": list(self.warnings),
        }


def demo(out: str | Path, size: Size | None = None) -> Demo:
    """Run the demo in a directory, or resume it there."""
    import torch

    from netwright.workflow.report import report
    from netwright.workflow.train import begin, go_on

    size = size or Size()
    torch.set_num_threads(1)  # networks this small train no faster on two, and ten times slower on a busy machine
    clock = Clock()
    clock.step("training a supernet of space 'tiny' on scikit-learn's digits, 32x32 pixels")
    run = begin("digits", space="tiny", out=out, epochs=size.epochs, **size.settings)
    if not run.trained:
        go_on(run)
    clock.step("measuring this machine")
    _measure(run, size)
    clock.step("searching at three latency budgets")
    found = [_search(run, budget, size) for budget in _budgets(run.family, size)]
    clock.step("extracting, exporting to ONNX, verifying with ONNX Runtime")
    rows = [_deploy(run, one, size) for one in found]
    clock.step("writing the report")
    model = _model(run.family)
    return Demo(run.path, report(run), clock.seconds(), tuple(rows), model.summary(), warnings_of(model, found, rows))


def warnings_of(
    model: LatencyModel, found: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
    """Return what makes the result doubtful: a busy machine, a poor predictor, networks above their budgets."""
    told = (
        [f"{model.doubt}; latencies are doubtful. Repeat it on an idle machine with another --out"]
        if model.doubt
        else []
    )
    told += {one["predictor"]["doubt"]: None for one in found if one["predictor"].get("doubt")}
    above = [row["budget"] for row in rows if row["exceeds"]]
    told += [f"{len(above)} of {len(rows)} networks measure above their budgets: {', '.join(above)}"] if above else []
    return tuple(told)


class Clock:
    """Says which step begins and how much time has passed."""

    def __init__(self) -> None:
        self.start, self.count = time.monotonic(), 0

    def seconds(self) -> float:
        """Return the time since the start."""
        return time.monotonic() - self.start

    def step(self, what: str) -> None:
        """Announce the next step."""
        from netwright.core.progress import say

        self.count += 1
        say(f"[{self.count}/{STEPS}, {self.seconds():.0f} s] {what}")


def _measure(run: OpenRun, size: Size) -> None:
    """Measure once a run; the run keeps a copy, which also says that it was done."""
    from netwright.workflow.measure import latency_model, measure_space

    kept = run.path / "latency-model.json"
    if kept.exists() and latency_model(run.family, "this", "onnxruntime", needed=False):
        return
    model = measure_space(run.family, runtime="onnxruntime", networks=size.networks, seconds=size.seconds)
    model.save(kept)


def _budgets(made: Family, size: Size) -> list[float]:
    """Return limits in milliseconds between what the space's fastest and its largest network take."""
    from netwright.searching.limits.budget import Budget

    model = _model(made)
    least, _ = Budget(latency_ms=1.0).limits(made, model)[0].table.minimum()
    most = model.predict(made.priced_blocks(made.space.largest()))
    return [float(f"{least + share * (most - least):.3g}") for share in size.budgets]


def _model(made: Family) -> LatencyModel:
    """Return the latency model of this machine that the demo made."""
    from netwright.workflow.measure import latency_model

    model = latency_model(made, "this", "onnxruntime", needed=True)
    assert model is not None
    return model


def _search(run: OpenRun, latency_ms: float, size: Size) -> dict[str, Any]:
    from netwright.core.progress import say
    from netwright.core.shape import read_search
    from netwright.searching.limits.table import budget_name
    from netwright.workflow.search import search

    done = run.path / "search" / f"{budget_name({'latency_ms': latency_ms})}.json"
    if done.exists():
        return read_search(done)
    say(f"within {latency_ms:g} ms:")
    found = search(
        run,
        latency_ms=latency_ms,
        evaluations=size.evaluations,
        calibration_images=size.calibration_images,
        workers=size.workers,
    )
    return found.to_json()


def _deploy(run: OpenRun, found: dict[str, Any], size: Size) -> dict[str, Any]:
    """Deploy the best network of a search, unless that was done; return the row of the closing table."""
    from netwright.core.files import read_json
    from netwright.searching.limits.table import exceeded
    from netwright.workflow.deploy import deploy

    folder = run.path / "deployed" / found["name"]
    if not (folder / "model.json").exists():
        deploy(run, found=found, out=folder, calibration_images=size.calibration_images)
    told = read_json(folder / "model.json")
    return {
        "budget": found["name"],
        "folder": str(folder),
        "accuracy": told["verification"]["accuracy_deployed"],
        "latency_ms": told["latency_ms"]["value"],
        "budget_ms": found["budget"]["latency_ms"],
        "exceeds": exceeded(found["budget"], {"latency_ms": told["latency_ms"]["value"]}),
        "predicted_ms": told["predicted"]["latency_ms"]["value"],
        "macs": told["predicted"]["macs"],
        "params": told["predicted"]["params"],
        "max_abs_difference": told["verification"]["max_abs_difference"],
    }
