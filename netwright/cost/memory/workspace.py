"""Scratch memory of PyTorch's CPU kernels: what an operation allocates besides inputs and outputs and frees before it returns.

oneDNN computes convolutions on channels in blocks. It copies an input, weight or output that has another layout. The
backward passes of BatchNorm and GroupNorm fill a second tensor of the input's size. The rules were measured with torch's
profiler and allocator (2.15, oneDNN 3, AVX-512). `benchmarks/cost_memory.py` and `benchmarks/cost_training.py` compare them.
"""

from __future__ import annotations

from math import prod

from netwright.graph.dtypes import bytes_of
from netwright.graph.graph import Graph, Op, Ref

BLOCK = 16  # channels that fill a vector register of 512 bits in float32
_PLAIN_CHANNELS = 4  # an input of at most so many channels is read without a copy
_LARGE_KERNEL = 5  # depthwise kernels from this size on compute the gradient of their weight in another way
_SMALL = 20_480  # single images of fewer elements go to torch's own kernel instead of oneDNN's


def workspace_of(graph: Graph, op: Op) -> int:
    """Return the bytes of scratch memory of an operation; 0 where no rule knows it."""
    rule = graph.traits(op).workspace
    if rule == "convolution":
        return convolution_workspace(graph, op)
    if rule == "convolution_backward":
        return _backward(graph, op)
    if rule == "input" and op.arguments["output_mask"][0]:
        return bytes_of(graph.tensors[op.outputs[0]].shape, graph.tensors[op.outputs[0]].dtype)
    return 0


def convolution_workspace(graph: Graph, op: Op, *, threads: int = 1, lanes: int = 16) -> int:
    """Return the most bytes of scratch memory that a float32 convolution takes; 0 for other types.

    `lanes`: floats in a vector register, 16 with AVX-512 and 8 with AVX2.
    """
    if graph.traits(op).workspace != "convolution" or len(op.inputs) < 2 or not op.outputs:
        return 0
    x, weight, y = (graph.tensors[t] for t in (op.inputs[0], op.inputs[1], op.outputs[0]))
    if x.dtype != "float32" or op.arguments.get("transposed") or len(x.shape) != 4:
        return 0
    if _channels_last(graph, op, "input"):
        own = _pointwise(op, weight.shape) or _depthwise(op, weight.shape)
        return 0 if own else 2 * bytes_of(weight.shape, "float32")
    kernel, groups = weight.shape[2:], int(op.arguments.get("groups", 1))
    strided = any(int(side) != 1 for side in op.arguments.get("stride", ()))
    dilated = any(int(side) != 1 for side in op.arguments.get("dilation", ()))
    pointwise = prod(kernel) == 1
    worth = strided or dilated or x.shape[0] >= 16 or not pointwise or threads > 1
    large = groups > 1 or min(kernel) > 3 or x.shape[0] > 1 or x.elements > _SMALL
    if worth and large:
        biased = len(op.inputs) > 2
        return _in_blocks(x.shape, weight.shape, y.shape, groups, lanes, threads * (pointwise and strided), biased)
    if groups > 1:
        return 4 * y.elements  # the groups one by one, then put together
    no_copy = pointwise and not strided and not any(int(side) for side in op.arguments.get("padding", ()))
    return 0 if no_copy else 4 * prod(weight.shape[1:]) * prod(y.shape[2:])  # im2col


def _in_blocks(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    y: tuple[int, ...],
    groups: int,
    lanes: int,
    subsampled: int,
    biased: bool,
) -> int:
    """Return what oneDNN takes: first input, weights and result in blocks of channels, then the result in both layouts.

    `subsampled`: how many threads thin out the input of a strided pointwise convolution, each for itself.
    """
    depthwise = groups == x[1] == weight[0]
    first = groups == 1 and x[1] < lanes and prod(weight[2:]) > 1  # such an input is read without a copy
    inside, outside, per_group = x[1], y[1], weight[1]
    if groups == 1 or depthwise:
        outside = _up(outside, lanes)
        inside = inside if first else _up(inside, lanes)
        per_group = inside if groups == 1 else 1
    source = 0 if first else x[0] * inside * prod(x[2:])
    weights = outside * per_group * prod(weight[2:])
    result = y[0] * outside * prod(y[2:])
    extra = 0  # scratch memory is aligned to 128 bytes, which is 32 floats
    if subsampled and groups == 1:
        extra += subsampled * inside * prod(y[2:]) + 32
    if biased and outside != y[1]:
        extra += outside + 32
    return 4 * (max(source + weights + result + extra, result + prod(y)) - prod(y))


def _up(channels: int, lanes: int) -> int:
    return -(-channels // lanes) * lanes


def _backward(graph: Graph, op: Op) -> int:
    """The gradient of the input comes first, then that of the weight."""
    y, x, weight = (_part(graph, op, name) for name in ("grad_output", "input", "weight"))
    of_input, of_weight, of_bias = op.arguments["output_mask"]
    if _pointwise(op, weight):
        return 0
    if _channels_last(graph, op, "input"):
        wide = _depthwise(op, weight) and max(weight[2:]) >= _LARGE_KERNEL and (of_weight or of_bias)
        return (BLOCK * BLOCK if wide else 2) * bytes_of(weight, "float32")
    most = 0
    if of_input:
        copies = _blocked(y) + _copy_of_weight(op, weight) + _blocked(x)
        most = max(copies - bytes_of(x, "float32"), _blocked(x))
    if (of_weight or of_bias) and not (_depthwise(op, weight) and max(weight[2:]) >= _LARGE_KERNEL):
        most = max(most, _blocked(y) + _blocked(x, reading=True) + _copy_of_weight(op, weight))
    return most


def _part(graph: Graph, op: Op, name: str) -> tuple[int, ...]:
    value = op.arguments[name]
    return graph.tensors[value.tensor].shape if isinstance(value, Ref) else ()


def _pointwise(op: Op, weight: tuple[int, ...]) -> bool:
    """Tell whether it is a matrix product, which needs no other layout."""
    return op.arguments["groups"] == 1 and prod(weight[2:]) == 1 and max(op.arguments["stride"]) == 1


def _blocked(shape: tuple[int, ...], *, reading: bool = False) -> int:
    if len(shape) < 2 or (reading and shape[1] <= _PLAIN_CHANNELS):
        return 0
    return 4 * shape[0] * -(-shape[1] // BLOCK) * BLOCK * prod(shape[2:])


def _copy_of_weight(op: Op, weight: tuple[int, ...]) -> int:
    return 0 if _depthwise(op, weight) else bytes_of(weight, "float32")


def _depthwise(op: Op, weight: tuple[int, ...]) -> bool:
    return weight[1] == 1 and op.arguments["groups"] > 1


def _channels_last(graph: Graph, op: Op, name: str) -> bool:
    """Tell whether an argument is in the channels-last layout, which is used without a copy."""
    value = op.arguments[name]
    strides = graph.tensors[value.tensor].strides if isinstance(value, Ref) else ()
    return len(strides) > 2 and strides[1] == 1
