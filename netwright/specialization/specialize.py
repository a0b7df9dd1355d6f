"""From a trained supernet and a budget to the best sub-networks within it.

Once-for-all, Cai et al. 2020, arXiv:1908.09791, Section 3.4: evaluate some sub-networks, fit a predictor, search with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.core.progress import say
from netwright.core.seeds import derive_seed
from netwright.cost.figures import Figure
from netwright.data import Dataset, ImageSet
from netwright.models.arch import Arch
from netwright.models.family import Family
from netwright.models.space import Genes, SearchSpace
from netwright.searching.candidates import Result
from netwright.searching.limits.budget import Budget, Limit, costs_of
from netwright.searching.limits.kind import DevicePrices, LatencyPrices
from netwright.searching.limits.reach import reach
from netwright.searching.pareto import front
from netwright.searching.predictor import LEAST, AccuracyPredictor, Quality
from netwright.searching.score import Floats, Score, SearchStopped
from netwright.searching.search import check_strategy, search_space
from netwright.searching.strategies import nsga2
from netwright.searching.strategies.table import STRATEGIES, Strategy
from netwright.specialization.candidate import Candidate, Describe
from netwright.specialization.evaluate import Evaluator
from netwright.supernet.supernet import Supernet
from netwright.tasks.task import Task

Callback = Callable[[dict[str, Any]], object]


@dataclass(frozen=True)
class Specialization:
    """What a search found: candidates, the best first; the front of the metric against the limited costs.

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
    latency: DevicePrices | LatencyPrices | None = None,
    images: ImageSet | None = None,
    calibration_images: int = 1024,
    samples: int = 200,
    top: int = 10,
    rounds: int = 2,
    refined: int | None = None,
    strategy: str | Strategy = "evolution",
    search_settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    seed: int = 0,
    task: str | Task = "classification",
    callback: Callback | None = None,
) -> Specialization:
    """Search the sub-networks of a supernet; every value of the metric returned was measured on `images`.

    A sample of the space is evaluated and a predictor fitted to it. In each round the strategy searches with the
    predictor, the best it finds and points along the predicted front are evaluated, and the predictor learns from them.
    The sample does not depend on the budget and evaluations are recorded in `folder`, so further budgets cost seconds.

    Args:
        supernet: trained weights.
        dataset: normalisation, and training images to calibrate BatchNorm on.
        budget: the limits.
        folder: of `evaluations.jsonl` and `predictor.safetensors`, as a rule the run directory.
        latency: what is known of the device; its latency model alone will do where only latency needs it.
        images: what to evaluate on, as a rule a held-out part of the training images; None: the validation images.
        calibration_images: how many training images BatchNorm is calibrated on.
        samples: how many sub-networks the predictor is first fitted to.
        top: how many candidates to return, and to evaluate a round, besides as many along the front.
        rounds: how often to search, evaluate and learn.
        refined: how many networks to evaluate in all rounds together at most; None: 2 x `top` a round.
        strategy: a name in `STRATEGIES`, FILE.py:NAME, or a function.
        search_settings: further arguments of the strategy, such as `generations`.
        workers: see `Evaluator`.
        seed: of sample and search.
        task: what the networks are for; see `Evaluator`.
        callback: called with a record of each sub-network evaluated, {"kind": "evaluated", "arch", "made_with", and the metric's
            key}, and of each generation, {"kind": "generation", "round", "evaluated", "best"}. Where it returns True, the search
            ends with what was found so far; what was evaluated is kept.

    Raises:
        NetwrightError: no network fits the budget (before anything is evaluated), an unknown strategy or setting of it, a
            failed evaluation, or it was stopped before ten networks were evaluated.
    """
    check_strategy(strategy, search_settings or {})
    refined = 2 * top * rounds if refined is None else refined
    _check_counts(samples=(samples, LEAST), top=(top, 1), rounds=(rounds, 0), refined=(refined, 0))
    space = supernet.family.space
    limits = budget.limits(supernet.family, latency)
    reach(space, limits, np.random.default_rng(0))
    folder, watch = Path(folder), _Watch(callback)
    shared: dict[str, Any] = {"calibration_images": calibration_images, "workers": workers, "task": task}
    shared |= {"images": images, "callback": watch.evaluated}
    evaluator = Evaluator(supernet, dataset, folder / "evaluations.jsonl", **shared)
    genes, scores = _measure(evaluator, spread_sample(space, samples, seed))
    considered = 0
    for number, most in enumerate(_shares(refined, rounds) if not watch.stopped else ()):
        predictor = AccuracyPredictor.fit(space, genes, scores, seed=seed)
        settings = {"seed": seed + number, **(search_settings or {})}
        found, along = _find(watch.score(predictor, number), space, limits, strategy, settings)
        considered += found.evaluated + along.evaluated
        new = _without(np.concatenate([found.genes[: 10 * top], _spaced(along, top)]), genes, most)
        new, of_new = _measure(evaluator, new)
        genes, scores = np.concatenate([genes, new]), np.concatenate([scores, of_new])
        if watch.stopped:
            break
    watch.check_enough(len(genes))
    predictor = AccuracyPredictor.fit(space, genes, scores, seed=seed)
    predictor.save(folder / "predictor.safetensors")
    _say_quality(quality := predictor.quality)
    describe = Describe(supernet.family, latency, evaluator.metric)
    return _collect(_Described(describe, "measured"), budget, limits, genes, scores, top, quality, considered)


