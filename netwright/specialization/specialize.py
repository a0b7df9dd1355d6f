"""From a trained supernet and a budget to the best sub-networks within it.

Once-for-all, Cai et al. 2020, arXiv:1908.09791, Section 3.4: evaluate some sub-networks, fit a predictor, search with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from netwright.core.errors import unknown
from netwright.core.progress import say
from netwright.core.seeds import derive_seed
from netwright.cost.figures import Cost, Figure
from netwright.data import Dataset, ImageSet
from netwright.models.arch import Arch
from netwright.models.family import Family
from netwright.models.space import Genes, SearchSpace
from netwright.searching.candidates import Result
from netwright.searching.limits.budget import Budget, Limit, costs_of
from netwright.searching.limits.kind import LatencyPrices
from netwright.searching.limits.reach import reach
from netwright.searching.pareto import front
from netwright.searching.predictor import AccuracyPredictor, Quality
from netwright.searching.strategies import nsga2
from netwright.searching.strategies.table import STRATEGIES
from netwright.specialization.evaluate import Evaluator
from netwright.supernet.supernet import Supernet


@dataclass(frozen=True)
class Candidate:
    """A network that fits: accuracy in percent, latency in milliseconds where the device is known."""

    arch: Arch
    accuracy: Figure
    latency_ms: Figure | None
    macs: int
    params: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"arch": self.arch.to_json(), **Cost(self.macs, self.params, self.latency_ms, self.accuracy).to_json()}


@dataclass(frozen=True)
class Specialization:
    """What a search found: candidates, the most accurate first; the front of accuracy against the limited costs.

    `predictor` states how well held-out sub-networks are ranked; `considered` counts the networks scored by it.
    """

    budget: Budget
    candidates: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    predictor: Quality
    considered: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "budget": self.budget.to_json(),
            "candidates": [candidate.to_json() for candidate in self.candidates],
            "front": [candidate.to_json() for candidate in self.front],
            "predictor": self.predictor.to_json(),
            "considered": self.considered,
        }


def specialize(
    supernet: Supernet,
    dataset: Dataset,
    budget: Budget,
    folder: Path,
    *,
    latency: LatencyPrices | None = None,
    images: ImageSet | None = None,
    calibration_images: int = 1024,
    samples: int = 200,
    top: int = 10,
    rounds: int = 2,
    strategy: str = "evolution",
    search_settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    seed: int = 0,
) -> Specialization:
    """Search the sub-networks of a supernet; every accuracy returned was measured on `images`.

    A sample of the space is evaluated and a predictor fitted to it. In each round the strategy searches with the
    predictor, the best it finds and points along the predicted front are evaluated, and the predictor learns from them.
    The sample does not depend on the budget and evaluations are recorded in `folder`, so further budgets cost seconds.

    Args:
        supernet: trained weights.
        dataset: normalisation, and training images to calibrate BatchNorm on.
        budget: the limits.
        folder: of `evaluations.jsonl` and `predictor.safetensors`, as a rule the run directory.
        latency: the latency model of the device; needed where the budget limits latency.
        images: what to evaluate on, as a rule a held-out part of the training images; None: the validation images.
        calibration_images: how many training images BatchNorm is calibrated on.
        samples: how many sub-networks the predictor is first fitted to.
        top: how many candidates to evaluate a round, and to return.
        rounds: how often to search, evaluate and learn.
        strategy: a name in `STRATEGIES`.
        search_settings: further arguments of the strategy, such as `generations`.
        workers: see `Evaluator`.
        seed: of sample and search.

    Raises:
        NetwrightError: no network fits the budget (within a second, before anything is evaluated), an unknown strategy,
            or a failed evaluation.
    """
    if strategy not in STRATEGIES:
        raise unknown("Strategy", strategy, STRATEGIES)
    space = supernet.family.space
    limits = budget.limits(supernet.family, latency)
    reach(space, limits, np.random.default_rng(0))
    folder = Path(folder)
    evaluator = Evaluator(
        supernet,
        dataset,
        folder / "evaluations.jsonl",
        images=images,
        calibration_images=calibration_images,
        workers=workers,
    )
    genes = spread_sample(space, samples, seed)
    accuracies = _measure(evaluator, genes)
    considered = 0
    for number in range(rounds):
        predictor = AccuracyPredictor.fit(space, genes, accuracies, seed=seed)
        found, along = _find(predictor, limits, strategy, {"seed": seed + number, **(search_settings or {})})
        considered += found.evaluated + along.evaluated
        new = _without(np.concatenate([found.genes[: 10 * top], _spaced(along, top)]), genes, top)
        genes = np.concatenate([genes, new])
        accuracies = np.concatenate([accuracies, _measure(evaluator, new)])
    predictor = AccuracyPredictor.fit(space, genes, accuracies, seed=seed)
    predictor.save(folder / "predictor.safetensors")
    quality = predictor.quality
    say(
        f"accuracy predictor: Kendall tau {quality.kendall_tau:.3f} on held-out sub-networks, {quality.networks} evaluated"
    )
    describe = _Describe(supernet.family, latency, "measured")
    return _collect(describe, budget, limits, genes, accuracies, top, quality, considered)


def specialize_predicted(
    family: Family,
    predictor: AccuracyPredictor,
    budget: Budget,
    *,
    latency: LatencyPrices | None = None,
    top: int = 10,
    strategy: str = "evolution",
    search_settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Specialization:
    """Search with a predictor alone, where there are no images to evaluate on; accuracies are predicted.

    Raises:
        NetwrightError: no network fits the budget, or an unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise unknown("Strategy", strategy, STRATEGIES)
    limits = budget.limits(family, latency)
    found, along = _find(predictor, limits, strategy, {"seed": seed, **(search_settings or {})})
    genes = np.unique(np.concatenate([found.genes, along.genes]), axis=0)
    considered = found.evaluated + along.evaluated
    describe = _Describe(family, latency, "predicted")
    return _collect(describe, budget, limits, genes, predictor(genes), top, predictor.quality, considered)


