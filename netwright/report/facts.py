"""What is known of a run, read from its directory; what is not there yet, or is damaged, is left out and named."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.core.files import read_json
from netwright.core.json_lines import read_lines
from netwright.core.metric import TOP_1, Metric
from netwright.core.run import Run
from netwright.core.shape import OBJECT, TRAIN, deployed_shape, eval_shape, mismatch, read_search


@dataclass(frozen=True)
class Facts:
    """The contents of a run directory.

    Attributes:
        path: of the run directory, as it was given, for commands.
        metric: how well a network does, by the run's task.
        searches: results of `netwright search` by name, the latest last.
        deployed: the artifacts made from the run, oldest first; one folder counts once.
        damaged: files that could not be read, with the reason.
    """

    name: str
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    training: list[dict[str, Any]]
    searches: dict[str, dict[str, Any]]
    deployed: list[dict[str, Any]]
    finished: bool
    metric: Metric = TOP_1
    damaged: list[str] = field(default_factory=list)
    path: str = "RUN"

    @property
    def run(self) -> str:
        """The run directory as a word of a command, quoted where it needs to be."""
        return shlex.quote(self.path)

    @classmethod
    def of(cls, run: Run) -> Facts:
        """Read a run; only a missing or damaged config.json is an error, which `Run.open` has raised by then."""
        damaged: list[str] = []
        metric = _metric(run, damaged)
        files = sorted((run.path / "search").glob("*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name))
        searches = {}
        for file in files:
            try:
                searches[file.stem] = read_search(file, metric)
            except NetwrightError as error:
                damaged.append(str(error))
        shape = deployed_shape(metric)
        records = [one for one in read_lines(run.path / "deployed.jsonl") if not mismatch(one, shape, "")]
        return cls(
            name=run.path.resolve().name,
            config=run.config,
            environment=_environment(run, damaged),
            training=run.metrics(),
            searches=searches,
            deployed=list({record["folder"]: record for record in records}.values()),
            finished=(run.path / "model.safetensors").is_file(),
            metric=metric,
            damaged=damaged,
            path=str(run.path),
        )

    def losses(self) -> list[tuple[float, float]]:
        """Return (epoch, training loss) in order."""
        records = [one for one in self.training if one.get("kind") == "train" and not mismatch(one, TRAIN, "")]
        return [(one["epoch"], one["loss"]) for one in records]

    def values(self) -> dict[str, list[tuple[float, float]]]:
        """Return (epoch, value of the metric) of every watched network, smallest first."""
        shape, key = eval_shape(self.metric), self.metric.key
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("smallest", "middle", "largest")}
        for one in self.training:
            if one.get("kind") == "eval" and not mismatch(one, shape, ""):
                found.setdefault(one["arch"], []).append((one["epoch"], one[key]))
        return {name: points for name, points in found.items() if points}


def _metric(run: Run, damaged: list[str]) -> Metric:
    try:
        return Metric.from_json(run.config.get("metric"))
    except NetwrightError as error:
        damaged.append(f"{run.path / 'config.json'}: {error}")
        return TOP_1


def _environment(run: Run, damaged: list[str]) -> dict[str, Any]:
    file = run.path / "environment.json"
    try:
        found = read_json(file) if file.exists() else {}
    except NetwrightError as error:
        damaged.append(str(error))
        return {}
    wrong = mismatch(found, {"versions?": OBJECT}, "it")
    if wrong:
        damaged.append(f"{file}: {wrong}.")
    return {} if wrong else found
