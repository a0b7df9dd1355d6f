"""How many instructions the generated C executes: linear in the work of every layer, fitted under emulation.

Kernels have no branches on data, so that shapes decide. Each kind of kernel (a convolution of one size and stride, say) has
features whose coefficients are found by non-negative least squares on relative errors; `benchmarks/mcu_instructions.py` fits
them and states the error on networks held out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from scipy.optimize import nnls

from netwright.core.errors import NetwrightError, unknown
from netwright.mcu.network import Conv, Dense, Depthwise, Layer, Mean, Network, Pool

COEFFICIENTS = "instructions.json"
WHOLE = "network"  # what one inference costs besides its layers
BY_ROWS = "@rows"  # the kind of a layer that runs row by row
Work = tuple[str, tuple[float, ...]]


def work_of(layer: Layer, network: Network, *, by_rows: bool = False, repeated: float = 1.0) -> Work:
    """Return the kind of a layer's kernel and the features its instructions are linear in.

    `by_rows`: it runs row by row in a streaming segment; `repeated`: how often its output is computed (patches: above 1).
    Features: 1, then what the kernel loops over. Kernel sizes and strides are part of the kind.
    """
    given, made = (network.values[index].shape for index in (layer.inputs[0], layer.output))
    kind, features = _work(layer, given, made)
    scaled = tuple(value * repeated for value in features)
    return kind + BY_ROWS * by_rows, scaled


def _work(layer: Layer, given: tuple[int, ...], made: tuple[int, ...]) -> Work:
    outputs = math.prod(made)
    if isinstance(layer, Conv | Depthwise):
        (tall, wide), (down, right) = layer.window.kernel, layer.window.stride
        height, width, channels = made
        if isinstance(layer, Depthwise):
            rows = (channels * given[0], channels * height)
            return f"depthwise {tall}x{wide}/{down},{right}", (1, *rows, math.prod(given), outputs)
        terms = tall * wide * given[2]
        pixels = height * width
        kind = "pointwise" if layer.pointwise else f"conv {tall}x{wide}/{down},{right}"
        return kind, (1, height, pixels, pixels * terms, outputs, outputs * terms)
    if isinstance(layer, Dense):
        return "dense", (1, outputs, outputs * given[-1])
    if isinstance(layer, Mean):
        return "mean", (1, outputs, math.prod(given))
    if isinstance(layer, Pool):
        tall, wide = layer.window.kernel
        return f"pool {layer.kind}", (1, made[0], outputs, outputs * tall * wide)
    return type(layer).__name__.lower(), (1, outputs)


@dataclass(frozen=True)
class InstructionModel:
    """Instructions of one processor. `coefficients`: by kind, one a feature; `error`: of networks held out, relative, mean."""

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

    Non-negative least squares on relative errors (Lawson and Hanson 1974, "Solving Least Squares Problems", chapter 23).

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
    """Return the fitted model of a processor that comes with netwright.

    Raises:
        NetwrightError: there is none for it.
    """
    import json

    known = json.loads(files("netwright.mcu").joinpath(COEFFICIENTS).read_text())["models"]
    if cpu not in known:
        raise unknown("Instruction model", cpu, known)
    return InstructionModel.from_json(cpu, known[cpu])
