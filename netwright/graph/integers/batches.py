"""Which integer networks can run many inputs at once: those whose operations keep the entries of the first dimension apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.graph import Op
from netwright.graph.integers.quantized import QuantizedGraph

# Their operands name entries of the first dimension too, or they lay out that dimension anew.
_ALWAYS = {
    *("BATCH_TO_SPACE_ND", "BROADCAST_TO", "GATHER", "REVERSE_V2"),
    *("SLICE", "SPACE_TO_BATCH_ND", "STRIDED_SLICE", "TILE"),
}
_PADS = {"MIRROR_PAD", "PAD", "PADV2"}
# Which operand tells along which dimensions an operation works.
_SAYS_WHERE = {"MEAN": 1, "SPLIT": 0, "SPLIT_V": 2, "TRANSPOSE": 1, **dict.fromkeys(_PADS, 1)}


def batches(model: QuantizedGraph, inputs: Sequence[NDArray[Any]]) -> int:
    """Return how many batches of the graph's own size the inputs hold.

    Raises:
        NetwrightError: another number of inputs, other types, shapes or batches than the graph can take.
    """
    graph = model.graph
    if len(inputs) != len(graph.inputs):
        raise NetwrightError(f"The network takes {len(graph.inputs)} inputs, {len(inputs)} were given.")
    found = set()
    for index, values in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[index]
        own = tensor.shape[0] if tensor.shape else 1
        count = values.shape[0] if values.ndim else 1
        alike = values.ndim == len(tensor.shape) and values.shape[1:] == tensor.shape[1:]
        if values.dtype.name != tensor.dtype or not alike or own < 1 or count < 1 or count % own:
            raise NetwrightError(
                f"Input {model.names[index]!r} is {values.dtype} of shape {values.shape}; "
                f"{tensor.dtype} of shape {tensor.shape} is needed, or several of them along the first dimension."
            )
        found.add(count // own)
    if len(found) > 1:
        raise NetwrightError(f"The inputs hold {sorted(found)} batches; give as many of each.")
    return found.pop() if found else 1


def rowwise(model: QuantizedGraph) -> bool:
    """Return whether all operations keep the entries of the first dimension apart."""
    graph = model.graph
    made = (*graph.inputs, *(index for op in graph.ops for index in op.outputs))
    firsts = {graph.tensors[index].shape[:1] for index in made}
    return len(firsts) == 1 and not any(_mixes(model, op) for op in graph.ops)


def _mixes(model: QuantizedGraph, op: Op) -> bool:
    name = op.kind.removeprefix("tflite.")
    if name in _ALWAYS:
        return True
    rank = max(1, len(model.graph.tensors[op.outputs[0]].shape))
    if name in ("CONCATENATION", "PACK"):
        return op.arguments["axis"] % rank == 0
    if name == "UNPACK":
        return op.arguments["axis"] % (rank + 1) == 0
    if name not in _SAYS_WHERE:
        return False
    operand = op.arguments["inputs"][_SAYS_WHERE[name]]
    if operand is None or operand.tensor not in model.values:
        return True
    numbers = [int(number) for number in model.values[operand.tensor].reshape(-1)]
    if name == "TRANSPOSE":
        return numbers[:1] != [0]
    if name in _PADS:
        return any(numbers[:2])
    source = op.inputs[1] if name == "SPLIT" else op.inputs[0]
    return any(number % max(1, len(model.graph.tensors[source].shape)) == 0 for number in numbers)
