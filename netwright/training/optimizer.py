"""The optimizer of a recipe, and its state as plain values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.training.lesson import Extra
from netwright.training.recipe import Recipe


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return SGD with Nesterov momentum or AdamW, without weight decay on norms, biases and kernel transforms."""
    decayed, plain = [], []
    for name, parameter in module.named_parameters():
        whole = parameter.ndim <= 1 or name.startswith("transforms.")  # decay would pull those from the identity to 0
        (plain if whole else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return _optimizer(recipe.optimizer, groups, recipe)


def make_extra_optimizer(extra: Extra, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer of parameters that learn beside a network's."""
    groups = [{"params": list(extra.module.parameters()), "weight_decay": extra.weight_decay}]
    return _optimizer(extra.optimizer or recipe.optimizer, groups, recipe)


def _optimizer(kind: str, groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999), foreach=True)
    nesterov = recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov, foreach=True)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    """Return what the optimizer remembers, by the position of the parameter in its groups."""
    parameters = _parameters(optimizer)
    return {str(at): dict(optimizer.state[p]) for at, p in enumerate(parameters) if p in optimizer.state}


@torch.no_grad()
def load_optimizer(optimizer: torch.optim.Optimizer, state: Any) -> None:
    """Take over what `optimizer_state` returned.

    Raises:
        NetwrightError: it belongs to other parameters.
    """
    parameters = _parameters(optimizer)
    for at, values in state.items() if isinstance(state, dict) else [("", None)]:
        if not at.isdecimal() or int(at) >= len(parameters) or not isinstance(values, dict):
            raise NetwrightError("Its optimizer state does not fit: it belongs to another network.")
        parameter = parameters[int(at)]
        for name, value in values.items():
            if isinstance(value, Tensor) and value.ndim:
                if value.shape != parameter.shape:
                    raise NetwrightError("Its optimizer state does not fit: it belongs to another network.")
                value = torch.empty_like(parameter).copy_(value)  # in the parameter's memory format
            optimizer.state[parameter][name] = value


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
