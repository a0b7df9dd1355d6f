"""Objectives: terms that a recipe adds to the loss, by name (`changes=[{"objective": NAME}]`); see `training.change.Objective`.

The soft targets of a teacher (Hinton et al. 2015, arXiv:1503.02531) need no term: the recipe's `distillation_weight` mixes them in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.tables import Table

OBJECTIVES: Table[Callable[..., Any]] = Table(
    "Objective", {"match-teacher": "netwright.training.objectives:MatchTeacher"}
)


@dataclass(frozen=True)
class MatchTeacher:
    """The mean squared difference from the teacher's outputs (Ba and Caruana 2014, arXiv:1312.6184, section 2.2).

    Attributes:
        weight: factor on it in the loss.
    """

    weight: float = 1.0

    def objective(self, student: nn.Module, teacher: nn.Module | None) -> Callable[[Any, Any, Any], Tensor]:
        """Return the term.

        Raises:
            NetwrightError: there is no teacher.
        """
        if teacher is None:
            raise NetwrightError("The objective match-teacher needs a teacher: pass one to the training.")
        return lambda outputs, taught, targets: self.weight * (outputs - taught).square().mean()
