"""Operations that take functions: torch.cond, flex_attention, and those that are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from netwright.core.errors import NetwrightError
from netwright.cost.count import count
from netwright.graph.capture.trace import capture


class Branches(nn.Module):
    """A small and a large branch."""

    def __init__(self, swapped: bool = False) -> None:
        super().__init__()
        self.small, self.large = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 60), nn.ReLU(), nn.Linear(60, 6))
        self.swapped = swapped

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.small, self.large)
        first, second = branches[self.swapped], branches[not self.swapped]
        return torch.cond(x.sum() > 0, lambda y: first(y), lambda y: second(y), (x,)) * 2


class Inside(nn.Module):
    """Any forward pass, as a part of a network."""

    def __init__(self, does: Callable[..., Any]) -> None:
        super().__init__()
        self.part = nn.Module()
        self.part.forward = does

    def forward(self, x: Tensor) -> Any:
        return self.part(x)


@pytest.mark.parametrize("swapped", [False, True])
def test_of_torch_cond_the_larger_branch_is_counted(swapped: bool) -> None:
    graph = capture(nn.Sequential(Branches(swapped)), torch.empty(2, 6))
    assert count(graph).macs == 2 * 2 * 6 * 60
    assert not count(graph).unpriced
    assert graph.source == "shapes"
    assert graph.notes == (
        "torch.cond in 0 (Branches): a value decides which of its two branches runs; the larger one is counted",
    )


def test_torch_cond_is_not_captured_for_training_and_that_is_said() -> None:
    with pytest.raises(
        NetwrightError, match=r"torch.cond in 0 \(Branches\) can be captured for inference only.*--train"
    ):
        capture(nn.Sequential(Branches()), torch.empty(2, 6), trainable=["0.large.0.weight"])


def test_flex_attention_in_training_is_refused_by_name() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.linear(x)
            return flex_attention(y, y, y)

    with pytest.raises(NetwrightError, match="FlexAttention does not support backward on CPU"):
        capture(Attends(), torch.empty(1, 2, 16, 8), trainable=["linear.weight"])


@pytest.mark.parametrize("masked", [False, True])
def test_flex_attention_counts_as_attention(masked: bool) -> None:
    def attend(x: Tensor) -> Tensor:
        mask = create_block_mask(lambda b, h, q, k: q >= k, None, None, 16, 16, device="cpu") if masked else None
        return (
            flex_attention(x, x[..., :4, :], x[..., :4, :])
            if mask is None
            else flex_attention(x, x, x, block_mask=mask)
        )

    graph = capture(Inside(attend), torch.empty(1, 2, 16, 8))
    keys = 16 if masked else 4
    plain = capture(
        Inside(lambda x: nn.functional.scaled_dot_product_attention(x, x[..., :keys, :], x[..., :keys, :])),
        torch.empty(1, 2, 16, 8),
    )
    assert count(graph).macs == count(plain).macs == 2 * 2 * 16 * keys * 8
    assert graph.tensors[graph.outputs[0]].shape == (1, 2, 16, 8)
    assert "flex_attention in part (Module)" in graph.notes[-1]


def test_other_operations_that_take_functions_are_refused_by_name() -> None:
    from torch._higher_order_ops.while_loop import while_loop

    def loops(x: Tensor) -> Any:
        return while_loop(lambda y: y.sum() < 3, lambda y: (y + 1,), (x,))

    with pytest.raises(NetwrightError, match=r"torch's while_loop in part \(Module\) runs functions") as told:
        capture(Inside(loops), torch.zeros(2, 3))
    assert "0x" not in str(told.value)
    assert "capture its body by itself" in str(told.value)
