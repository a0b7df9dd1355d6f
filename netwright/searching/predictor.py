"""A predictor of accuracy from architecture, fitted to evaluated sub-networks.

Once-for-all (arXiv:1908.09791) trains a network on 16,000 evaluations; with the few hundred that fit a
workday on one machine, regularised linear and Gaussian-process regression rank better, so those compete here.
Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", Algorithm 2.1.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.linalg import cho_factor, cho_solve

from netwright.core.errors import NetwrightError
from netwright.core.state import load_state, save_state
from netwright.models.space import Genes, SearchSpace

Floats = NDArray[np.float64]

FOLDS = 5
LEAST = 10
LEAST_TAU = 0.5  # three of four pairs are ranked right; below, the best by prediction are hardly the best
_NOISES = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
_SCALES = (0.0, 0.03, 0.1, 0.3, 1.0)  # of the squared distance in the Gaussian kernel; 0: a linear model only


@dataclass(frozen=True)
class Quality:
    """How well held-out accuracies are predicted, by cross-validation: each was predicted by a fit without it."""

    networks: int
    kendall_tau: float
    spearman: float
    rmse: float

    @property
    def chance_tau(self) -> float:
        """The rank correlation that a predictor without any knowledge exceeds in one case of 20 (Kendall 1938)."""
        count = self.networks
        return 1.645 * math.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1)))

    @property
    def doubt(self) -> str | None:
        """Why the predictor should not be trusted and what to do, None where it ranks well enough to search with."""
        if self.kendall_tau >= LEAST_TAU:
            return None
        found = f"of {self.networks} held-out sub-networks it ranks {(1 + self.kendall_tau) / 2:.0%} of the pairs right"
        if self.kendall_tau <= self.chance_tau:
            found += ", no better than a coin: what the search proposes is a random draw within the limits"
        return (
            f"the predictor has Kendall tau {self.kendall_tau:.2f}, less than {LEAST_TAU:g}: {found}. Evaluate more sub-networks "
            "(--evaluations), or train the supernet longer"
        )

    def to_json(self) -> dict[str, float]:
        """Return plain JSON values."""
        return asdict(self)


class AccuracyPredictor:
    """Predicts the accuracy of archs of one space, in the unit it was fitted in.

    The kernel is linear plus Gaussian over one-hot and ordered encodings of the positions; noise and scale are chosen by
    cross-validation. Attributes: `quality`, on held-out archs; `noise`, `scale`, what was chosen.
    """

    def __init__(self, space: SearchSpace, train_NF: Floats, weights_N: Floats, chosen: dict[str, Any]):
        self.space = space
        self.quality = Quality(**chosen["quality"])
        self.noise, self.scale, self.mean = float(chosen["noise"]), float(chosen["scale"]), float(chosen["mean"])
        self._train_NF = train_NF
        self._weights_N = weights_N
        self._linear_F = train_NF.T @ weights_N / train_NF.shape[1]

    @classmethod
    def fit(cls, space: SearchSpace, genes: Genes, accuracies: Floats, *, seed: int = 0) -> AccuracyPredictor:
        """Fit to evaluated archs [N, G] and their accuracies [N].

        Raises:
            NetwrightError: fewer than ten archs, or an accuracy that is not a number.
        """
        accuracies = np.asarray(accuracies, np.float64)
        if len(genes) < LEAST or accuracies.shape != (len(genes),) or not np.isfinite(accuracies).all():
            raise NetwrightError(
                f"A predictor needs at least {LEAST} evaluated networks with finite accuracies, got {len(genes)}. "
                "Evaluate more."
            )
        features_NF = encode(space, genes)
        folds = np.random.default_rng(seed).permutation(len(genes)) % FOLDS
        tried = [(noise, scale) for scale in _SCALES for noise in _NOISES]
        held_out = [_cross_validate(features_NF, accuracies, folds, noise, scale) for noise, scale in tried]
        errors = [float(np.sqrt(np.mean((values - accuracies) ** 2))) for values in held_out]
        best = int(np.argmin(errors))
        noise, scale = tried[best]
        mean = float(accuracies.mean())
        weights_N = _solve(_kernel(features_NF, features_NF, scale), accuracies - mean, noise)
        quality = _quality(held_out[best], accuracies)
        chosen = {"noise": noise, "scale": scale, "mean": mean, "quality": quality.to_json()}
        return cls(space, features_NF, weights_N, chosen)

    def __call__(self, genes: Genes) -> Floats:
        """Return the predicted accuracy of each row of genes."""
        features = encode(self.space, genes)
        values = features @ self._linear_F + self.mean + self._weights_N.sum()
        if self.scale:
            values += _gaussian(features, self._train_NF, self.scale) @ self._weights_N
        return values

    def save(self, path: Path) -> None:
        """Write the predictor as one safetensors file."""
        tensors = {"train": torch.from_numpy(self._train_NF), "weights": torch.from_numpy(self._weights_N)}
        chosen = {"noise": self.noise, "scale": self.scale, "mean": self.mean, "quality": self.quality.to_json()}
        save_state(path, {"kind": "accuracy-predictor", "space": self.space.name, "chosen": chosen, **tensors})

    @classmethod
    def load(cls, path: Path, space: SearchSpace) -> AccuracyPredictor:
        """Read what `save` wrote.

        Raises:
            NetwrightError: the file is damaged, holds something else, or belongs to another space.
        """
        state = load_state(path)
        if state.get("kind") != "accuracy-predictor":
            raise NetwrightError(f"{path} does not hold an accuracy predictor.")
        width = encode(space, np.zeros((1, len(space.sizes)), np.int64)).shape[1]
        try:
            train, weights = (state[name].numpy() for name in ("train", "weights"))
            fits = state["space"] == space.name and train.shape == (len(weights), width)
            if not fits:
                raise NetwrightError(f"{path} belongs to space {state['space']!r}, not to this {space.name!r}.")
            return cls(space, train, weights, state["chosen"])
        except (KeyError, TypeError, AttributeError) as error:
            raise NetwrightError(f"{path} is damaged: its accuracy predictor lacks {error}.") from error


def encode(space: SearchSpace, genes: Genes) -> Floats:
    """Return one-hot features, and for each position how far up its choices it is (0 where inactive)."""
    one_hot = space.features(genes).astype(np.float64)
    steps = np.zeros((one_hot.shape[1], len(space.sizes)))
    start = 0
    for position, size in enumerate(space.sizes):
        steps[start : start + size, position] = np.arange(1, size + 1) / size
        start += size
    return np.concatenate([one_hot, one_hot @ steps], 1)


def _kernel(left: Floats, right: Floats, scale: float) -> Floats:
    linear = left @ right.T / left.shape[1] + 1.0
    return linear + _gaussian(left, right, scale) if scale else linear


def _gaussian(left: Floats, right: Floats, scale: float) -> Floats:
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2 * left @ right.T
    return np.exp(-scale * np.maximum(squares, 0) / 10)


def _solve(kernel: Floats, targets: Floats, noise: float) -> Floats:
    spread = float(np.mean(np.diag(kernel)))
    return cho_solve(cho_factor(kernel + noise * spread * np.eye(len(kernel))), targets)


def _cross_validate(features: Floats, targets: Floats, folds: NDArray[np.int64], noise: float, scale: float) -> Floats:
    """Return for every arch its prediction by a fit to the other folds."""
    kernel = _kernel(features, features, scale)
    predicted = np.empty(len(targets))
    for fold in range(FOLDS):
        held, kept = folds == fold, folds != fold
        mean = targets[kept].mean()
        predicted[held] = (
            kernel[np.ix_(held, kept)] @ _solve(kernel[np.ix_(kept, kept)], targets[kept] - mean, noise) + mean
        )
    return predicted


def _quality(predicted: Floats, actual: Floats) -> Quality:
    """Rank correlations are 0 where all accuracies are equal and nothing can be ranked."""
    if np.ptp(actual) == 0 or np.ptp(predicted) == 0:
        return Quality(len(actual), 0.0, 0.0, float(np.sqrt(np.mean((predicted - actual) ** 2))))
    correlations = [stats.kendalltau(predicted, actual), stats.spearmanr(predicted, actual)]
    tau, rho = (float(np.asarray(correlation)[0]) for correlation in correlations)
    return Quality(len(actual), tau, rho, float(np.sqrt(np.mean((predicted - actual) ** 2))))
