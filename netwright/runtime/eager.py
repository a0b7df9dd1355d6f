"""PyTorch itself as a runtime: no export, what a notebook would run."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from netwright.nn.wiring import Wiring, connect
from netwright.runtime.runtimes import Runtime

Shape = tuple[int, ...]


class EagerProgram:
    """A module in eval mode; `run` maps arrays to an array."""

    def __init__(self, module: nn.Module, threads: int):
        self.module = module
        self.threads = threads

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        before = torch.get_num_threads()
        if before != self.threads:
            torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                return self.module(*map(torch.from_numpy, inputs)).numpy()
        finally:
            if before != self.threads:
                torch.set_num_threads(before)


def prepare(module: nn.Module, *in_shapes: Shape) -> nn.Module:
    """Return a copy in eval mode as one part of later programs; any input shapes will do."""
    del in_shapes
    return copy.deepcopy(module).cpu().eval().requires_grad_(False)


def compile(module: nn.Module, *in_shapes: Shape, threads: int = 1) -> EagerProgram:
    """Return a module in eval mode as a program; the module itself is not changed."""
    return EagerProgram(prepare(module, *in_shapes), threads)


def chain(parts: Sequence[nn.Module], *, threads: int = 1, wiring: Wiring | None = None) -> EagerProgram:
    """Return prepared parts, each fed by the one before, or as `wiring` says, as one program."""
    return EagerProgram(_connected(parts, wiring), threads)


def joined(
    parts: Sequence[tuple[nn.Module, tuple[Shape, ...]]], wiring: Wiring | None
) -> tuple[nn.Module, list[Shape]]:
    """Return modules, each with its input shapes, as one module with the shapes of its inputs."""
    module = _connected([part for part, _ in parts], wiring)
    if wiring is None:
        return module, list(parts[0][1])
    known = {
        name: shape
        for turn, (_, shapes) in zip(wiring.turns, parts, strict=True)
        for name, shape in zip(turn.reads, shapes, strict=True)
    }
    return module, [known[name] for name in wiring.inputs]


def _connected(modules: Sequence[nn.Module], wiring: Wiring | None) -> nn.Module:
    if wiring is None:
        return modules[0] if len(modules) == 1 else nn.Sequential(*modules)
    return connect(wiring, {turn.name: module for turn, module in zip(wiring.turns, modules, strict=True)})


RUNTIME = Runtime("torch", compile, prepare, chain)
