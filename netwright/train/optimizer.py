"""The optimizer of a recipe."""

from __future__ import annotations

import torch
from torch import nn

from netwright.train.recipe import Recipe


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
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999), foreach=True)
    nesterov = recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov, foreach=True)
