"""Scaling laws: how loss falls with parameters and data, fitted on a table of runs.

L(N, D) = E + A / N^alpha + B / D^beta, fitted by the third approach of Hoffmann et al. 2022 (arXiv 2203.15556, Section
3.3): the Huber loss of log L is minimized by L-BFGS from a grid of starts. The errors are summed, not averaged, and
the tolerance is tight: an average let the optimizer of that paper stop early (Besiroglu et al. 2024, arXiv 2404.10102).
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError

Array = NDArray[np.float64]
FLOPS_PER_SAMPLE = 6.0  # for every parameter and every token: 2 forward, 4 backward
_COLUMNS = {"params": ("params", "parameters", "n"), "data": ("data", "tokens", "samples", "d"), "loss": ("loss", "l")}
_LEAST_RUNS = 6


@dataclass(frozen=True)
class ScalingLaw:
    """E, A, alpha, B and beta of the law."""

    irreducible: float
    a: float
    alpha: float
    b: float
    beta: float

    def loss(self, params: Any, data: Any) -> Any:
        """Return the loss at a number of parameters and of tokens or samples (numbers or arrays)."""
        return self.irreducible + self.a / params**self.alpha + self.b / data**self.beta

    def optimal(self, flops: float, flops_per_sample: float = FLOPS_PER_SAMPLE) -> Allocation:
        """Return the parameters and data of least loss where flops = flops_per_sample x parameters x data.

        Closed form of Hoffmann et al. 2022, Equation 4. `flops_per_sample`: for one parameter and one unit of data; 6 holds
        for tokens and linear layers, a convolution uses each parameter at every pixel.
        """
        product = flops / flops_per_sample
        ratio = (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))
        params = ratio * product ** (self.beta / (self.alpha + self.beta))
        return Allocation(params, product / params, float(self.loss(params, product / params)))


@dataclass(frozen=True)
class Allocation:
    """How a compute budget is best spent."""

    params: float
    data: float
    loss: float


@dataclass(frozen=True)
class ScalingFit:
    """The law fitted to runs, and to `resampled` draws of as many runs from them with replacement.

    `error`: the root mean square of log loss left over.
    """

    law: ScalingLaw
    error: float
    runs: int
    resampled: tuple[ScalingLaw, ...]

    def interval(self, name: str, share: float = 0.9) -> tuple[float, float]:
        """Return the bootstrap interval of a field of the law ("alpha") that holds a share of the draws."""
        return _interval([getattr(law, name) for law in self.resampled], share)

    def optimal_interval(self, flops: float, name: str = "params", share: float = 0.9) -> tuple[float, float]:
        """Return the bootstrap interval of the compute-optimal "params", "data" or "loss"."""
        return _interval([getattr(law.optimal(flops), name) for law in self.resampled], share)

    def to_json(self) -> dict[str, Any]:
        """Return the law, its 90 % intervals and how well it fits, as plain JSON values."""
        intervals = {name: self.interval(name) for name in vars(self.law)} if self.resampled else {}
        return {"law": vars(self.law), "intervals_90": intervals, "rms_log_error": self.error, "runs": self.runs}


def read_runs(path: str | Path) -> tuple[Array, Array, Array]:
    """Return parameters, data and loss of a CSV with a header that names them (params, data or tokens or samples, loss).

    Raises:
        NetwrightError: no such file or columns, or a value that is not a positive number.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NetwrightError(f"Cannot read {path} as CSV: {error}.") from error
    header = {(name or "").strip().lower(): name for name in (rows[0] if rows else {})}
    columns = []
    for what, names in _COLUMNS.items():
        found = next((header[name] for name in names if name in header), None)
        if found is None:
            raise NetwrightError(f"{path} has no column for {what}. Name it {' or '.join(names)} in the first line.")
        columns.append([_positive(path, number, found, row[found]) for number, row in enumerate(rows, 2)])
    return np.array(columns[0]), np.array(columns[1]), np.array(columns[2])


def fit_scaling_law(
    params: Sequence[float] | Array,
    data: Sequence[float] | Array,
    loss: Sequence[float] | Array,
    *,
    delta: float = 1e-3,
    bootstrap: int = 100,
    seed: int = 0,
) -> ScalingFit:
    """Fit the law to runs. `delta`: log losses further off than this count linearly; `bootstrap`: draws for the intervals.

    Raises:
        NetwrightError: fewer than 6 runs, values that are not positive, or parameters or data that never vary.
    """
    runs = _Runs.of(params, data, loss)
    best = min((_minimize(runs, start, delta) for start in _starts(runs, delta)), key=lambda found: found[1])[0]
    rng = np.random.default_rng(seed)
    draws = []
    while len(draws) < bootstrap:
        drawn = runs.only(rng.integers(0, len(runs.log_loss), len(runs.log_loss)))
        if drawn.varies():
            draws.append(_minimize(drawn, best, delta)[0])
    residual = _log_loss(runs, best)[0] - runs.log_loss
    return ScalingFit(
        _law(runs, best),
        float(np.sqrt((residual**2).mean())),
        len(runs.log_loss),
        tuple(_law(runs, draw) for draw in draws),
    )


