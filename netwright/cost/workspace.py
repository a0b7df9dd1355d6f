"""Memory that PyTorch's operations take on a processor beside their inputs and outputs.

For convolutions oneDNN works on channels in blocks and copies what comes in another layout: input, weight and output for
the time of the operation. The backward passes of BatchNorm and GroupNorm fill a second tensor of the input's size. Held against the allocator's events of torch 2.15 on a processor with AVX-512: `benchmarks/cost_training.py`.
"""

from __future__ import annotations

from math import prod

from netwright.graph.dtypes import bytes_of
from netwright.graph.graph import Graph, Op, Ref

BLOCK = 16  # channels that fill a vector register of 512 bits in float32
_PLAIN_CHANNELS = 4  # an input of so few channels is read as it lies
_LARGE_KERNEL = 5  # of a depthwise convolution, from where the gradient of its weight is computed in another way


def workspace_of(graph: Graph, op: Op) -> int:
    """Return the bytes an operation allocates and frees again, above its inputs and outputs; 0 where none are known."""
    if op.kind == "aten.convolution":
        return _forward(graph, op)
    if op.kind == "aten.convolution_backward":
        return _backward(graph, op)
    if (
        op.kind in ("aten.native_batch_norm_backward", "aten.native_group_norm_backward")
        and op.arguments["output_mask"][0]
    ):
        return bytes_of(graph.tensors[op.outputs[0]].shape, graph.tensors[op.outputs[0]].dtype)
    return 0


def _forward(graph: Graph, op: Op) -> int:
    x, weight, y = _part(graph, op, "input"), _part(graph, op, "weight"), graph.tensors[op.outputs[0]].shape
    if _pointwise(op, weight):
        return 0
    if _channels_last(graph, op, "input"):
        return 0 if _depthwise(op, weight) else 2 * bytes_of(weight, "float32")
    copies = _blocked(x, reading=True) + _copy_of_weight(op, weight) + _blocked(y)
    return max(copies - bytes_of(y, "float32"), _blocked(y))


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
    """Tell whether the channels of an argument lie next to each other, a layout that is used as it is."""
    value = op.arguments[name]
    strides = graph.tensors[value.tensor].strides if isinstance(value, Ref) else ()
    return len(strides) > 2 and strides[1] == 1
