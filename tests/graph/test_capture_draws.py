"""Modules that draw random numbers: one draw is told as one draw."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright.cost.profile import profile
from netwright.graph.capture.trace import capture

X = torch.zeros(2, 6)


class Chance(nn.Module):
    """A linear layer or none, as a number says."""

    def __init__(self, draw: Callable[[Any], Any], **held: Any) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(6, 6), nn.Dropout()
        self.draw = draw
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.linear(x)) if self.draw(self) < 0.5 else x * 2


@pytest.mark.parametrize(
    ("draw", "held", "name"),
    [
        (lambda self: random.random(), {}, "Python's random"),
        (lambda self: np.random.rand(), {}, "NumPy"),
        (lambda self: torch.rand(()), {}, "torch"),
        (lambda self: torch.rand(1).item(), {}, "torch"),
        (lambda self: self.own.random(), {"own": random.Random(3)}, "own"),
        (lambda self: self.own.random(), {"own": np.random.default_rng(3)}, "own"),
        (lambda self: self.own.rand(), {"own": np.random.RandomState(3)}, "own"),
        (lambda self: torch.rand((), generator=self.own), {"own": torch.Generator().manual_seed(3)}, "own"),
    ],
)
def test_chance_that_decides_what_runs_is_told(draw: Callable[[Any], Any], held: dict[str, Any], name: str) -> None:
    module = Chance(draw, **held)
    graph = capture(module, X)
    note = graph.notes[-1]
    assert f"({name})" in note
    assert "decide what runs" in note
    assert "one draw" in note
    again = capture(module, X)
    assert again.notes == graph.notes
    assert [op.kind for op in again.ops] == [op.kind for op in graph.ops]


def test_generators_of_a_module_are_left_as_they_were() -> None:
    module = Chance(lambda self: self.own.random(), own=np.random.default_rng(3))
    capture(module, X)
    assert module.own.random() == np.random.default_rng(3).random()  # type: ignore[union-attr]


def test_chance_that_decides_seldom_is_told_as_one_draw() -> None:
    (note,) = capture(Chance(lambda self: random.random() * 1e-9), X).notes
    assert "counted is one draw; 3 more ran the same operations" in note


def test_chance_in_training_alone_is_told_with_training() -> None:
    module = Chance(lambda self: random.random() if self.training else 0.0)
    assert not capture(module.eval(), X).notes
    assert any(note.startswith("training: the module draws") for note in profile(module, X, train="full").notes)


def test_dropout_decides_nothing_and_is_captured_once() -> None:
    calls: list[int] = []
    module = Chance(lambda self: len(calls) or calls.append(0) or 0.0).train()
    assert not capture(module, X, trainable=["linear.weight"]).notes
    assert len(calls) == 1
