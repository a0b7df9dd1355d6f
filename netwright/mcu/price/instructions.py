"""How many instructions the generated C executes, and its bytes of flash, fitted under emulation.

Both are linear in what every layer has. Kernels have no branches on data, so that shapes decide. Each kind of kernel
(a convolution of one size and stride, say) has features whose coefficients are found by non-negative least squares on
relative errors; `benchmarks/mcu_instructions.py` fits them and states the error on networks held out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from scipy.optimize import nnls

from netwright.core.errors import NetwrightError, unknown
from netwright.mcu.layer import Layer, Network, Work
from netwright.mcu.schedule.schedule import Schedule, Whole

COEFFICIENTS = "instructions.json"
WHOLE = "network"  # what one inference costs besides its layers
BY_ROWS = "@rows"  # the kind of a layer that runs row by row


def work_of(layer: Layer, network: Network, *, by_rows: bool = False, repeated: float = 1.0) -> Work:
    """Return the kind of a layer's kernel and the features its instructions are linear in.

    `by_rows`: it runs row by row in a streaming segment; `repeated`: how often its output is computed (above 1 in
    patches). Features: what the kernel loops over; a call by itself is nothing beside that. Kernel sizes and strides
    are part of the kind.
    """
    kind, features = layer.work(network, by_rows)
    return kind + BY_ROWS * by_rows, tuple(value * repeated for value in features)


def works_of(network: Network, plan: Schedule) -> list[Work]:
    """Return what every layer of a plan does, for an instruction model."""
    works: list[Work] = []
    for step in plan.steps:
        if isinstance(step, Whole):
            works.append(work_of(network.layers[step.layer], network))
            continue
        for place, stage in enumerate(step.stages):
            if stage.planar:  # laying rows into a ring belongs to the layer that reads them
                continue
            layer = network.layers[stage.layer]
            height = network.values[layer.output].shape[0]
            works.append(work_of(layer, network, by_rows=True, repeated=step.rows_made(network, place) / height))
    return works


def flash_of(layers: Iterable[Layer]) -> list[Work]:
    """Return the works whose sum is a network's flash: constants of each layer, code of each kind of kernel once."""
    works: list[Work] = []
    kernels: set[str] = set()
    for layer in layers:
        constants, kernel = layer.flash()
        works.append(constants)
        kernels.add(kernel)
    return works + [(f"code {kernel}", (1.0,)) for kernel in sorted(kernels)]


@dataclass(frozen=True)
class InstructionModel:
    """Instructions of one CPU. `coefficients`: by kind, one a feature; `error`: of networks held out, mean.

    Flash has models of the same form.
    """

    cpu: str
    coefficients: Mapping[str, tuple[float, ...]]
    error: float = math.nan

    def of(self, work: Work) -> float:
        """Return the instructions of one layer.

        A kind that was not fitted by rows is taken as on whole tensors.

        Raises:
            NetwrightError: a kind that was not fitted.
        """
        kind, features = work
        found = self.coefficients.get(kind) or self.coefficients.get(kind.removesuffix(BY_ROWS))
        if found is None or len(found) != len(features):
            raise unknown(f"The instructions of {self.cpu}: kernel", kind, self.coefficients)
        return sum(coefficient * value for coefficient, value in zip(found, features, strict=True))

    def prices(self, work: Work) -> bool:
        """Whether a kind of kernel was fitted."""
        return work[0].removesuffix(BY_ROWS) in self.coefficients

    def estimate(self, network: Network, layer: Layer, rows: int = 0) -> float:
        """Return the instructions of a layer, in `rows` row calls or (0) on whole tensors: a `LayerCost` for `schedule`."""
        made = network.values[layer.output].shape
        repeated = rows / made[0] if rows and len(made) == 3 else 1.0
        return self.of(work_of(layer, network, by_rows=rows > 0, repeated=repeated))

    def network(self, works: Iterable[Work]) -> float:
        """Return the instructions of one inference of a network with these layers."""
        return sum(map(self.of, works)) + self.coefficients.get(WHOLE, (0.0,))[0]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"error": self.error, "coefficients": {kind: list(row) for kind, row in self.coefficients.items()}}

    @classmethod
    def from_json(cls, cpu: str, values: Mapping[str, Any]) -> InstructionModel:
        """Read what `to_json` returned."""
        rows = {kind: tuple(map(float, row)) for kind, row in values["coefficients"].items()}
        return cls(cpu, rows, float(values["error"]))


def fit(cpu: str, samples: Sequence[tuple[Sequence[Work], float]]) -> InstructionModel:
    """Fit to measurements: the layers of each program, and the instructions it executed.

    Non-negative least squares on relative errors (Lawson and Hanson 1974, "Solving Least Squares Problems",
    chapter 23).

    Raises:
        NetwrightError: nothing was measured, or a kind has features of different number.
    """
    if not samples:
        raise NetwrightError("An instruction model needs measured programs: none were given.")
    lengths = {WHOLE: 1}
    for works, _ in samples:
        for kind, features in works:
            if lengths.setdefault(kind, len(features)) != len(features):
                raise NetwrightError(
                    f"Kernel {kind!r} was given with {lengths[kind]} and with {len(features)} features."
                )
    starts = dict(zip(lengths, np.cumsum([0, *lengths.values()]).tolist(), strict=False))
    matrix = np.zeros((len(samples), sum(lengths.values())))
    targets = np.array([instructions for _, instructions in samples], np.float64)
    for row, (works, _) in zip(matrix, samples, strict=True):
        row[0] = 1
        for kind, features in works:
            row[starts[kind] : starts[kind] + len(features)] += features
    matrix /= targets[:, None]
    scale = np.maximum(np.abs(matrix).max(0), 1e-12)
    solution, _ = nnls(matrix / scale, np.ones(len(targets)), maxiter=100 * matrix.shape[1])
    solution /= scale
    rows = {kind: tuple(solution[starts[kind] : starts[kind] + count].tolist()) for kind, count in lengths.items()}
    return InstructionModel(cpu, rows, float(np.abs(matrix @ solution - 1).mean()))


@lru_cache
def instruction_model(cpu: str) -> InstructionModel:
    """Return the fitted model of a CPU that comes with netwright.

    Raises:
        NetwrightError: there is none for it.
    """
    return _read("instructions", cpu)


@lru_cache
def flash_model(cpu: str) -> InstructionModel:
    """Return the model of a CPU's bytes of flash (`flash_of`).

    Raises:
        NetwrightError: there is none for it.
    """
    return _read("flash", cpu)


def _read(what: str, cpu: str) -> InstructionModel:
    known = json.loads(files("netwright.mcu.price").joinpath(COEFFICIENTS).read_text())[what]
    if cpu not in known:
        raise unknown(f"Model of {what}: CPU", cpu, known)
    return InstructionModel.from_json(cpu, known[cpu])
