"""Closed forms, against counting what runs."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.core.errors import NetwrightError
from netwright.cost.formulas.linear_model import (
    LinearTraining,
    convolution_macs,
    separable_macs,
    separable_ratio,
    training_macs,
)


def counted_macs(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def descend(x, y, steps, precompute):
    w = torch.zeros(x.shape[1], y.shape[1], dtype=x.dtype)
    if precompute:
        a, b = x.T @ x, x.T @ y
    for _ in range(steps):
        gradient = a @ w - b if precompute else x.T @ (x @ w - y)
        w = w - 1e-3 * gradient
    return w


@pytest.mark.parametrize(("n", "d", "k", "steps"), [(50, 8, 1, 7), (20, 30, 3, 2), (64, 64, 2, 0)])
@pytest.mark.parametrize("precompute", [False, True])
def test_gradient_descent_costs_what_is_counted(n, d, k, steps, precompute):
    x, y = torch.randn(n, d), torch.randn(n, k)
    form = LinearTraining(n, d, k)
    assert form.macs(steps, precompute=precompute) == counted_macs(lambda: descend(x, y, steps, precompute))


@pytest.mark.parametrize(("n", "d"), [(50, 8), (3, 1), (7, 11)])
def test_half_of_a_symmetric_matrix_is_counted_entry_by_entry(n, d):
    entries = len(np.triu_indices(d)[0])  # with the diagonal
    form = LinearTraining(n, d)
    assert form.macs(0, precompute=True, symmetric=True) == entries * n + n * d


def test_both_ways_learn_the_same():
    x, y = torch.randn(50, 8, dtype=torch.float64), torch.randn(50, 1, dtype=torch.float64)
    torch.testing.assert_close(descend(x, y, 100, True), descend(x, y, 100, False))


@pytest.mark.parametrize("symmetric", [False, True])
def test_break_even_is_the_first_step_at_which_precomputing_costs_no_more(symmetric):
    rng = np.random.default_rng(0)
    never = 0
    for n, d, k in rng.integers(1, 60, (200, 3)).tolist():
        form = LinearTraining(n, d, k)
        found = form.break_even_steps(symmetric=symmetric)
        if found is None:
            never += 1
            assert 2 * n <= d
            assert form.macs(10**6, precompute=True, symmetric=symmetric) > form.macs(10**6)
        else:
            assert form.macs(found, precompute=True, symmetric=symmetric) <= form.macs(found)
            assert form.macs(found - 1, precompute=True, symmetric=symmetric) > form.macs(found - 1)
    assert 0 < never < 200


def test_memory_counts_the_values_that_are_kept():
    x, y = np.zeros((50, 8), np.float32), np.zeros((50, 2), np.float32)
    w = np.zeros((8, 2), np.float32)
    held = x.nbytes + y.nbytes + (x @ w - y).nbytes + w.nbytes + (x.T @ y).nbytes
    assert LinearTraining(50, 8, 2).memory_bytes() == held
    held = (x.T @ x).nbytes + (x.T @ y).nbytes + w.nbytes + w.nbytes
    assert LinearTraining(50, 8, 2).memory_bytes(precompute=True) == held
    with pytest.raises(NetwrightError, match="at least 1"):
        LinearTraining(0, 3)


@pytest.mark.parametrize(
    ("kernel", "inputs", "outputs", "side", "groups"), [(3, 8, 12, 6, 1), (5, 8, 8, 4, 8), (1, 6, 9, 5, 3)]
)
def test_convolutions_cost_what_is_counted(kernel, inputs, outputs, side, groups):
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups)
    counted = counted_macs(lambda: conv(torch.randn(2, inputs, side, side)))
    assert convolution_macs(kernel, inputs, outputs, side * side, groups=groups, batch=2) == counted


def test_a_separable_convolution_costs_the_published_share_of_a_full_one():
    full, separable = convolution_macs(3, 32, 64, 100), separable_macs(3, 32, 64, 100)
    assert separable / full == pytest.approx(separable_ratio(3, 64))
    assert separable_ratio(3, 10**9) == pytest.approx(1 / 9)


def test_backward_is_twice_forward_but_for_what_needs_no_gradient():
    first, middle, last = nn.Linear(10, 20), nn.Linear(20, 30), nn.Linear(30, 5)
    net = nn.Sequential(first, middle, last)
    forward = counted_macs(lambda: net(torch.randn(4, 10)))
    step = counted_macs(lambda: net(torch.randn(4, 10)).sum().backward())
    assert step == training_macs(forward, first_layer_macs=4 * 200)
    assert counted_macs(lambda: net(torch.randn(4, 10).requires_grad_()).sum().backward()) == training_macs(forward)
    middle.weight.requires_grad_(False)
    step = counted_macs(lambda: net(torch.randn(4, 10)).sum().backward())
    assert step == training_macs(forward, first_layer_macs=4 * 200, frozen_macs=4 * 600)
