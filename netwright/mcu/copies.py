"""Movements of elements as parts of one `Copy`: padding, transposition, slices, concatenation, nearest neighbours.

Shapes are those of values, without the batch. A part's dimensions are merged where both sides stay contiguous, so that the
innermost one is as long as it can be.
"""

from __future__ import annotations

import math

from netwright.mcu.network import Copy, Part


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a tensor without gaps, in elements."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def copy(inputs: tuple[int, ...], output: int, name: str, parts: tuple[Part, ...], fill: int | None = None) -> Copy:
    """Return the layer of some parts."""
    return Copy(inputs, output, name, tuple(merge(part) for part in parts if math.prod(part.shape)), fill)


def merge(part: Part) -> Part:
    """Return the same movement with as few dimensions as possible, at least one."""
    dims: list[tuple[int, int, int]] = []
    for size, source, target in zip(part.shape, part.from_strides, part.to_strides, strict=True):
        if size == 1:
            continue
        if dims and dims[-1][1] == size * source and dims[-1][2] == size * target:
            dims[-1] = (dims[-1][0] * size, source, target)
        else:
            dims.append((size, source, target))
    sizes, sources, targets = zip(*(dims or [(1, 1, 1)]), strict=True)
    return Part(part.source, sizes, part.from_offset, sources, part.to_offset, targets)


def pad(shape: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...]) -> Part:
    """Return the part that lays a value into a padded one."""
    larger = tuple(size + low + high for size, low, high in zip(shape, before, after, strict=True))
    strides = dense_strides(larger)
    offset = sum(low * stride for low, stride in zip(before, strides, strict=True))
    return Part(0, shape, 0, dense_strides(shape), offset, strides)


def transpose(shape: tuple[int, ...], order: tuple[int, ...]) -> Part:
    """Return the part that makes dimension `order[i]` dimension i."""
    strides = dense_strides(shape)
    turned = tuple(shape[axis] for axis in order)
    return Part(0, turned, 0, tuple(strides[axis] for axis in order), 0, dense_strides(turned))


def take(shape: tuple[int, ...], start: tuple[int, ...], step: tuple[int, ...], result: tuple[int, ...]) -> Part:
    """Return the part that reads `result` elements from `start` in steps, which may be negative."""
    strides = dense_strides(shape)
    offset = sum(first * stride for first, stride in zip(start, strides, strict=True))
    return Part(0, result, offset, tuple(a * b for a, b in zip(step, strides, strict=True)), 0, dense_strides(result))


def place(source: int, shape: tuple[int, ...], axis: int, at: int, whole: int) -> Part:
    """Return the part that lays input number `source` at `at` along `axis` of a concatenation of `whole` there."""
    result = (*shape[:axis], whole, *shape[axis + 1 :])
    strides = dense_strides(result)
    return Part(source, shape, 0, dense_strides(shape), at * strides[axis], strides)
