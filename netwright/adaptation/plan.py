"""Train within a number of bytes: the contract of a plan, and the plans there are.

A plan is made from its settings, `budget` in bytes among them, and has two methods: `planned` tells the peak that it
predicts, `plan` is what a training run calls (`netwright.training.change`). The gradients are those of the module, and the
memory of a step stays within the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from netwright.core.tables import Table


class PlannedNetwork(Protocol):
    """A network in the form that trains within a budget. `peak_bytes`: predicted; inputs, activations and gradients."""

    @property
    def network(self) -> nn.Module: ...

    @property
    def peak_bytes(self) -> int: ...


class MemoryPlan(Protocol):
    """How a step is computed within a budget."""

    def planned(self, module: nn.Module, inputs: Sequence[Tensor], trainable: Collection[str]) -> PlannedNetwork:
        """Return the network that trains so, with the module's own parameters, and the predicted peak.

        Raises:
            NetwrightError: the budget is too small, or the network cannot be trained in this way.
        """
        ...

    def plan(self, module: nn.Module, example: Any) -> nn.Module:
        """Return the network of `planned` for `example.inputs` and the parameters that require gradients."""
        ...


PLANS: Table[Callable[..., MemoryPlan]] = Table(
    "Plan", {"checkpointing": "netwright.adaptation.checkpointing.plan:Checkpointing"}
)


def plan(
    module: nn.Module,
    inputs: Sequence[Tensor],
    trainable: Collection[str],
    bytes: int | str,
    *,
    how: str | Callable[..., MemoryPlan] = "checkpointing",
) -> PlannedNetwork:
    """Return a module in the form that trains within so many bytes, and the peak that is predicted for a step.

    `trainable`: names of the parameters that learn. `bytes`: for inputs, activations and gradients; a number, or a text such
    as "30MB". `how`: a name of `PLANS`, FILE.py:NAME, or a maker of one's own that takes `budget`.

    Raises:
        NetwrightError: no such plan, or no plan fits.
    """
    return PLANS.find(how)(budget=bytes).planned(module, inputs, trainable)
