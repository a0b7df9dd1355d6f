"""The fit of a latency model as Bayesian regression: against the same model written in weights instead of covariances."""

import numpy as np
import pytest

from netwright.device.fit import PRIORS, Data, Prior, choose, fit

COMMON = 0.3  # the share by which all blocks together may leave the first guess


def made(seed: int, networks: int = 40, blocks: int = 12, noise: float = 0.0) -> Data:
    """Return networks whose blocks cost a little more or less than alone, with relative noise."""
    rng = np.random.default_rng(seed)
    alone_ms_U = rng.uniform(0.5, 2, blocks)
    true_ms_U = alone_ms_U * rng.normal(1, 0.05, blocks)
    counts_NU = rng.integers(0, 3, (networks, blocks)).astype(float)
    ms_N = (0.3 + counts_NU @ true_ms_U) * rng.normal(1, noise, networks)
    return Data(alone_ms_U, rng.uniform(0, 1, (blocks, 3)), counts_NU, ms_N)


@pytest.mark.parametrize(
    "prior", [Prior(0.1, 0.15, 0.0, 0.05), Prior(0.05, 0.0, 0.0, 0.1), Prior(0.2, 0.05, 0.0, 0.03)]
)
def test_the_posterior_mean_is_that_of_ridge_regression_on_independent_weights(prior):
    """Offset, common factor, features and single blocks, each a weight of unit variance times its prior share."""
    data = made(0, noise=0.02)
    typical_ms = np.median(data.ms_N)
    guess_U = data.alone_ms_U * np.median(data.ms_N / (data.counts_NU @ data.alone_ms_U))
    linear_UF = prior.linear * typical_ms / 10 * data.features_UF / data.features_UF.max(0)
    weights_UW = np.column_stack([COMMON * guess_U, linear_UF, prior.own * np.diag(guess_U)])
    design_NW = np.column_stack([np.full(len(data.ms_N), typical_ms), data.counts_NU @ weights_UW])
    noise_N = prior.noise * data.ms_N
    rows = np.vstack([design_NW / noise_N[:, None], np.eye(design_NW.shape[1])])
    left = np.concatenate([(data.ms_N - data.counts_NU @ guess_U) / noise_N, np.zeros(design_NW.shape[1])])
    weights_W = np.linalg.lstsq(rows, left, rcond=None)[0]
    found = fit(data, prior)
    np.testing.assert_allclose(found.block_ms_U, guess_U + weights_UW @ weights_W[1:], rtol=1e-6)
    assert found.offset_ms == pytest.approx(typical_ms * weights_W[0], rel=1e-6)


def test_like_blocks_leave_the_guess_together():
    """Of four blocks with two kinds of features, one of each kind is in no network: it follows its like."""
    features_UF = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], float)
    rng = np.random.default_rng(1)
    counts_NU = rng.integers(1, 5, (40, 4)).astype(float)
    counts_NU[:, [1, 3]] = 0
    data = Data(np.ones(4), features_UF, counts_NU, counts_NU @ np.array([1.3, 0, 0.7, 0]))
    block_ms_U = fit(data, Prior(0.0, 0.05, 0.3, 0.01)).block_ms_U
    np.testing.assert_allclose(block_ms_U[[0, 2]], [1.3, 0.7], rtol=0.05)
    np.testing.assert_allclose(block_ms_U[[1, 3]], block_ms_U[[0, 2]], rtol=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_a_prior_is_that_on_networks_which_it_has_not_seen(seed):
    """As many blocks as networks, and timings of 10 % noise: what was fitted would be met much closer than that."""
    data = made(seed, networks=60, blocks=60, noise=0.1)
    prior, error = choose(data, seed=seed)
    assert prior in PRIORS and error > 0.07