def specialize_predicted(
    family: Family,
    predictor: AccuracyPredictor,
    budget: Budget,
    *,
    latency: DevicePrices | LatencyPrices | None = None,
    top: int = 10,
    strategy: str | Strategy = "evolution",
    search_settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Specialization:
    """Search with a predictor alone, where there are no images to evaluate on; accuracies are predicted.

    Raises:
        NetwrightError: no network fits the budget, an unknown strategy or setting of it, or a predictor of another space.
    """
    check_strategy(strategy, search_settings or {})
    _check_counts(top=(top, 1))
    if predictor.space != family.space:
        raise NetwrightError(
            f"The predictor is of space {predictor.space.name!r}, the family of {family.space.name!r}. Fit one to this space."
        )
    limits = budget.limits(family, latency)
    found, along = _find(predictor, family.space, limits, strategy, {"seed": seed, **(search_settings or {})})
    genes = np.unique(np.concatenate([found.genes, along.genes]), axis=0)
    considered = found.evaluated + along.evaluated
    describe = _Described(Describe(family, latency), "predicted")
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


def _say_quality(quality: Quality) -> None:
    tau, count = quality.kendall_tau, quality.networks
    say(f"accuracy predictor: Kendall tau {tau:.3f} on held-out sub-networks, {count} evaluated")
    if quality.doubt:
        say(f"warning: {quality.doubt}")


class _Watch:
    """Hands records to the user's callback, and remembers whether it asked to stop."""

    def __init__(self, callback: Callback | None):
        self.callback, self.stopped = callback, False

    def evaluated(self, record: dict[str, Any]) -> bool:
        """Tell of a sub-network that was evaluated; return whether to stop."""
        return self._tell({"kind": "evaluated", **record})

    def score(self, score: Score, number: int) -> Score:
        """Return a score that tells of every generation of a round, and ends the search where it was asked to stop."""
        seen: list[Floats] = []

        def watched(genes: Genes) -> Floats:
            scores = score(genes)
            seen.append(scores)
            best = max(float(one.max()) for one in seen)
            record = {"kind": "generation", "round": number, "evaluated": sum(map(len, seen)), "best": best}
            if self._tell(record):
                raise SearchStopped(scores)
            return scores

        return watched if self.callback is not None else score

    def check_enough(self, count: int) -> None:
        """Refuse to go on from too few evaluations after a stop.

        Raises:
            NetwrightError: there are fewer than a predictor can be fitted to.
        """
        if self.stopped and count < LEAST:
            raise NetwrightError(
                f"The search was stopped after {count} evaluations; it needs {LEAST} to learn from. They are kept: repeat "
                "it to go on from there."
            )

    def _tell(self, record: dict[str, Any]) -> bool:
        if self.callback is not None and self.callback(record) is True:
            self.stopped = True
        return self.stopped


def _check_counts(**given: tuple[int, int]) -> None:
    for name, (count, least) in given.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < least:
            raise NetwrightError(f"{name} must be a whole number of at least {least}, not {count!r}.")


def _find(
    score: Score, space: SearchSpace, limits: Sequence[Limit], strategy: str | Strategy, settings: Mapping[str, Any]
) -> tuple[Result, Result]:
    """Return what the strategy found, and a search along the front of the score against the limited costs."""
    found = search_space(space, score, limits, strategy=strategy, **settings)
    if STRATEGIES.find(strategy) is nsga2.search:
        return found, found
    return found, search_space(space, score, limits, strategy="nsga2", seed=settings["seed"])


def _spaced(result: Result, count: int) -> Genes:
    """Return rows along the front, evenly by rank."""
    rows = result.front()
    return result.genes[rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]]


def _shares(count: int, rounds: int) -> list[int]:
    """Divide a count among the rounds, nearly evenly; rounds that get nothing are left out."""
    shares = (count // rounds + (number < count % rounds) for number in range(rounds))
    return [share for share in shares if share]


def _without(genes: Genes, known: Genes, count: int) -> Genes:
    """Return `count` rows that are not known, each once: half of them the first ones, half the last."""
    seen = set(map(bytes, known))
    fresh = [row for row in genes if bytes(row) not in seen and not seen.add(bytes(row))]
    last = count // 2
    first = fresh[: count - last]
    rest = fresh[len(first) :]
    return np.array(first + rest[max(0, len(rest) - last) :], np.int64).reshape(-1, known.shape[1])


def _measure(evaluator: Evaluator, genes: Genes) -> tuple[Genes, Floats]:
    """Evaluate archs; return those that were evaluated before a stop, with the metric turned so that higher is better."""
    values = evaluator([evaluator.supernet.family.space.decode(row) for row in genes])
    known = np.isfinite(values)
    scores = [evaluator.metric.score(float(value)) for value in values[known]]
    return genes[known], np.array(scores, np.float64)


@dataclass(frozen=True)
class _Described:
    describe: Describe
    kind: Literal["measured", "predicted"]

    def __call__(self, genes: Genes, score: float) -> Candidate:
        arch: Arch = self.describe.family.space.decode(genes)
        return self.describe.candidate(arch, Figure(self.describe.metric.score(score), self.kind))


def _collect(
    describe: _Described,
    budget: Budget,
    limits: Sequence[Limit],
    genes: Genes,
    scores: Floats,
    top: int,
    quality: Quality,
    considered: int,
) -> Specialization:
    """Keep what is within the limits, rank it, and describe it; of equal scores the one of lower first cost leads."""
    costs = costs_of(limits, genes)
    within = (costs <= [limit.bound for limit in limits]).all(1)
    genes, costs, scores = genes[within], costs[within], scores[within]
    best = np.lexsort((costs[:, 0], -scores))[:top]
    along = front(np.column_stack([-scores, costs]))
    candidates, points = (tuple(describe(genes[row], float(scores[row])) for row in rows) for rows in (best, along))
    return Specialization(budget, candidates, points, quality, considered)
