"""What a forward pass keeps for the backward pass: what autograd does keep, and what must be kept.

Autograd keeps whole operands, also where the backward operation only asks for their shape: PyTorch's convolutions
and normalizations keep their input although they are frozen (pytorch issue 133566). What must be kept is read from
the joint graph: a value counts only where an operation of the backward pass computes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from netwright.graph.dtypes import bytes_of
from netwright.graph.graph import Graph, Op, Ref
from netwright.graph.operations.traits import Traits


def _convolution(op: Op) -> tuple[str, ...]:
    of_input, of_weight, _ = op.arguments["output_mask"]
    return ("weight",) * bool(of_input) + ("input",) * bool(of_weight)


def _batch_norm(op: Op) -> tuple[str, ...]:
    """In eval mode the input's gradient needs no value but the running variance; in training it needs the input."""
    of_input, of_weight, _ = op.arguments["output_mask"]
    if of_weight or (of_input and op.arguments.get("train", op.arguments.get("update"))):
        return ("input", "weight", "save_mean", "save_invstd", "save_var", "reserve", "running_var")
    return ("weight", "running_var")


def _normalized(op: Op) -> tuple[str, ...]:
    """GroupNorm and LayerNorm: the input's gradient needs the normalized input, frozen scale or not."""
    of_input, of_weight, *_ = op.arguments["output_mask"]
    return ("input", "weight", "mean", "rstd") if of_input or of_weight else ()


# Backward operations whose needs depend on which gradients are wanted: the arguments whose values they read.
_BY_MASK: Mapping[str, Callable[[Op], tuple[str, ...]]] = {
    "batch_norm": _batch_norm,
    "convolution": _convolution,
    "normalized": _normalized,
}


def saved_by_autograd(graph: Graph) -> dict[int, int]:
    """Return the storages that the captured run packed for its backward pass, with their bytes.

    Each counts once and whole, however many tensors look at it; parameters and buffers do not count, the network's
    input does where a trained layer reads it.
    """
    storages = graph.storages
    return {
        number: storages[number].bytes for number in graph.saved if storages[number].role not in ("parameter", "buffer")
    }


def saved_frozen_aware(graph: Graph) -> dict[int, int]:
    """Return the storages of the forward pass that the backward pass computes with, and the bytes that must be kept.

    A ReLU or another piecewise linear function keeps one bit for each element, or nothing where its output is kept
    anyway; max pooling keeps a byte for each output; everything else keeps its values. An operation without a rule is
    taken to need all it is handed.
    """
    forward = next((place for place, op in enumerate(graph.ops) if op.stage == "backward"), len(graph.ops))
    whole: dict[int, dict[tuple[int, ...], int]] = {}
    packed: dict[int, int] = {}
    for op in graph.ops[forward:]:
        for index, bits in _needs(op, graph.traits(op)):
            tensor = graph.tensors[index]
            storage = graph.storages[tensor.storage]
            if storage.role in ("parameter", "buffer") or storage.born >= forward:
                continue
            if bits is None:
                views = whole.setdefault(tensor.storage, {})
                views[tuple(sorted(tensor.shape))] = bytes_of(tensor.shape, tensor.dtype)
            else:
                packed[tensor.storage] = max(packed.get(tensor.storage, 0), -(-tensor.elements * bits // 8))
    for op in graph.ops[:forward]:
        if graph.traits(op).activation in ("relu", "hard") and graph.tensors[op.outputs[0]].storage in whole:
            packed.pop(graph.tensors[op.inputs[0]].storage, None)
    return packed | {number: min(graph.storages[number].bytes, sum(views.values())) for number, views in whole.items()}


def _needs(op: Op, traits: Traits) -> Iterator[tuple[int, int | None]]:
    """Yield the tensors that a backward operation reads, with the bits it needs of each element: None is all."""
    by_mask = _BY_MASK[traits.needs] if traits.needs else None
    wanted = None if by_mask is None else (*by_mask(op), "grad_output", "grad_out")
    packed = dict(traits.packed)
    for name, value in op.arguments.items():
        if name in traits.shape_only or (wanted is not None and name not in wanted):
            continue
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, Ref):
                yield part.tensor, packed.get(name)
