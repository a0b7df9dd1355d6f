"""The accuracy predictor: what it promises on held-out archs, and its file."""

import numpy as np
import pytest
from scipy import stats
from search_families import bumpy_score, chain_family, small_family

from netwright.core.errors import NetwrightError
from netwright.core.state import load_state, save_state
from netwright.models.families import family
from netwright.searching.predictor import FOLDS, AccuracyPredictor, Quality, _cross_validate, encode

SPACE = family("mobilenet-v3-small").space


def accuracies(genes, seed=0):
    """Main effects, saturation and noise, as accuracies have."""
    rng = np.random.default_rng(seed)
    features = encode(SPACE, genes)
    effects = rng.gamma(1.0, 1.0, features.shape[1])
    capacity = features @ effects
    return 90 - 20 * np.exp(-(capacity - capacity.min()) / 10) + rng.normal(0, 0.1, len(genes))


@pytest.fixture(scope="module")
def fitted():
    genes = SPACE.sample(np.random.default_rng(0), 160)
    return genes, AccuracyPredictor.fit(SPACE, genes, accuracies(genes))


def test_new_archs_are_ranked_as_well_as_the_stated_quality(fitted):
    _, predictor = fitted
    new = SPACE.sample(np.random.default_rng(1), 500)
    rng = np.random.default_rng(0)
    features = encode(SPACE, np.concatenate([fitted[0], new]))
    capacity = features @ rng.gamma(1.0, 1.0, features.shape[1])
    actual = (90 - 20 * np.exp(-(capacity - capacity[:160].min()) / 10))[160:]
    tau = stats.kendalltau(predictor(new), actual).statistic
    assert predictor.quality.networks == 160
    assert predictor.quality.kendall_tau > 0.7
    assert abs(tau - predictor.quality.kendall_tau) < 0.12
    error = np.sqrt(np.mean((predictor(new) - actual) ** 2))
    assert error == pytest.approx(predictor.quality.rmse, rel=0.5)


def test_fitting_does_not_depend_on_the_process_state(fitted):
    genes, predictor = fitted
    np.random.default_rng().random()
    again = AccuracyPredictor.fit(SPACE, genes, accuracies(genes))
    new = SPACE.sample(np.random.default_rng(2), 50)
    assert (again(new) == predictor(new)).all()


def test_unrankable_noise_is_not_called_quality():
    genes = SPACE.sample(np.random.default_rng(0), 100)
    noise = AccuracyPredictor.fit(SPACE, genes, np.random.default_rng(1).normal(size=100))
    assert abs(noise.quality.kendall_tau) < 0.3
    constant = AccuracyPredictor.fit(SPACE, genes, np.full(100, 50.0))
    assert constant.quality.kendall_tau == 0
    assert constant(genes) == pytest.approx(np.full(100, 50.0))


def test_interactions_are_learned_where_the_space_is_small():
    space = small_family().space
    genes = np.unique(space.sample(np.random.default_rng(0), 900), axis=0)
    score = bumpy_score(space)
    predictor = AccuracyPredictor.fit(space, genes[::2], score(genes[::2]))
    linear = AccuracyPredictor.fit(space, genes[::2][:12], score(genes[::2][:12]))
    assert predictor.scale > 0
    rest = genes[1::2]
    tau, few = (stats.kendalltau(p(rest), score(rest)).statistic for p in (predictor, linear))
    assert tau > 0.8 > few


def test_a_saved_predictor_predicts_the_same(fitted, tmp_path):
    _, predictor = fitted
    predictor.save(tmp_path / "p.safetensors")
    loaded = AccuracyPredictor.load(tmp_path / "p.safetensors", SPACE)
    new = SPACE.sample(np.random.default_rng(3), 100)
    assert (loaded(new) == predictor(new)).all()
    assert loaded.quality == predictor.quality


