"""The convention of fvcore's FlopCountAnalysis (Facebook AI Research, 0.1.5): what it counts, and what it leaves out.

It reads a trace of the forward pass. Its "flops" are multiply-accumulates of convolutions, linear layers, matrix products and einsum; it adds
normalization, resampling and adaptive average pooling, and knows neither fused attention nor recurrent layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from netwright.cost.rules.aten_special import norm_steps
from netwright.cost.rules.work import Work
from netwright.graph.graph import Graph, Op

_UNKNOWN_TO_IT = (
    "scaled_dot_product",
    "rnn",
    "flash_attention",
    "efficient_attention",
    "native_multi_head",
    "_encoder_",
)
_RECURRENT = {"LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"}
_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm")
_RESAMPLING = {"aten.upsample_nearest2d": 1, "aten.upsample_bilinear2d": 4, "aten.grid_sampler_2d": 4}


def total(graph: Graph, works: Sequence[Work | None]) -> int:
    """Return what fvcore prints for the forward operations of a graph."""
    pairs = zip(graph.ops, works, strict=True)
    return sum(_of(graph, op, work) for op, work in pairs if op.stage == "forward" and work is not None)


def _of(graph: Graph, op: Op, work: Work) -> int:
    if work.group == "matmul":
        unknown = op.layer in _RECURRENT or any(part in op.kind for part in _UNKNOWN_TO_IT)
        return 0 if unknown else work.macs
    if any(name in op.kind for name in _NORMS):
        return norm_steps(op) * graph.tensors[op.inputs[0]].elements
    if op.kind in _RESAMPLING:
        return _RESAMPLING[op.kind] * graph.tensors[op.outputs[0]].elements
    if "adaptive_avg_pool2d" in op.kind or _pools_to_one(op):
        return graph.tensors[op.inputs[0]].elements
    return 0


def _pools_to_one(op: Op) -> bool:
    """Adaptive pooling to one pixel is dispatched as this mean."""
    return op.kind == "aten.mean" and op.arguments.get("dim") == [-1, -2] and bool(op.arguments.get("keepdim"))
