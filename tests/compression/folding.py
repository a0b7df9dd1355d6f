"""Helpers: a module's integers beside the float graph with fake quantization that they were folded from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright.compression.quantization.exported import export
from netwright.compression.quantization.fold.fold import fold
from netwright.compression.quantization.post_training import prepare, to_integers
from netwright.compression.quantization.pt2e import convert_pt2e
from netwright.graph.integers.interpret import interpret
from netwright.graph.integers.quantized import QuantizedGraph


def settled(module: nn.Module, x_BCHW: Tensor) -> nn.Module:
    """Give every BatchNorm the statistics of these images and other weights than one and zero."""
    norms = [part for part in module.modules() if isinstance(part, (nn.BatchNorm2d, nn.BatchNorm1d))]
    for part in norms:
        part.momentum = None
        nn.init.uniform_(part.weight, 0.5, 1.5)
        nn.init.uniform_(part.bias, -0.5, 0.5)
    module.train()
    with torch.no_grad():
        module(x_BCHW)
    return module.eval()


def both(module: nn.Module, x: Tensor, observer: str = "minmax") -> tuple[QuantizedGraph, NDArray[Any], NDArray[Any]]:
    """Return the integers, their output for `x`, and that of the graph with fake quantization, in steps of the output."""
    converted = convert_pt2e(prepare(export(module, (x,)), [(x,)], observer))
    model = fold(converted, (x,))
    got = interpret(model, [to_integers(model, x)])[0]
    with torch.no_grad():
        real = converted(x).numpy()
    if real.shape != got.shape:
        real = real.transpose(0, 2, 3, 1)
    return model, got.astype(int), in_steps(model, real)


def in_steps(model: QuantizedGraph, real: NDArray[Any]) -> NDArray[Any]:
    """Return real outputs as stored integers."""
    quantization = model.quantization[model.graph.outputs[0]]
    assert quantization is not None
    steps = np.rint(real.astype(np.float64) / float(quantization.scale[0])) + int(quantization.zero_point[0])
    return np.clip(steps, -128, 127).astype(int)


def kinds(model: QuantizedGraph) -> list[str]:
    """Return the operations' names in order."""
    return [op.kind.removeprefix("tflite.") for op in model.graph.ops]
