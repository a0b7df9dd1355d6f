"""A runtime from outside the package: one function. Also: --runtime tests/extension/own_runtime.py:OWN."""

from __future__ import annotations

import copy

import numpy as np
import torch

from netwright.runtime.runtimes import Runtime

COMPILED: list[int] = []  # threads of every program that was compiled


class Program:
    """A module that is run in inference mode."""

    def __init__(self, module: torch.nn.Module):
        self.module = copy.deepcopy(module).eval()

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.module(*map(torch.from_numpy, inputs)).numpy()


def compile(module: torch.nn.Module, *in_shapes: tuple[int, ...], threads: int = 1) -> Program:
    """Return a program for batch 1."""
    COMPILED.append(threads)
    program = Program(module)
    program.run(*(np.zeros((1, *shape), np.float32) for shape in in_shapes))  # the shapes are those of the inputs
    return program


OWN = Runtime("torch", compile)
