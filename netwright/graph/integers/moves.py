"""Operations that move values without computing: padding, shapes, slices, joins, nearest neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.integers.call import Call


def pad(call: Call) -> NDArray[Any]:
    """PAD with the stored zero point, PADV2 with the value given."""
    x = call.array(0)
    widths = _pad_widths(call)
    if call.has(2):
        value = call.array(2).reshape(-1)[0]
    else:
        value = call.out()[1] if call.model.quantization[call.op.outputs[0]] is not None else 0
    return np.pad(x, widths, constant_values=value)


def mirror_pad(call: Call) -> NDArray[Any]:
    """MIRROR_PAD."""
    mode = "reflect" if call.option("mode") == "REFLECT" else "symmetric"
    return np.pad(call.array(0), _pad_widths(call), mode=mode)


def _pad_widths(call: Call) -> NDArray[Any]:
    widths = np.array(call.whole(1)).reshape(-1, 2)
    if len(widths) != call.array(0).ndim or (widths < 0).any():
        raise NetwrightError(f"{call.where} pads {call.array(0).ndim} dimensions by {widths.tolist()}.")
    return widths


def reshape(call: Call) -> NDArray[Any]:
    """RESHAPE, SQUEEZE and EXPAND_DIMS, to the shape that the graph states, times the batch."""
    x, shape = call.array(0), call.out_shape()
    elements = int(np.prod(shape, dtype=np.int64))
    if not shape or x.size == elements:
        return x.reshape(shape)
    return x.reshape(shape[0] * (x.size // elements), *shape[1:])


def transpose(call: Call) -> NDArray[Any]:
    """TRANSPOSE."""
    order = call.whole(1)
    if sorted(order) != list(range(call.array(0).ndim)):
        raise NetwrightError(f"{call.where} orders {call.array(0).ndim} dimensions as {order}.")
    return np.ascontiguousarray(call.array(0).transpose(order))


def axis_of(call: Call, axis: int, dimensions: int) -> int:
    """Return an axis counted from the front.

    Raises:
        NetwrightError: it does not exist.
    """
    if not -dimensions <= axis < dimensions:
        raise NetwrightError(f"{call.where} names axis {axis} of {dimensions} dimensions.")
    return axis % dimensions


def concatenate(call: Call) -> NDArray[Any]:
    """CONCATENATION of tensors that are quantized alike, as the reference kernels demand.

    Raises:
        NetwrightError: they are not, or an activation is fused.
    """
    parts = [call.array(place) for place in range(len(call.arrays))]
    if call.model.quantization[call.op.outputs[0]] is not None:
        same_scale(call, range(len(parts)))
    if call.option("fused_activation_function") != "NONE":
        raise NetwrightError(f"{call.where} fuses {call.option('fused_activation_function')}, which has no kernel.")
    axis = axis_of(call, call.option("axis"), parts[0].ndim)
    return np.concatenate(_of_one_batch(parts, axis), axis=axis)


def _of_one_batch(parts: list[NDArray[Any]], axis: int) -> list[NDArray[Any]]:
    """Return what is joined inside of a batch, a constant of one entry once for every entry."""
    batch = max((len(part) for part in parts if part.ndim), default=1)
    if axis == 0 or batch == 1:
        return parts
    return [np.broadcast_to(part, (batch, *part.shape[1:])) if len(part) == 1 else part for part in parts]


def same_scale(call: Call, places: range) -> None:
    """Check that operands are quantized as the output is.

    Raises:
        NetwrightError: they are not.
    """
    for place in places:
        if call.of(place) != call.out():
            raise NetwrightError(
                f"{call.where}: operand {place} has scale and zero point {call.of(place)}, the output {call.out()}, "
                "which only moves values. Requantize it first."
            )


def split(call: Call) -> tuple[NDArray[Any], ...]:
    """SPLIT into equal parts, whose axis is its first operand."""
    x = call.array(1)
    axis = axis_of(call, call.whole(0)[0], x.ndim)
    if x.shape[axis] % len(call.op.outputs):
        raise NetwrightError(f"{call.where} splits {x.shape[axis]} into {len(call.op.outputs)} parts.")
    return tuple(np.split(x, len(call.op.outputs), axis=axis))


def split_sizes(call: Call) -> tuple[NDArray[Any], ...]:
    """SPLIT_V into parts of the sizes given, one of which may be -1, the rest."""
    x, sizes = call.array(0), call.whole(1)
    axis = axis_of(call, call.whole(2)[0], x.ndim)
    rest = x.shape[axis] - sum(size for size in sizes if size >= 0)
    sizes = [rest if size < 0 else size for size in sizes]
    if min(sizes) < 0 or sum(sizes) != x.shape[axis] or len(sizes) != len(call.op.outputs):
        raise NetwrightError(f"{call.where} splits {x.shape[axis]} into parts of {sizes}.")
    return tuple(np.split(x, np.cumsum(sizes)[:-1].tolist(), axis=axis))


def take_slice(call: Call) -> NDArray[Any]:
    """SLICE from the beginnings given, of the sizes given (-1: to the end)."""
    x, begins, sizes = call.array(0), call.whole(1), call.whole(2)
    ends = [side if size < 0 else begin + size for side, begin, size in zip(x.shape, begins, sizes, strict=True)]
    if any(not 0 <= begin <= end <= side for side, begin, end in zip(x.shape, begins, ends, strict=True)):
        raise NetwrightError(f"{call.where} takes {sizes} from {begins} of shape {x.shape}.")
    return x[tuple(slice(begin, end) for begin, end in zip(begins, ends, strict=True))]


def strided_slice(call: Call) -> NDArray[Any]:
    """STRIDED_SLICE with masks for beginnings, ends and dimensions that go; Python's slices, but for the masks.

    Raises:
        NetwrightError: it uses an ellipsis or a new axis.
    """
    if call.option("ellipsis_mask") or call.option("new_axis_mask"):
        raise NetwrightError(f"{call.where} uses an ellipsis or a new axis, which is not supported.")
    x = call.array(0)
    picks: list[slice | int] = []
    for place, (begin, end, step) in enumerate(zip(call.whole(1), call.whole(2), call.whole(3), strict=True)):
        if step == 0:
            raise NetwrightError(f"{call.where} steps by 0.")
        if call.option("shrink_axis_mask") >> place & 1:
            picks.append(begin)
            continue
        if call.option("offset"):
            end += begin
        first = None if call.option("begin_mask") >> place & 1 else begin
        picks.append(slice(first, None if call.option("end_mask") >> place & 1 else end, step))
    return np.array(x[tuple(picks)], order="C")  # a number by itself stays one


def pack(call: Call) -> NDArray[Any]:
    """PACK tensors of one shape along a new axis."""
    parts = [call.array(place) for place in range(len(call.arrays))]
    axis = axis_of(call, call.option("axis"), parts[0].ndim + 1)
    return np.stack(_of_one_batch(parts, axis) if parts[0].ndim else parts, axis=axis)


def unpack(call: Call) -> tuple[NDArray[Any], ...]:
    """UNPACK a tensor along an axis, which goes."""
    x = call.array(0)
    return tuple(np.moveaxis(x, axis_of(call, call.option("axis"), x.ndim), 0))


def gather(call: Call) -> NDArray[Any]:
    """GATHER entries along an axis.

    Raises:
        NetwrightError: it has batch dimensions, or an index that does not exist.
    """
    x = call.array(0)
    axis = axis_of(call, call.option("axis"), x.ndim)
    if call.option("batch_dims") or (call.array(1) < 0).any() or (call.array(1) >= x.shape[axis]).any():
        raise NetwrightError(f"{call.where} has batch dimensions or indices that do not exist.")
    return np.take(x, call.array(1), axis=axis)


def tile(call: Call) -> NDArray[Any]:
    """TILE: repeated so many times along each dimension."""
    times = call.whole(1)
    if len(times) != call.array(0).ndim or min(times, default=1) < 0:
        raise NetwrightError(f"{call.where} repeats {call.array(0).ndim} dimensions {times} times.")
    return np.tile(call.array(0), times)


def broadcast_to(call: Call) -> NDArray[Any]:
    """BROADCAST_TO a shape whose sides of 1 were missing or 1."""
    return np.ascontiguousarray(np.broadcast_to(call.array(0), call.whole(1)))


def reverse(call: Call) -> NDArray[Any]:
    """REVERSE_V2 along the axes given."""
    axes = tuple(axis_of(call, axis, call.array(0).ndim) for axis in call.whole(1))
    return np.ascontiguousarray(np.flip(call.array(0), axes))


def _in_blocks(call: Call, how: str) -> tuple[NDArray[Any], list[int], NDArray[Any]]:
    """Return the images, the sides of a block and the margins [dimensions, 2] of them, by which images are `how`.

    Raises:
        NetwrightError: they are not of one number of dimensions, or negative.
    """
    x, block = call.array(0), call.whole(1)
    margins = np.array(call.whole(2)).reshape(-1, 2)
    if len(margins) != len(block) or not 1 <= len(block) < x.ndim or min(block) < 1 or (margins < 0).any():
        raise NetwrightError(f"{call.where} makes blocks {block} of {x.ndim} dimensions, {how} by {margins.tolist()}.")
    return x, block, margins


def space_to_batch(call: Call) -> NDArray[Any]:
    """SPACE_TO_BATCH_ND: padded with zeros, then every `block`-th pixel is an image; of N images, image b N + n is of image n."""
    x, block, widths = _in_blocks(call, "padded")
    spatial = len(block)
    found = call.model.quantization[call.op.outputs[0]]
    zero = 0 if found is None else call.out()[1]
    x = np.pad(x, [(0, 0), *widths.tolist(), *((0, 0),) * (x.ndim - 1 - spatial)], constant_values=zero)
    count, rest = len(x), x.shape[1 + spatial :]
    sides = [side // step for side, step in zip(x.shape[1:], block, strict=False)]
    if any(side % step for side, step in zip(x.shape[1:], block, strict=False)):
        raise NetwrightError(f"{call.where} makes blocks {block} of shape {x.shape}, which they do not divide.")
    parts = x.reshape(count, *(number for pair in zip(sides, block, strict=True) for number in pair), *rest)
    inner, outer = range(2, 2 * spatial + 1, 2), range(1, 2 * spatial + 1, 2)
    turned = parts.transpose(*inner, 0, *outer, *range(2 * spatial + 1, parts.ndim))
    return np.ascontiguousarray(turned).reshape(count * int(np.prod(block)), *sides, *rest)


def batch_to_space(call: Call) -> NDArray[Any]:
    """BATCH_TO_SPACE_ND: the inverse of SPACE_TO_BATCH_ND, and then cropped."""
    x, block, crops = _in_blocks(call, "cropped")
    spatial = len(block)
    images = int(np.prod(block))
    if len(x) % images:
        raise NetwrightError(f"{call.where} joins blocks {block} of {len(x)} images.")
    sides, rest = x.shape[1 : 1 + spatial], x.shape[1 + spatial :]
    parts = x.reshape(*block, len(x) // images, *sides, *rest)
    order = [number for axis in range(spatial) for number in (spatial + 1 + axis, axis)]
    turned = parts.transpose(spatial, *order, *range(2 * spatial + 1, parts.ndim))
    whole = turned.reshape(len(x) // images, *(side * step for side, step in zip(sides, block, strict=True)), *rest)
    cut = [slice(low, side - high) for side, (low, high) in zip(whole.shape[1:], crops.tolist(), strict=False)]
    return np.ascontiguousarray(whole[(slice(None), *cut)])


def depth_to_space(call: Call) -> NDArray[Any]:
    """DEPTH_TO_SPACE: channels become blocks of pixels."""
    x, block = call.array(0), call.option("block_size")
    count, height, width, channels = x.shape
    if channels % (block * block):
        raise NetwrightError(f"{call.where} makes blocks of {block} from {channels} channels.")
    parts = x.reshape(count, height, width, block, block, channels // (block * block))
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(count, height * block, width * block, -1)


def space_to_depth(call: Call) -> NDArray[Any]:
    """SPACE_TO_DEPTH: blocks of pixels become channels."""
    x, block = call.array(0), call.option("block_size")
    count, height, width, channels = x.shape
    if height % block or width % block:
        raise NetwrightError(f"{call.where} makes blocks of {block} from {height} x {width} pixels.")
    parts = x.reshape(count, height // block, block, width // block, block, channels)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(count, height // block, width // block, -1)


def nearest_indices(side: int, outputs: int, *, align: bool, half: bool) -> NDArray[np.int64]:
    """Return which input each output of one dimension takes (GetNearestNeighbor, in float32)."""
    step = (
        np.float32(side - 1) / np.float32(outputs - 1)
        if align and outputs > 1
        else np.float32(side) / np.float32(outputs)
    )
    place = (np.arange(outputs, dtype=np.float32) + np.float32(0.5 if half else 0)) * step
    found = np.floor(place.astype(np.float64) + 0.5) if align else np.floor(place)
    return np.clip(found.astype(np.int64), 0, side - 1)


def resize_nearest(call: Call) -> NDArray[Any]:
    """RESIZE_NEAREST_NEIGHBOR of NHWC."""
    x = call.array(0)
    height, width = call.whole(1)
    options = {"align": call.option("align_corners"), "half": call.option("half_pixel_centers")}
    rows = nearest_indices(x.shape[1], height, **options)
    columns = nearest_indices(x.shape[2], width, **options)
    return x[:, rows][:, :, columns]
