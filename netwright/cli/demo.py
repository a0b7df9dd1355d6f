"""`netwright demo`: the whole way on a small dataset that comes with scikit-learn."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import Result

if TYPE_CHECKING:
    from netwright.models.family import Family
    from netwright.workflow.open import OpenRun

STEPS = 5


@dataclass(frozen=True)
class Size:
    """How much the demo does; the defaults take about three minutes on two free cores."""

    epochs: float = 18.0
    settings: Mapping[str, Any] = field(
        default_factory=lambda: {"batch_size": 64, "learning_rate": 0.1, "subnets_per_step": 1, "evaluate_every": 2}
    )
    networks: int = 64
    seconds: float = 20.0
    evaluations: int = 80
    calibration_images: int = 512
    budgets: tuple[float, ...] = (0.15, 0.35, 0.7)  # places between the least and the largest latency of the space
    workers: int = 1  # starting more takes longer than they save here


def demo(
    out: Annotated[Path, typer.Option(help="Run directory; if it holds a demo, that one is resumed.")] = Path(
        "runs/demo"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """The whole way on handwritten digits: train, measure this machine, search, export, report."""
    del json
    return run_demo(out, Size())


def run_demo(out: Path, size: Size) -> Result:
    """Run or resume the demo in a directory."""
    import torch

    from netwright.workflow.report import report as write_report
    from netwright.workflow.train import begin, go_on

    torch.set_num_threads(1)  # networks this small train no faster on two, and ten times slower on a busy machine
    clock = Clock()
    clock.step("training a supernet of space 'tiny' on scikit-learn's digits, 32x32 pixels")
    run = begin("digits", space="tiny", out=out, epochs=size.epochs, **size.settings)
    if not run.trained:
        go_on(run)
    made = run.family
    clock.step("measuring this machine")
    _measure(run, made, size)
    clock.step("searching at three latency budgets")
    found = [_search(run, budget, size) for budget in _budgets(made, size)]
    clock.step("extracting, exporting to ONNX, verifying with ONNX Runtime")
    rows = [_deploy(run, one, size) for one in found]
    clock.step("writing the report")
    report = write_report(run)
    data = {"run": str(run.path), "report": str(report), "seconds": round(clock.seconds(), 1), "networks": rows}
    shown = [
        f"Found for this machine in {clock.seconds():.0f} s, from one training:",
        _table(rows),
        "",
        "Every export was run with ONNX Runtime on the validation images and compared with its network in PyTorch.",
        f"Networks with their cards: {run.path / 'deployed'}",
        f"Report: {report.resolve()}",
    ]
    return Result(data, shown)


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


def _measure(run: OpenRun, made: Family, size: Size) -> None:
    """Measure once a run; the run keeps a copy, which also says that it was done."""
    from netwright.workflow.measure import latency_model, measure_space

    kept = run.path / "latency-model.json"
    if kept.exists() and latency_model(made, "this", "onnxruntime", needed=False):
        return
    model = measure_space(made, runtime="onnxruntime", networks=size.networks, seconds=size.seconds)
    model.save(kept)


def _budgets(made: Family, size: Size) -> list[float]:
    """Return limits in milliseconds between what the space's fastest and its largest network take."""
    from netwright.searching.limits.budget import Budget
    from netwright.workflow.measure import latency_model

    model = latency_model(made, "this", "onnxruntime", needed=True)
    assert model is not None
    least, _ = Budget(latency_ms=1.0).limits(made, model)[0].table.minimum()
    most = model.predict(made.priced_blocks(made.space.largest()))
    return [float(f"{least + share * (most - least):.3g}") for share in size.budgets]


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
        "predicted_ms": told["predicted"]["latency_ms"]["value"],
        "macs": told["predicted"]["macs"],
        "params": told["predicted"]["params"],
        "max_abs_difference": told["verification"]["max_abs_difference"],
    }


def _table(rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    heads = ("budget", "top-1 accuracy", "measured", "predicted", "MACs", "parameters", "largest difference")
    table = Table(*heads, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(
            row["budget"],
            f"{row['accuracy']:.1f} %",
            f"{row['latency_ms']:.3g} ms",
            f"{row['predicted_ms']:.3g} ms",
            f"{row['macs'] / 1e6:.2f} M",
            f"{row['params'] / 1e3:.1f} k",
            f"{row['max_abs_difference']:.0e}",
        )
    return table