@dataclass(frozen=True)
class _Runs:
    """Logarithms of runs; parameters and data as differences to `centre`, so that terms and exponents vary independently."""

    log_params: Array
    log_data: Array
    log_loss: Array
    centre: tuple[float, float]

    @classmethod
    def of(cls, params: Any, data: Any, loss: Any) -> _Runs:
        values = [np.asarray(column, dtype=np.float64).ravel() for column in (params, data, loss)]
        if len({len(column) for column in values}) != 1 or len(values[0]) < _LEAST_RUNS:
            raise NetwrightError(
                f"A scaling law has 5 unknowns: give parameters, data and loss of at least {_LEAST_RUNS} runs, "
                f"not {[len(column) for column in values]}."
            )
        if not all(np.isfinite(column).all() and (column > 0).all() for column in values):
            raise NetwrightError("Parameters, data and losses of runs must be positive numbers.")
        logs = [np.log(column) for column in values]
        centre = (float(logs[0].mean()), float(logs[1].mean()))
        runs = cls(logs[0] - centre[0], logs[1] - centre[1], logs[2], centre)
        if not runs.varies():
            raise NetwrightError("A scaling law needs runs that differ in parameters, and runs that differ in data.")
        return runs

    def only(self, rows: NDArray[np.int64]) -> _Runs:
        return _Runs(self.log_params[rows], self.log_data[rows], self.log_loss[rows], self.centre)

    def varies(self) -> bool:
        return min(len(np.unique(self.log_params.round(9))), len(np.unique(self.log_data.round(9)))) >= 2


def _log_loss(runs: _Runs, unknowns: Array) -> tuple[Array, Array]:
    """Return log L of every run, and the share of each term in L; unknowns: log A and log B at the centre, log E, exponents."""
    log_a, log_b, log_e, alpha, beta = unknowns
    terms = np.stack(
        [log_a - alpha * runs.log_params, log_b - beta * runs.log_data, np.full_like(runs.log_loss, log_e)]
    )
    top = terms.max(0)
    log_sum = top + np.log(np.exp(terms - top).sum(0))
    return log_sum, np.exp(terms - log_sum)


def _objective(unknowns: Array, runs: _Runs, delta: float) -> tuple[float, Array]:
    """Return the sum of Huber losses, in units of delta squared, and its gradient."""
    predicted, shares = _log_loss(runs, unknowns)
    residual = (predicted - runs.log_loss) / delta
    size = np.abs(residual)
    value = np.where(size <= 1, residual**2 / 2, size - 0.5).sum()
    slope = np.clip(residual, -1, 1) / delta
    a, b, e = (slope * share for share in shares)
    return float(value), np.array([a.sum(), b.sum(), e.sum(), -(a * runs.log_params).sum(), -(b * runs.log_data).sum()])


def _starts(runs: _Runs, delta: float) -> list[Array]:
    """Return, for each pair of exponents of the grid, the point of the grid with the least objective."""
    levels = math.log(np.exp(runs.log_loss).min()) + np.log([0.1, 0.5, 0.9])
    shares = runs.log_loss.mean() + np.log([0.01, 0.1, 0.5])
    starts = []
    for alpha, beta in itertools.product((0.1, 0.3, 0.5, 1.0, 2.0), repeat=2):
        grid = [np.array([a, b, e, alpha, beta]) for a, b, e in itertools.product(shares, shares, levels)]
        starts.append(min(grid, key=lambda point: _objective(point, runs, delta)[0]))
    return starts


def _minimize(runs: _Runs, start: Array, delta: float) -> tuple[Array, float]:
    from scipy.optimize import minimize

    bounds = [(-50, 50), (-50, 50), (-50, 50), (1e-3, 10), (1e-3, 10)]
    found = minimize(
        _objective,
        start,
        (runs, delta),
        method="L-BFGS-B",
        jac=True,
        bounds=bounds,
        options={"maxiter": 1000, "maxfun": 2000, "ftol": 1e-11, "gtol": 1e-9},
    )
    return found.x, float(found.fun)


def _law(runs: _Runs, unknowns: Array) -> ScalingLaw:
    log_a, log_b, log_e, alpha, beta = (float(value) for value in unknowns)
    a, b = math.exp(log_a + alpha * runs.centre[0]), math.exp(log_b + beta * runs.centre[1])
    return ScalingLaw(math.exp(log_e), a, alpha, b, beta)


def _interval(values: Sequence[float], share: float) -> tuple[float, float]:
    if not values:
        raise NetwrightError("There are no intervals without bootstrap draws: fit with bootstrap=100 or more.")
    low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def _positive(path: str | Path, line: int, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise NetwrightError(f"{path}, line {line}: {name} is {text!r}, not a positive number.")
    return value
