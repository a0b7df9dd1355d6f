"""From a supernet to networks within a budget."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from search_families import enumerate_space, small_family

from netwright.core.errors import NetwrightError
from netwright.core.json_lines import read_lines
from netwright.data import Dataset, ImageSet
from netwright.models.space import SearchSpace
from netwright.searching.limits.budget import Budget
from netwright.searching.predictor import AccuracyPredictor
from netwright.specialization.specialize import specialize, specialize_predicted, spread_sample
from netwright.supernet.supernet import Supernet

SETTINGS = {"population": 20, "generations": 5}
LATENCY = SimpleNamespace(offset_ms=0.1, block_ms=lambda block, shape: 1e-6 * block.macs(shape))


def images(count: int, seed: int) -> ImageSet:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    noise = torch.randint(0, 120, (count, 3, 24, 24), generator=rng)
    noise[:, 0] += labels[:, None, None] * 40
    return ImageSet(noise.to(torch.uint8), labels)


DATASET = Dataset("colours", images(64, 0), images(60, 1), tuple("abcd"), (0.4, 0.4, 0.4), (0.2, 0.2, 0.2))


@pytest.fixture(scope="module")
def supernet():
    torch.manual_seed(0)
    return Supernet(small_family()).eval()


def run(supernet, folder, budget, **settings):
    given = {"latency": LATENCY, "samples": 16, "top": 4, "rounds": 1, "search_settings": SETTINGS, "workers": 1}
    return specialize(supernet, DATASET, budget, folder, **{**given, **settings})


def test_candidates_fit_the_budget_and_were_measured(supernet, tmp_path):
    family = supernet.family
    budget = Budget(latency_ms=0.4, macs=2.5e5)
    found = run(supernet, tmp_path, budget)
    records = {json.dumps(r["arch"]): r["accuracy"] for r in read_lines(tmp_path / "evaluations.jsonl")}
    assert 0 < len(found.candidates) <= 4 and found.front
    for candidate in (*found.candidates, *found.front):
        assert candidate.cost.macs == family.macs(candidate.arch) <= 2.5e5
        assert candidate.cost.params == family.params(candidate.arch)
        assert candidate.cost.latency_ms.value == pytest.approx(0.1 + 1e-6 * candidate.cost.macs)
        assert candidate.cost.latency_ms.kind == "predicted" and candidate.cost.score.kind == "measured"
        assert candidate.cost.score.value == records[json.dumps(candidate.arch.to_json())]
    values = [candidate.cost.score.value for candidate in found.candidates]
    assert values == sorted(values, reverse=True)
    assert values[0] == max(candidate.cost.score.value for candidate in found.front)
    written = json.loads(json.dumps(found.to_json()))
    assert set(written["candidates"][0]) == {"arch", "accuracy", "latency_ms", "macs", "params"}
    assert written["budget"] == {"latency_ms": 0.4, "macs": 2.5e5}
    assert AccuracyPredictor.load(tmp_path / "predictor.safetensors", family.space).quality == found.predictor


def test_a_second_budget_reuses_the_sample_and_a_repeat_evaluates_nothing(supernet, tmp_path):
    path = tmp_path / "evaluations.jsonl"
    first = run(supernet, tmp_path, Budget(macs=2.5e5))
    after_first = len(read_lines(path))
    run(supernet, tmp_path, Budget(macs=3.5e5))
    after_second = len(read_lines(path))
    assert after_first <= 16 + 2 * 4 and after_second - after_first <= 2 * 4
    assert run(supernet, tmp_path, Budget(macs=2.5e5)) == first
    assert len(read_lines(path)) == after_second


def test_an_impossible_budget_ends_before_anything_is_evaluated(supernet, tmp_path):
    with pytest.raises(NetwrightError, match="least reachable"):
        run(supernet, tmp_path, Budget(latency_ms=0.1))
    with pytest.raises(NetwrightError, match="evolution"):
        run(supernet, tmp_path, Budget(macs=1e6), strategy="evolutoin")
    assert not list(tmp_path.iterdir())


def test_a_predictor_alone_finds_predicted_candidates():
    family = small_family()
    genes = spread_sample(family.space, 60, 0)
    predictor = AccuracyPredictor.fit(family.space, genes, genes @ np.arange(len(family.space.sizes)) / 10.0)
    found = specialize_predicted(family, predictor, Budget(macs=3e5), search_settings=SETTINGS)
    assert {candidate.cost.score.kind for candidate in found.candidates} == {"predicted"}
    assert all(candidate.cost.macs <= 3e5 and candidate.cost.latency_ms is None for candidate in found.candidates)


def test_the_sample_is_distinct_spread_and_repeatable():
    family = small_family()
    space: SearchSpace = family.space
    genes = spread_sample(space, 200, 1)
    assert len(np.unique(genes, axis=0)) == 200
    assert (genes == spread_sample(space, 200, 1)).all() and (genes != spread_sample(space, 200, 2)).any()
    assert (space.canonical(genes) == genes).all()
    uniform = space.sample(np.random.default_rng(0), 200).mean(1)
    assert genes.mean(1).std() > 1.2 * uniform.std()
    assert len(spread_sample(space, 10_000, 0)) <= len(enumerate_space(space))
