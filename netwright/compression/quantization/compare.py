"""The integers beside the float network on calibration images: outputs, classes, and layer by layer where it falls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from netwright.compression.quantization.fold.folding import channels_last_order
from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import tree_iter
from netwright.graph.integers.comparison import Comparison, Distance
from netwright.graph.integers.interpret import interpret
from netwright.graph.integers.quantized import Origin, QuantizedGraph

IMAGES = 32  # more change the ratio by tenths of a decibel
LAYER_IMAGES = 8  # with every tensor kept


@torch.no_grad()
def compare(
    reference: Callable[..., Any],
    model: QuantizedGraph,
    data: Sequence[tuple[Tensor, ...]],
    *,
    layers: GraphModule | None = None,
    images: int = IMAGES,
) -> Comparison:
    """Return how far an integer network is from the network in float.

    Args:
        reference: the network in float, in evaluation mode.
        model: its integers, made by `quantize`.
        data: batches of inputs, of which the first images are taken.
        layers: the graph that was folded, before it was observed, to compare every layer too.
        images: how many at most.

    Raises:
        NetwrightError: the network in float returns other outputs than the integers.
    """
    few = first_images(data, images)
    real = [_outputs(reference, inputs) for inputs in few]
    joined = [np.concatenate(parts) for parts in zip(*real, strict=True)]
    count = sum(len(inputs[0]) for inputs in few)
    stored = interpret(model, _stored(model, few))
    if len(joined) != len(stored):
        raise NetwrightError(
            f"The network returns {len(joined)} tensors and its integers {len(stored)}; they cannot be compared."
        )
    got = [
        _real(model, index, values, last, None, count)
        for index, values, last in zip(model.graph.outputs, stored, model.outputs_channels_last, strict=True)
    ]
    names = [model.names[index] for index in model.graph.outputs]
    outputs = tuple(
        Distance(name, sqnr_db(one.reshape(count, -1), other))
        for name, one, other in zip(names, joined, got, strict=True)
    )
    agreement = next((_agreement(one, other) for one, other in zip(joined, got, strict=True) if _is_scores(one)), None)
    found = () if layers is None else _layers(layers, model, first_images(data, LAYER_IMAGES))
    return Comparison(count, outputs, agreement, found)


def sqnr_db(real: NDArray[Any], got: NDArray[Any]) -> float:
    """Return the energy of real values over that of the difference, dB."""
    signal, noise = (float(np.square(values.astype(np.float64)).sum()) for values in (real, got - real))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def first_images(data: Sequence[tuple[Tensor, ...]], most: int) -> list[tuple[Tensor, ...]]:
    """Return the first images of batches; a first batch that is larger is returned cut."""
    found: list[tuple[Tensor, ...]] = []
    left = most
    for inputs in data:
        if left > 0:
            found.append(tuple(tensor[:left] for tensor in inputs))
            left -= len(inputs[0])
    return found


def _outputs(reference: Callable[..., Any], inputs: tuple[Tensor, ...]) -> list[NDArray[Any]]:
    """Return what a network gives for a batch, one row an image: image by image where it mixes or drops the batch."""
    made, size = _tensors(reference, inputs), len(inputs[0])
    if size > 1 and any(value.dim() == 0 or len(value) != size for value in made):
        single = [_tensors(reference, tuple(tensor[place : place + 1] for tensor in inputs)) for place in range(size)]
        made = [torch.stack([value.reshape(-1) for value in values]) for values in zip(*single, strict=True)]
    return [value.float().cpu().numpy() for value in made]


def _tensors(reference: Callable[..., Any], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    return [value for value in tree_iter(reference(*inputs)) if isinstance(value, Tensor)]


def _stored(model: QuantizedGraph, data: Sequence[tuple[Tensor, ...]]) -> list[NDArray[np.int8]]:
    joined = [torch.cat(parts) for parts in zip(*data, strict=True)]
    return [to_integers(model, tensor, place) for place, tensor in enumerate(joined)]


def to_integers(model: QuantizedGraph, x_BCHW: Tensor, place: int = 0) -> NDArray[np.int8]:
    """Return images as input number `place` of a quantized network takes them: int8, NHWC."""
    found = model.quantization[model.graph.inputs[place]]
    assert found is not None  # inputs of what `quantize` makes are int8
    real = x_BCHW.detach().cpu().double().numpy()
    if real.ndim == 4:
        real = real.transpose(0, 2, 3, 1)
    stored = np.rint(real / float(found.scale[0])) + int(found.zero_point[0])
    return np.clip(stored, -128, 127).astype(np.int8)


def _real(
    model: QuantizedGraph,
    index: int,
    values: NDArray[Any],
    channels_last: bool,
    flattened: tuple[int, int, int] | None,
    count: int,
) -> NDArray[np.float64]:
    """Return stored integers as real numbers in torch's order, one row an image."""
    found = model.quantization[index]
    assert found is not None  # all that `quantize` makes is int8
    real = (values.astype(np.float64) - int(found.zero_point[0])) * float(found.scale[0])
    if flattened is not None:
        channels, height, width = flattened
        real = real.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    elif channels_last:
        order = channels_last_order(real.ndim)
        real = real.transpose([order.index(place) for place in range(real.ndim)])
    return real.reshape(count, -1)


def _is_scores(real: NDArray[Any]) -> bool:
    return real.ndim == 2 and real.shape[1] > 1


def _agreement(real: NDArray[Any], got: NDArray[Any]) -> float:
    return float(np.mean(real.argmax(1) == got.argmax(1)))


class _Values(Interpreter):
    """Runs a graph and notes the values of some nodes."""

    def __init__(self, module: GraphModule, wanted: Mapping[str, Origin]):
        super().__init__(module)
        self._wanted = wanted
        self.found: dict[str, NDArray[Any]] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.name in self._wanted and isinstance(result, Tensor):
            self.found[n.name] = result.detach().float().numpy()
        return result


def _layers(module: GraphModule, model: QuantizedGraph, data: list[tuple[Tensor, ...]]) -> tuple[Distance, ...]:
    """Return the distance of every tensor of the integers that a node of the float graph computes, in order."""
    origins = {origin.node: origin for origin in model.origins}
    inputs = data[:1]  # one batch: a graph may take no other size
    runner = _Values(module, origins)
    runner.run(*inputs[0])
    count = len(inputs[0][0])
    tensors = interpret(model, _stored(model, inputs), keep=True)
    distances = []
    for name, real in runner.found.items():
        origin = origins[name]
        if real.ndim and len(real) == count and tensors[origin.tensor] is not None:
            got = _real(model, origin.tensor, tensors[origin.tensor], origin.channels_last, origin.flattened, count)
            distances.append(Distance(f"{origin.path} ({name})", sqnr_db(real.reshape(count, -1), got)))
    return tuple(distances)
