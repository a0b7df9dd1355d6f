"""The additive latency model of a machine, fitted on whole networks.

The latency of a network is an offset plus a sum over its blocks. Blocks timed alone give the first guess, which is too
high: alone, a block pays for a call and for bringing its data into the runtime's layout. What a block costs inside
networks is inferred from the timed networks by Gaussian process regression on sums (Rasmussen and Williams 2006,
Chapter 2): block values vary linearly with what the block does, and smoothly beyond that between like blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import kendalltau

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """How far block values may leave the first guess, all as shares: of their own time, or of a network's.

    `linear` along each feature, `own` by a block alone, `smooth` together with like blocks; `noise` of a timing.
    """

    linear: float
    own: float
    smooth: float
    noise: float


PRIORS = tuple(
    Prior(linear, own, smooth, noise)
    for linear in (0.0, 0.05, 0.1, 0.2)
    for own in (0.0, 0.05, 0.15)
    for smooth in (0.0, 0.1, 0.3)
    for noise in (0.01, 0.03)
)


_COMMON = 0.3  # the common factor: timed alone, blocks come out up to a third too slow


@dataclass(frozen=True)
class Fit:
    """Milliseconds of every block inside a network, and of every network besides."""

    offset_ms: float
    block_ms_U: Array

    def predict(self, counts_NU: Array) -> Array:
        """Return the milliseconds of networks given as how often each holds each block."""
        return self.offset_ms + counts_NU @ self.block_ms_U


@dataclass(frozen=True)
class Data:
    """Timed networks and their unique blocks.

    `alone_ms_U`: blocks timed alone; `features_UF`: what they do; `counts_NU`: how often a network holds a block;
    `ms_N`: networks.
    """

    alone_ms_U: Array
    features_UF: Array
    counts_NU: Array
    ms_N: Array

    def only(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Data:
        """Return the data with some of the networks."""
        return replace(self, counts_NU=self.counts_NU[rows], ms_N=self.ms_N[rows])


def fit(data: Data, prior: Prior) -> Fit:
    """Infer block and offset times; errors count relative to each network's time."""
    guess_U, typical_ms = _first_guess(data)
    cross_UN = _combine([part_UU @ data.counts_NU.T for part_UU in _covariances(data, guess_U, typical_ms)], prior)
    return _posterior(data, guess_U, typical_ms, cross_UN, data.counts_NU @ cross_UN, prior)


def choose(data: Data, *, folds: int = 5, seed: int = 0) -> tuple[Prior, float]:
    """Return the prior with the least mean absolute relative error in cross-validation, and that error."""
    guess_U, typical_ms = _first_guess(data)
    parts_UN = [part_UU @ data.counts_NU.T for part_UU in _covariances(data, guess_U, typical_ms)]
    fold_N = np.random.default_rng(seed).permutation(len(data.ms_N)) % folds
    errors = []
    for prior in PRIORS:
        cross_UN = _combine(parts_UN, prior)
        covariance_NN = data.counts_NU @ cross_UN
        predicted_N = np.empty_like(data.ms_N)
        for fold in range(folds):
            train, test = fold_N != fold, fold_N == fold
            among_NN = covariance_NN[np.ix_(train, train)]
            fitted = _posterior(data.only(train), guess_U, typical_ms, cross_UN[:, train], among_NN, prior)
            predicted_N[test] = fitted.predict(data.counts_NU[test])
        errors.append(float(np.abs(predicted_N / data.ms_N - 1).mean()))
    best = int(np.argmin(errors))
    return PRIORS[best], errors[best]


def quality(predicted_N: Array, ms_N: Array) -> dict[str, float]:
    """Return how well predictions meet measurements: errors in percent, and Kendall's rank correlation."""
    errors = np.abs(predicted_N / ms_N - 1)
    return {
        "networks": len(ms_N),
        "mape": round(100 * float(errors.mean()), 3),
        "within_10pct": round(100 * float((errors <= 0.1).mean()), 2),
        "kendall_tau": round(float(np.asarray(kendalltau(predicted_N, ms_N))[0]), 4),
    }


def explain(features_UF: Array, ms_U: Array) -> Array:
    """Return one non-negative coefficient a feature, for blocks that were never timed; errors count relatively."""
    weights_U = 1 / np.maximum(ms_U, 0.02 * float(np.median(ms_U)))
    return nnls(features_UF * weights_U[:, None], ms_U * weights_U)[0]


def feature_matrix(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> Array:
    """Return features as a matrix [blocks, names]; what a block does not do is 0."""
    return np.array([[row.get(name, 0.0) for name in names] for row in rows])


def _first_guess(data: Data) -> tuple[Array, float]:
    """Return the blocks' times alone, scaled so that they add up to typical networks, and a typical network's time."""
    scale = float(np.median(data.ms_N / (data.counts_NU @ data.alone_ms_U)))
    return scale * data.alone_ms_U, float(np.median(data.ms_N))


def _covariances(data: Data, guess_U: Array, typical_ms: float) -> tuple[Array, Array, Array, Array]:
    """Return how block values vary together when they leave the guess: by a common factor (always allowed), along
    features, each on its own, and smoothly with like blocks; each for a prior share of 1.
    """
    unit_UF = data.features_UF / np.maximum(data.features_UF.max(0), 1e-12)
    common_UU = np.outer(guess_U, guess_U)
    linear_UU = (typical_ms / 10) ** 2 * unit_UF @ unit_UF.T
    like_UF = np.log1p(100 * np.column_stack([unit_UF, guess_U / guess_U.max()]))
    square_U = (like_UF**2).sum(1)
    distance_UU = np.maximum(square_U[:, None] + square_U - 2 * like_UF @ like_UF.T, 0.0)
    return common_UU, linear_UU, np.diag(guess_U**2), common_UU * np.exp(-distance_UU / 8)


def _combine(parts: Sequence[Array], prior: Prior) -> Array:
    shares = (_COMMON, prior.linear, prior.own, prior.smooth)
    return np.sum([share**2 * part for share, part in zip(shares, parts, strict=True)], axis=0)


def _posterior(
    data: Data, guess_U: Array, typical_ms: float, cross_UN: Array, covariance_NN: Array, prior: Prior
) -> Fit:
    """Return the posterior mean, no block below a fifth of its guess; the offset varies by a typical network's time."""
    inverse_N = 1 / data.ms_N
    relative_NN = inverse_N[:, None] * (covariance_NN + typical_ms**2) * inverse_N
    relative_NN += prior.noise**2 * np.eye(len(inverse_N))
    error_N = inverse_N * (data.ms_N - data.counts_NU @ guess_U)
    alpha_N = inverse_N * np.linalg.solve(relative_NN, error_N)
    return Fit(typical_ms**2 * float(alpha_N.sum()), np.maximum(guess_U + cross_UN @ alpha_N, 0.2 * guess_U))