def test_files_of_other_spaces_or_kinds_are_refused(fitted, tmp_path):
    path = tmp_path / "p.safetensors"
    fitted[1].save(path)
    with pytest.raises(NetwrightError, match="belongs to space"):
        AccuracyPredictor.load(path, small_family().space)
    with pytest.raises(NetwrightError, match="belongs to space"):
        AccuracyPredictor.load(path, chain_family(0).space)
    state = load_state(path)
    for missing in ("weights", "train", "chosen", "space"):
        save_state(path, {key: value for key, value in state.items() if key != missing})
        with pytest.raises(NetwrightError, match="damaged"):
            AccuracyPredictor.load(path, SPACE)
    save_state(path, {"kind": "something else"})
    with pytest.raises(NetwrightError, match="does not hold"):
        AccuracyPredictor.load(path, SPACE)


@pytest.mark.parametrize(("count", "value"), [(5, 1.0), (20, np.nan)])
def test_too_few_or_broken_accuracies_are_refused(count, value):
    genes = SPACE.sample(np.random.default_rng(0), count)
    with pytest.raises(NetwrightError, match="finite accuracies"):
        AccuracyPredictor.fit(SPACE, genes, np.full(count, value))


def test_a_prediction_of_the_cross_validation_does_not_know_its_own_fold():
    """Whatever the held-out accuracies were, and their mean with them: their predictions are the same to the last bit."""
    genes = SPACE.sample(np.random.default_rng(0), 60)
    features, values = encode(SPACE, genes), accuracies(genes)
    folds = np.random.default_rng(0).permutation(60) % FOLDS
    for scale in (0.0, 0.1):
        before = _cross_validate(features, values, folds, 0.1, scale)
        for fold in range(FOLDS):
            held = folds == fold
            shifted = np.where(held, values + 1000, values)
            after = _cross_validate(features, shifted, folds, 0.1, scale)
            assert (after[held] == before[held]).all()
            assert (after[~held] != before[~held]).all()


def test_the_predictions_of_a_fold_are_those_of_a_fit_to_the_others():
    """In closed form: kernel ridge regression around the mean of the other folds alone."""
    genes = SPACE.sample(np.random.default_rng(1), 40)
    features, values = encode(SPACE, genes), accuracies(genes)
    folds = np.arange(40) % FOLDS
    predicted = _cross_validate(features, values, folds, 0.3, 0.0)
    for fold in range(FOLDS):
        held, kept = folds == fold, folds != fold
        kernel = features[kept] @ features[kept].T / features.shape[1] + 1
        ridge = kernel + 0.3 * np.mean(np.diag(kernel)) * np.eye(kept.sum())
        weights = np.linalg.solve(ridge, values[kept] - values[kept].mean())
        cross = features[held] @ features[kept].T / features.shape[1] + 1
        np.testing.assert_allclose(predicted[held], cross @ weights + values[kept].mean(), rtol=1e-8)


@pytest.mark.parametrize(
    ("tau", "count", "says"), [(-0.14, 60, "no better than a coin"), (0.3, 200, "65%"), (0.3, 12, "coin")]
)
def test_a_predictor_that_ranks_badly_is_doubted_and_says_what_to_do(tau, count, says):
    doubt = Quality(count, tau, tau, 1.0).doubt
    assert says in doubt and f"{tau:.2f}" in doubt and "--evaluations" in doubt and "train the supernet longer" in doubt


@pytest.mark.parametrize("count", [10, 20, 60])
def test_chance_alone_exceeds_the_bound_in_one_case_of_twenty(count):
    from scipy.stats import kendalltau

    rng = np.random.default_rng(0)
    taus = [kendalltau(rng.permutation(count), np.arange(count))[0] for _ in range(2000)]
    assert np.mean(np.array(taus) > Quality(count, 0.0, 0.0, 1.0).chance_tau) == pytest.approx(0.05, abs=0.02)
    assert Quality(count, 0.8, 0.8, 1.0).doubt is None