def spread_sample(space: SearchSpace, count: int, seed: int) -> Genes:
    """Return different archs from all sizes: uniform draws, pulled towards the smallest or the largest by varying shares.

    Uniform draws alone have nearly equal cost, which teaches a predictor little about small and large networks.
    """
    rng = np.random.default_rng(derive_seed("sample", space.name, seed))
    draws = space.sample(rng, 8 * count)
    ends = np.where(rng.random((len(draws), 1)) < 0.5, 0, space.sizes - 1)
    pulled = np.where(rng.random(draws.shape) < rng.random((len(draws), 1)) - 0.1, ends, draws)
    extremes = np.stack([np.zeros_like(space.sizes), space.sizes - 1])
    archs = space.canonical(np.concatenate([extremes, pulled]))
    _, first = np.unique(archs, axis=0, return_index=True)
    return archs[np.sort(first)[:count]]


def _find(
    predictor: AccuracyPredictor, limits: Sequence[Limit], strategy: str, settings: Mapping[str, Any]
) -> tuple[Result, Result]:
    """Return what the strategy found, and a search along the front of accuracy against the limited costs."""
    found = STRATEGIES[strategy](predictor.space, predictor, limits, **settings)
    along = found if strategy == "nsga2" else nsga2.search(predictor.space, predictor, limits, seed=settings["seed"])
    return found, along


def _spaced(result: Result, count: int) -> Genes:
    """Return rows along the front, evenly by rank."""
    rows = result.front()
    return result.genes[rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]]


def _without(genes: Genes, known: Genes, count: int) -> Genes:
    """Return the first `count` rows that are not known, and as many of the last ones, each once."""
    seen = set(map(bytes, known))
    fresh = [row for row in genes if bytes(row) not in seen and not seen.add(bytes(row))]
    return np.array(fresh[:count] + fresh[count:][-count:], np.int64).reshape(-1, known.shape[1])


def _measure(evaluator: Evaluator, genes: Genes) -> np.ndarray:
    return evaluator([evaluator.supernet.family.space.decode(row) for row in genes])


@dataclass(frozen=True)
class _Describe:
    family: Family
    latency: LatencyPrices | None
    kind: Literal["measured", "predicted"]

    def __call__(self, genes: Genes, accuracy: float) -> Candidate:
        arch = self.family.space.decode(genes)
        latency = None
        if self.latency is not None:
            latency = Figure(self.family.total(arch, self.latency.block_ms, self.latency.offset_ms), "predicted")
        return Candidate(arch, Figure(accuracy, self.kind), latency, self.family.macs(arch), self.family.params(arch))


def _collect(
    describe: _Describe,
    budget: Budget,
    limits: Sequence[Limit],
    genes: Genes,
    accuracies: np.ndarray,
    top: int,
    quality: Quality,
    considered: int,
) -> Specialization:
    """Keep what is within the limits, rank it, and describe it; of equal accuracies the one of lower first cost leads."""
    costs = costs_of(limits, genes)
    within = (costs <= [limit.bound for limit in limits]).all(1)
    genes, costs, accuracies = genes[within], costs[within], accuracies[within]
    best = np.lexsort((costs[:, 0], -accuracies))[:top]
    along = front(np.column_stack([-accuracies, costs]))
    candidates, points = (tuple(describe(genes[row], float(accuracies[row])) for row in rows) for rows in (best, along))
    return Specialization(budget, candidates, points, quality, considered)
