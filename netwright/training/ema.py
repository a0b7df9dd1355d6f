"""Exponential moving average of weights and running statistics.

Polyak averaging as in "Rethinking the Inception Architecture", Szegedy et al. 2015, arXiv:1512.00567; the decay
starts low, so that the average forgets the first weights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from netwright.core.torch_internals import lerp_all


class Ema:
    """The average of all floating tensors of a module; whole numbers are copied."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.tensors: dict[str, Tensor] = {}
        self.restart(module)

    @torch.no_grad()
    def restart(self, module: nn.Module) -> None:
        """Begin anew from the module's tensors."""
        self.tensors = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, steps: int) -> None:
        """Take in the module's tensors after `steps` steps since the restart."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        averages, values = [], []
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                averages.append(self.tensors[name])
                values.append(value)
            else:
                self.tensors[name].copy_(value)
        lerp_all(averages, values, 1 - decay)

    @contextlib.contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Lend the average to the module."""
        own = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        module.load_state_dict(self.tensors)
        try:
            yield
        finally:
            module.load_state_dict(own)
