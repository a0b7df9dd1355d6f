"""PyTorch itself as a runtime: no export, what a notebook would run."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn


class EagerProgram:
    """A module in eval mode; `run` maps an array to an array."""

    def __init__(self, module: nn.Module, threads: int):
        self.module = module
        self.threads = threads

    def run(self, x: np.ndarray) -> np.ndarray:
        before = torch.get_num_threads()
        if before != self.threads:
            torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                return self.module(torch.from_numpy(x)).numpy()
        finally:
            if before != self.threads:
                torch.set_num_threads(before)


def prepare(module: nn.Module, in_shape: tuple[int, ...]) -> nn.Module:
    """Return a copy in eval mode as one part of later chains; any input shape will do."""
    del in_shape
    return copy.deepcopy(module).cpu().eval().requires_grad_(False)


def compile(module: nn.Module, in_shape: tuple[int, ...], *, threads: int = 1) -> EagerProgram:
    """Return a module in eval mode as a program; the module itself is not changed."""
    return EagerProgram(prepare(module, in_shape), threads)


def chain(parts: Sequence[nn.Module], *, threads: int = 1) -> EagerProgram:
    """Return prepared parts, each fed by the one before, as one program."""
    return EagerProgram(nn.Sequential(*parts), threads)
