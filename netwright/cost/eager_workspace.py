"""Memory that PyTorch's convolutions on a processor take besides their result, and give back before they return.

Every figure in the rules was read off torch's profiler (2.15, oneDNN 3, AVX-512): which of its two kernels torch takes, and the
copies of input, weights and result in blocks of channels that oneDNN makes. `benchmarks/cost_memory.py` holds them against it.
"""

from __future__ import annotations

from math import prod

from netwright.graph.graph import Graph, Op

_SMALL = 20_480  # torch's own kernel takes single images of fewer elements


def convolution_workspace(graph: Graph, op: Op, *, threads: int = 1, lanes: int = 16) -> int:
    """Return the bytes that a float32 convolution of dense NCHW tensors takes at most beyond its result; others take 0.

    `lanes`: floats in a vector register, 16 with AVX-512 and 8 with AVX2.
    """
    if op.kind not in ("aten.convolution", "aten._convolution") or len(op.inputs) < 2 or not op.outputs:
        return 0
    x, weight, y = (graph.tensors[t] for t in (op.inputs[0], op.inputs[1], op.outputs[0]))
    if x.dtype != "float32" or op.arguments.get("transposed") or len(x.shape) != 4:
        return 0
    kernel, groups = weight.shape[2:], int(op.arguments.get("groups", 1))
    strided = any(int(side) != 1 for side in op.arguments.get("stride", ()))
    dilated = any(int(side) != 1 for side in op.arguments.get("dilation", ()))
    pointwise = prod(kernel) == 1
    worth = strided or dilated or x.shape[0] >= 16 or not pointwise or threads > 1
    large = groups > 1 or min(kernel) > 3 or x.shape[0] > 1 or x.elements > _SMALL
    if worth and large:
        biased = len(op.inputs) > 2
        return _blocked(x.shape, weight.shape, y.shape, groups, lanes, threads * (pointwise and strided), biased)
    if groups > 1:
        return 4 * y.elements  # the groups one by one, then put together
    as_it_lies = pointwise and not strided and not any(int(side) for side in op.arguments.get("padding", ()))
    return 0 if as_it_lies else 4 * prod(weight.shape[1:]) * prod(y.shape[2:])  # im2col


def _blocked(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    y: tuple[int, ...],
    groups: int,
    lanes: int,
    subsampled: int,
    biased: bool,
) -> int:
    """Return what oneDNN takes: input, weights and result in blocks of channels at first, then both forms of the result.

    `subsampled`: how many threads thin out the input of a strided pointwise convolution, each for itself.
    """
    depthwise = groups == x[1] == weight[0]
    first = groups == 1 and x[1] < lanes and prod(weight[2:]) > 1  # such an input is read as it lies
    inside, outside, per_group = x[1], y[1], weight[1]
    if groups == 1 or depthwise:
        outside = _up(outside, lanes)
        inside = inside if first else _up(inside, lanes)
        per_group = inside if groups == 1 else 1
    source = 0 if first else x[0] * inside * prod(x[2:])
    weights = outside * per_group * prod(weight[2:])
    result = y[0] * outside * prod(y[2:])
    extra = 0  # scratch lies on a border of 128 bytes, which is 32 floats
    if subsampled and groups == 1:
        extra += subsampled * inside * prod(y[2:]) + 32
    if biased and outside != y[1]:
        extra += outside + 32
    return 4 * (max(source + weights + result + extra, result + prod(y)) - prod(y))


def _up(channels: int, lanes: int) -> int:
    return -(-channels // lanes) * lanes
