"""Scaling laws: synthetic runs with known parameters, and the optimum against a search."""

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.cost.formulas.scaling_law import ScalingLaw, fit_scaling_law, read_runs

TRUE = ScalingLaw(1.69, 406.4, 0.34, 410.7, 0.28)  # Hoffmann et al. 2022, Appendix D.3


def runs(law=TRUE, noise=0.0, count=40, seed=0):
    rng = np.random.default_rng(seed)
    params, data = 10 ** rng.uniform(7, 10, count), 10 ** rng.uniform(8.5, 11.5, count)
    return params, data, law.loss(params, data) * np.exp(rng.normal(0, noise, count))


@pytest.mark.parametrize("law", [TRUE, ScalingLaw(0.3, 20.0, 0.6, 3000.0, 0.45)])
def test_known_parameters_are_found_without_noise(law):
    found = fit_scaling_law(*runs(law), bootstrap=0)
    for name, value in vars(law).items():
        assert getattr(found.law, name) == pytest.approx(value, rel=1e-3), name
    assert found.error < 1e-5


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """90 % intervals from 12 tables of noisy runs: of 36 intervals, three in four hold the truth at the least."""
    held = []
    for seed in range(12):
        found = fit_scaling_law(*runs(noise=0.005, seed=seed), bootstrap=30, seed=seed)
        for name in ("irreducible", "alpha", "beta"):
            low, high = found.interval(name)
            held.append(low <= getattr(TRUE, name) <= high)
            assert low < high
    assert np.mean(held) >= 0.75


def test_outliers_hardly_move_the_fit():
    params, data, loss = runs(noise=0.001, count=60)
    loss[:5] *= 1.5  # runs that diverged
    found = fit_scaling_law(params, data, loss, bootstrap=0)
    assert found.law.alpha == pytest.approx(TRUE.alpha, rel=0.1)
    assert found.law.beta == pytest.approx(TRUE.beta, rel=0.1)


def test_the_same_seed_gives_the_same_intervals():
    table = runs(noise=0.01, count=20)
    one, two = (fit_scaling_law(*table, bootstrap=5, seed=3) for _ in range(2))
    assert one == two


def test_the_optimal_allocation_is_the_best_of_a_fine_search():
    for flops in (1e18, 1e21, 1e24):
        best = TRUE.optimal(flops)
        assert 6 * best.params * best.data == pytest.approx(flops)
        params = np.geomspace(best.params / 100, best.params * 100, 20_001)
        losses = TRUE.loss(params, flops / 6 / params)
        assert best.loss <= losses.min() * (1 + 1e-12)
        assert params[losses.argmin()] == pytest.approx(best.params, rel=1e-3)


def test_runs_are_read_from_csv(tmp_path):
    path = tmp_path / "runs.csv"
    params, data, loss = runs(count=8)
    lines = [f"{n},{d},{value},x" for n, d, value in zip(params, data, loss, strict=True)]
    path.write_text("\n".join(["Params,tokens,loss,note", *lines]))
    for got, expected in zip(read_runs(path), (params, data, loss), strict=True):
        np.testing.assert_allclose(got, expected)
    assert fit_scaling_law(*read_runs(path), bootstrap=2).to_json()["runs"] == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column for params"),
        ("params,loss\n1,2\n", "no column for data"),
        ("n,d,loss\n1,2,3\n1,x,3\n", "line 3: d is 'x'"),
        ("n,d,loss\n1,2\n", "line 2: loss is None"),
        ("n,d,loss\n1,-2,3\n", "not a positive number"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, message):
    (tmp_path / "runs.csv").write_text(text)
    with pytest.raises(NetwrightError, match=message):
        read_runs(tmp_path / "runs.csv")
    with pytest.raises(NetwrightError, match="Cannot read"):
        read_runs(tmp_path / "missing.csv")


def test_too_few_or_constant_runs_are_refused():
    with pytest.raises(NetwrightError, match="at least 6"):
        fit_scaling_law([1, 2], [1, 2], [1, 2])
    with pytest.raises(NetwrightError, match="differ in"):
        fit_scaling_law([1] * 8, range(1, 9), [1] * 8)
    with pytest.raises(NetwrightError, match="positive"):
        fit_scaling_law([1, 2, 3, 4, 5, -6], [1] * 6, [1] * 6)
    with pytest.raises(NetwrightError, match="bootstrap"):
        fit_scaling_law(*runs(count=8), bootstrap=0).interval("alpha")
