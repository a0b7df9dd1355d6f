"""The contract of every plan, and that one of one's own is a plan as well."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.real_memory import allocator_peak
from netwright.adaptation.plan import PLANS, plan
from netwright.core.errors import NetwrightError

BYTES = 2_000_000


def network() -> nn.Module:
    torch.manual_seed(0)
    blocks = [
        nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        for _ in range(6)
    ]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)
    )


def gradients(module: nn.Module, x: Tensor) -> list[Tensor | None]:
    module.zero_grad()
    module(x).square().sum().backward()
    return [None if parameter.grad is None else parameter.grad.clone() for parameter in module.parameters()]


@pytest.mark.parametrize("name", list(PLANS))
def test_gradients_are_equal_and_the_peak_is_within_the_budget(name: str) -> None:
    module, x = network().train(), torch.randn(4, 3, 32, 32)
    names = [name for name, _ in module.named_parameters()]
    made = plan(module, [x], names, BYTES, how=name)
    expected = gradients(copy.deepcopy(module), x)
    found = gradients(made.network, x)
    assert all(
        torch.equal(one, two) for one, two in zip(expected, found, strict=True) if one is not None and two is not None
    )
    assert {id(p) for p in made.network.parameters()} == {id(p) for p in module.parameters()}
    assert made.peak_bytes <= BYTES
    gradients(made.network, x)

    def step() -> None:
        made.network.zero_grad(set_to_none=False)
        made.network(x).square().sum().backward()

    measured = allocator_peak(step) + x.nbytes
    assert abs(made.peak_bytes - measured) <= 0.05 * measured
    assert measured <= 1.05 * BYTES


@pytest.mark.parametrize("name", list(PLANS))
def test_as_a_change_of_a_training_run(name: str) -> None:
    """A recipe makes it from JSON, and training calls `plan(module, example)`."""
    module, x = network().train(), torch.randn(4, 3, 32, 32)
    for parameter in list(module.parameters())[:3]:
        parameter.requires_grad_(False)
    expected = gradients(copy.deepcopy(module), x)
    found = gradients(PLANS.find(name)(budget="2MB").plan(module, SimpleNamespace(inputs=(x,))), x)
    assert [one is None for one in expected] == [one is None for one in found]
    assert all(
        torch.equal(one, two) for one, two in zip(expected, found, strict=True) if one is not None and two is not None
    )


@pytest.mark.parametrize("name", list(PLANS))
def test_a_budget_that_nothing_fits_is_refused(name: str) -> None:
    with pytest.raises(NetwrightError, match="1,000 bytes"):
        plan(network(), [torch.randn(4, 3, 32, 32)], (), "1000B", how=name)


@dataclass(frozen=True)
class Keep:
    """A plan that keeps everything."""

    budget: int

    def planned(self, module, inputs, trainable):
        return SimpleNamespace(network=module, peak_bytes=self.budget)

    def plan(self, module, example):
        return module


def test_a_plan_of_ones_own(tmp_path) -> None:
    module, x = network(), torch.randn(1, 3, 32, 32)
    assert plan(module, [x], (), 5, how=Keep).peak_bytes == 5
    (tmp_path / "mine.py").write_text(
        "class Mine:\n"
        "    def __init__(self, budget): self.budget = budget\n"
        "    def planned(self, module, inputs, trainable): return self\n"
    )
    assert plan(module, [x], (), 7, how=f"{tmp_path}/mine.py:Mine").budget == 7  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(NetwrightError, match="Did you mean 'checkpointing'"):
        plan(module, [x], (), 5, how="checkpoint")
