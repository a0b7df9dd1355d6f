"""From a trained module to integers, with some images and without training."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from netwright.compression.quantization.annotate import Int8Quantizer
from netwright.compression.quantization.bias_correction import correct_biases, means_of_layers
from netwright.compression.quantization.compare import compare, to_integers
from netwright.compression.quantization.equalize import equalize as even_out
from netwright.compression.quantization.exported import export, takes_any_batch
from netwright.compression.quantization.fold.fold import fold
from netwright.compression.quantization.observers import ObserverName
from netwright.compression.quantization.pt2e import convert_pt2e, prepare_pt2e
from netwright.core.errors import NetwrightError
from netwright.core.progress import say
from netwright.graph.integers.quantized import QuantizedGraph

__all__ = ["prepare", "quantize", "run", "to_integers"]


def quantize(
    module: nn.Module,
    batches: Iterable[Any],
    *,
    observer: ObserverName = "minmax",
    bias_correction: bool = False,
    equalize: bool = False,
    layers: bool = False,
) -> QuantizedGraph:
    """Return a module in integers: int8 weights, symmetric, a scale a channel; int8 activations, a scale a tensor.

    The integers are compared with the module on some of the images: the result's `comparison`; what is far away is said.

    The module is left as it was. It is exported by torch.export, observed and converted by torchao's PT2E, and folded
    into operations with int32 bias and fixed-point multipliers. Images x_BCHW become NHWC.

    Args:
        module: anything that torch.export takes and whose operations are known (`annotate`).
        batches: of images as the module sees them, a few hundred in all; tensors, or tuples of the inputs.
        observer: how the ranges of activations are chosen (`observers`).
        bias_correction: let each layer's outputs have the mean they had in float (`bias_correction`).
        equalize: first even out the ranges of the weights across channels (`equalize`).
        layers: compare every layer too.

    Raises:
        NetwrightError: no images, or a module that cannot be exported or has no integer form.
    """
    data = [_inputs(batch) for batch in batches]
    if not data:
        raise NetwrightError("Quantizing got no images: pass batches of a few hundred images as the module sees them.")
    graph_module = export(module, data[0])
    before = copy.deepcopy(graph_module) if layers else None
    if equalize:
        even_out(graph_module, data)
    means = means_of_layers(graph_module, data) if bias_correction else {}
    converted = convert_pt2e(prepare(graph_module, data, observer))
    if bias_correction:
        correct_biases(converted, means, data)
    model = fold(converted, data[0], type(module).__name__)
    comparison = compare(copy.deepcopy(module).eval(), model, data, layers=before)
    if doubt := comparison.doubt():
        say(doubt)
    return dataclasses.replace(model, comparison=comparison)


def prepare(graph_module: GraphModule, data: list[tuple[Tensor, ...]], observer: str) -> GraphModule:
    """Return an exported graph with observers that have seen the data."""
    observed = prepare_pt2e(graph_module, Int8Quantizer(observer))
    run(observed, data)
    return observed


@torch.no_grad()
def run(graph_module: GraphModule, data: list[tuple[Tensor, ...]]) -> None:
    """Run a graph on every batch.

    Raises:
        NetwrightError: a batch is of another size than the first, which the graph was exported with and needs.
    """
    sizes = {len(inputs[0]) for inputs in data}
    if len(sizes) > 1 and not takes_any_batch(graph_module):
        raise NetwrightError(
            f"The module fixes its batch size, and the batches are of {sorted(sizes)} images. "
            "Leave out the last, smaller one."
        )
    for inputs in data:
        if not all(tensor.isfinite().all() for tensor in inputs):
            raise NetwrightError(
                "A batch holds NaN or infinity, for which there are no integers. Leave these images out."
            )
        graph_module(*inputs)


def _inputs(batch: Any) -> tuple[Tensor, ...]:
    found = batch if isinstance(batch, (tuple, list)) else (batch,)
    if not found or not all(isinstance(tensor, Tensor) and tensor.is_floating_point() for tensor in found):
        raise NetwrightError(
            "Quantizing takes batches of float tensors, as the module's inputs; labels are to be left out."
        )
    return tuple(found)
