"""Operations that move values, as integer operations on tensors that are stored with their channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.fx import Node

from netwright.compression.quantization.fold.folding import Folding, Int8Tensor, channels_last_order
from netwright.compression.quantization.fold.layers import Fused
from netwright.compression.quantization.nodes import argument, kind, where
from netwright.graph.integers.quantized import Quantization


def _source(node: Node) -> Any:
    return node.args[0]


def _finish(folding: Folding, value: Int8Tensor, node: Node, quantization: Quantization) -> Int8Tensor:
    return folding.requantize(value, quantization, where(node))


def reshape(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """RESHAPE, of an image without moving a value where the channels may stay last."""
    source = _source(node)
    value, old, new = folding.value(source, node), folding.shape(source), folding.shape(node)
    quantization, path = folding.quantization(value), where(node)
    if value.channels_last and len(new) >= 4 and new[-2:] == old[-2:] and new[0] == old[0]:
        target = [new[place] for place in channels_last_order(len(new))]
        result = Int8Tensor(folding.reshape(value.index, target, quantization, path), True)
    elif value.channels_last and len(old) == 4 and len(new) == 2 and new[0] == old[0] and old[2] * old[3] > 1:
        result = Int8Tensor(folding.reshape(value.index, new, quantization, path), flattened=(old[1], old[2], old[3]))
    else:
        value = folding.torch_order(source, node)
        result = Int8Tensor(folding.reshape(value.index, new, quantization, path))
    return _finish(folding, result, node, fused.quantization)


def transpose(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """TRANSPOSE; none where the values are stored in the new order already."""
    source = _source(node)
    value = folding.value(source, node)
    if value.flattened:
        value = folding.torch_order(source, node)
    rank = len(folding.shape(source))
    order = list(range(rank))
    if kind(node) == "permute":
        order = [place % rank for place in argument(node, "dims")]
    else:
        one, other = argument(node, "dim0") % rank, argument(node, "dim1") % rank
        order[one], order[other] = other, one
    stored = channels_last_order(rank) if value.channels_last else tuple(range(rank))
    choices = {True: channels_last_order(rank), False: tuple(range(rank))} if rank >= 4 else {False: tuple(range(rank))}
    moves = {last: [stored.index(order[place]) for place in choice] for last, choice in choices.items()}
    last = next((last for last, move in moves.items() if move == list(range(rank))), value.channels_last)
    result = Int8Tensor(folding.transpose(value.index, moves[last], where(node)), last)
    return _finish(folding, result, node, fused.quantization)


def cut(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """STRIDED_SLICE along one dimension: slice, select, or a piece of split and chunk."""
    source, name, start, stop, step = _source(node), kind(node), 0, 0, 1
    if name == "getitem":
        pieces, source = source, source.args[0]
        number: Any = node.args[1]
        dim = argument(pieces, "dim", 0)
        shapes: Any = folding.shape(pieces)
        number %= len(shapes)
        axis = dim % len(shapes[0])
        start = sum(shape[axis] for shape in shapes[:number])
        stop = start + shapes[number][axis]
    else:
        axis = argument(node, "dim", 0) % len(folding.shape(source))
        side = folding.shape(source)[axis]
        if name == "select":
            start = argument(node, "index") % side
            stop = start + 1
        else:
            wanted = slice(argument(node, "start"), argument(node, "end"), argument(node, "step", 1))
            start, stop, step = wanted.indices(side)
    value = folding.value(source, node)
    if value.flattened:
        value = folding.torch_order(source, node)
    place = channels_last_order(len(folding.stored_shape(value))).index(axis) if value.channels_last else axis
    result = folding.cut(value, {place: (start, stop, step)}, where(node))
    if name == "select":
        result = _without(folding, node, result, axis)
    return _finish(folding, result, node, fused.quantization)


def _without(folding: Folding, node: Node, value: Int8Tensor, axis: int) -> Int8Tensor:
    """Drop a dimension of one."""
    rank = len(folding.stored_shape(value))
    stored = list(channels_last_order(rank)) if value.channels_last else list(range(rank))
    tensor = value.index
    if value.channels_last:
        tensor = folding.transpose(tensor, [stored.index(place) for place in range(rank)], where(node))
    shape = [side for place, side in enumerate(folding.builder.shape(tensor)) if place != axis]
    return Int8Tensor(folding.reshape(tensor, shape, folding.quantization(value), where(node)))


def concatenate(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """CONCATENATION; inputs of another scale are requantized first."""
    parts: Any = node.args[0]
    path = where(node)
    images = any(folding.value(part, node).channels_last for part in parts)
    values = [(folding.channels_last if images else folding.torch_order)(part, node) for part in parts]
    values = [folding.requantize(value, fused.quantization, path) for value in values]
    shape = folding.shape(node)
    axis = argument(node, "dim", 0) % len(shape)
    if images:
        axis = channels_last_order(len(shape)).index(axis)
        shape = [shape[place] for place in channels_last_order(len(shape))]
    tensors = [value.index for value in values]
    return Int8Tensor(folding.op("CONCATENATION", tensors, shape, fused.quantization, path, axis=axis), images)


def pad(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """PAD with a constant."""
    source, amounts = _source(node), argument(node, "pad")
    value = folding.value(source, node)
    if value.flattened:
        value = folding.torch_order(source, node)
    rank = len(folding.shape(source))
    edges = [(0, 0)] * rank
    for place in range(len(amounts) // 2):
        edges[rank - 1 - place] = (int(amounts[2 * place]), int(amounts[2 * place + 1]))
    if any(side < 0 for edge in edges for side in edge):
        raise folding.refuse(node, "with negative amounts has no integer form here. Slice instead.")
    if value.channels_last:
        edges = [edges[place] for place in channels_last_order(rank)]
    real = argument(node, "value") or 0.0
    quantization = folding.quantization(value)
    stored = int(np.clip(np.rint(real / float(quantization.scale[0])) + int(quantization.zero_point[0]), -128, 127))
    return _finish(folding, folding.pad(value, edges, where(node), stored), node, fused.quantization)


def resize(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """RESIZE_NEAREST_NEIGHBOR or RESIZE_BILINEAR."""
    x, path = folding.channels_last(_source(node), node), where(node)
    batch, channels, height, width = folding.shape(node)
    size = folding.builder.indices(f"{path}.size", (height, width))
    options: dict[str, Any] = {}
    name = "RESIZE_NEAREST_NEIGHBOR"
    if kind(node) == "upsample_bilinear2d":
        name = "RESIZE_BILINEAR"
        corners = bool(argument(node, "align_corners"))
        options = {"align_corners": corners, "half_pixel_centers": not corners}
    shape, quantization = (batch, height, width, channels), folding.quantization(x)
    result = folding.op(name, (x.index, size), shape, quantization, path, **options)
    return _finish(folding, Int8Tensor(result, True), node, fused.quantization)


def greatest(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """MAX_POOL_2D with one window over the dimensions that are reduced, which lie behind one another in memory."""
    source, path = _source(node), where(node)
    value, rank = folding.value(source, node), len(folding.shape(source))
    given = argument(node, "dim")
    axes = {place % rank for place in ([given] if isinstance(given, int) else given)}
    order = channels_last_order(rank) if value.channels_last else tuple(range(rank))
    if value.flattened or not _adjacent(folding.stored_shape(value), [order.index(axis) for axis in axes]):
        value, order = folding.torch_order(source, node), tuple(range(rank))
    shape, places = folding.stored_shape(value), [order.index(axis) for axis in axes]
    if not _adjacent(shape, places):
        raise folding.refuse(
            node,
            f"over dimensions {sorted(axes)} of {rank}, with others between them, has no integer form here. Reduce them one after another.",
        )
    first, last = min(places), max(places) + 1
    outer, window, inner = (int(np.prod(part)) for part in (shape[:first], shape[first:last], shape[last:]))
    image = folding.reshape(value.index, (1, outer, window, inner), folding.quantization(value), path)
    options = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "filter_height": 1, "filter_width": window}
    made = folding.op("MAX_POOL_2D", (image,), (1, outer, 1, inner), folding.quantization(value), path, **options)
    kept = [1 if place in places else side for place, side in enumerate(shape)]
    result = Int8Tensor(folding.reshape(made, kept, folding.quantization(value), path), value.channels_last)
    if not argument(node, "keepdim", False):
        moves = [order.index(place) for place in range(rank)]
        tensor = folding.transpose(result.index, moves, path)
        result = Int8Tensor(folding.reshape(tensor, folding.shape(node), folding.quantization(value), path))
    return _finish(folding, result, node, fused.quantization)


def _adjacent(shape: Sequence[int], places: Sequence[int]) -> bool:
    """Whether only dimensions of one lie between others."""
    return all(shape[place] == 1 for place in range(min(places), max(places)) if place not in places)


def mean(folding: Folding, node: Node, fused: Fused) -> Int8Tensor:
    """MEAN over dimensions of the image, or any others."""
    source = _source(node)
    rank = len(folding.shape(source))
    given = argument(node, "dim")
    given = list(range(rank)) if given is None else [given] if isinstance(given, int) else list(given)
    axes = sorted(place % rank for place in given)
    keep = bool(argument(node, "keepdim", False))
    value = folding.value(source, node)
    order: tuple[int, ...] = tuple(range(rank))
    if value.channels_last and (keep or axes == [rank - 2, rank - 1]):
        order = channels_last_order(rank)
    else:
        value = folding.torch_order(source, node)
    path = where(node)
    places = folding.builder.indices(f"{path}.axes", sorted(order.index(axis) for axis in axes))
    shape: Any = folding.shape(node)
    last = value.channels_last and keep
    if last:
        shape = [shape[place] for place in channels_last_order(rank)]
    result = folding.op("MEAN", (value.index, places), shape, fused.quantization, path, keep_dims=keep)
    return Int8Tensor(result, last)
