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
from netwright.mcu.network import Conv, Dense, Depthwise, Layer, Mean, Network, Pool
from netwright.mcu.schedule.schedule import Schedule, Whole

COEFFICIENTS = "instructions.json"
WHOLE = "network"  # what one inference costs besides its layers
BY_ROWS = "@rows"  # the kind of a layer that runs row by row
_TILE, _CHUNK, _GROUP = 3, 80, 4  # pixels, depths and outputs that the kernels take at a time
Work = tuple[str, tuple[float, ...]]


def work_of(layer: Layer, network: Network, *, by_rows: bool = False, repeated: float = 1.0) -> Work:
    """Return the kind of a layer's kernel and the features its instructions are linear in.

    `by_rows`: it runs row by row in a streaming segment; `repeated`: how often its output is computed (above 1 in
    patches). Features: what the kernel loops over; a call by itself is nothing beside that. Kernel sizes and strides
    are part of the kind.
    """
    given, made = (network.values[index].shape for index in (layer.inputs[0], layer.output))
    kind, features = _work(layer, given, made, by_rows)
    scaled = tuple(value * repeated for value in features)
    return kind + BY_ROWS * by_rows, scaled


def _work(layer: Layer, given: tuple[int, ...], made: tuple[int, ...], by_rows: bool) -> Work:
    outputs = math.prod(made)
    if isinstance(layer, Conv | Depthwise):
        (tall, wide), (down, right) = layer.window.kernel, layer.window.stride
        if isinstance(layer, Depthwise):
            return f"depthwise {tall}x{wide}/{down},{right}", _depthwise(given, made)
        kind = "pointwise" if layer.pointwise else f"conv {tall}x{wide}/{down},{right}"
        return kind, _products(made, tall * wide * given[2], by_rows)
    if isinstance(layer, Dense):
        return "dense", (outputs, outputs * given[-1])
    if isinstance(layer, Mean):
        return "mean", (outputs, math.prod(given))
    if isinstance(layer, Pool):
        tall, wide = layer.window.kernel
        return f"pool {layer.kind}", (made[0], outputs, outputs * tall * wide)
    return type(layer).__name__.lower(), (outputs,)


def _products(made: tuple[int, ...], depth: int, by_rows: bool) -> tuple[float, ...]:
    """Return calls, pixels and products, the latter also in tiles of three pixels and in chunks of the depth."""
    height, width, channels = made
    pixels = height * width
    calls = height if by_rows else 1
    tiles = calls * -(-(pixels // calls) // _TILE)
    chunks = -(-depth // _CHUNK)
    outputs = pixels * channels
    products = (outputs, outputs * depth, tiles * channels, tiles * channels * depth, outputs * chunks)
    return (height, pixels, pixels * depth, *products)


def _depthwise(given: tuple[int, ...], made: tuple[int, ...]) -> tuple[float, ...]:
    """Return rows of channels and elements, read and made, the last also in groups of four beside each other."""
    height, width, channels = made
    rows = channels * height
    return (channels * given[0], rows, math.prod(given), rows * width, rows * -(-width // _GROUP))


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
        kernel = type(layer).__name__.lower()
        if isinstance(layer, Conv | Depthwise | Dense):
            channels = len(layer.requantize.multiplier)
            if isinstance(layer, Conv) and layer.pointwise:
                kernel = "pointwise"
            works.append((f"constants {kernel}", (1, channels, layer.weights.size)))
        else:
            works.append((f"constants {kernel}", (1,)))
        if isinstance(layer, Depthwise):
            kernel += f" {layer.window.kernel}/{layer.window.stride}"
        kernels.add(kernel)
    return works + [(f"code {kernel}", (1.0,)) for kernel in sorted(kernels)]


@dataclass(frozen=True)
class InstructionModel:
    """Instructions of one processor. `coefficients`: by kind, one a feature; `error`: of networks held out, mean.

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
        """Return the instructions of a layer, in `rows` row calls or (0) on whole tensors: a `Cost` for `schedule`."""
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
    """Return the fitted model of a processor that comes with netwright.

    Raises:
        NetwrightError: there is none for it.
    """
    return _read("instructions", cpu)


@lru_cache
def flash_model(cpu: str) -> InstructionModel:
    """Return the model of a processor's bytes of flash (`flash_of`).

    Raises:
        NetwrightError: there is none for it.
    """
    return _read("flash", cpu)


def _read(what: str, cpu: str) -> InstructionModel:
    known = json.loads(files("netwright.mcu.price").joinpath(COEFFICIENTS).read_text())[what]
    if cpu not in known:
        raise unknown(f"Model of {what}: processor", cpu, known)
    return InstructionModel.from_json(cpu, known[cpu])
