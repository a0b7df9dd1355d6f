"""Movements of elements as blocks of one `Copy` layer: padding, transposition, slices, concatenation, nearest neighbours.

Shapes are those of values, without the batch. A block's dimensions are merged where both sides stay contiguous, so that
the innermost one is as long as it can be.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.mcu.code import LayerData, array, struct
from netwright.mcu.layer import Layer, Network

MOST_BLOCKS = 32  # of one copy of fewer inputs: beyond, tables of constants would outgrow what they move

AxisRun = tuple[
    int, list[tuple[int, int, int]]
]  # a start along one axis; (size, step read, step written), outermost first


@dataclass(frozen=True, slots=True)
class CopyBlock:
    """A block copied from the input number `source`: `shape` elements, with offsets and strides in elements.

    Numbers from that of the inputs on are those of constants.

    Element (i, j, ...) goes from from_offset + i x from_strides[0] + ... to to_offset + i x to_strides[0] + ...
    """

    source: int
    shape: tuple[int, ...]
    from_offset: int
    from_strides: tuple[int, ...]
    to_offset: int
    to_strides: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Copy(Layer):
    """Moves elements without changing them; elements that no block writes are `fill`.

    Padding, slices, transposes, nearest-neighbour resizing and concatenation all are copies.
    """

    blocks: tuple[CopyBlock, ...]
    fill: int | None = None
    constants: tuple[NDArray[np.int8], ...] = ()

    def data(self, network: Network, name: str) -> LayerData:
        """Return the sizes and strides of each block."""
        del network
        text = "".join(
            struct(
                "nw_copy_constants",
                f"{name}_part{number}",
                [
                    ("size", _innermost(block.shape, 1)),
                    ("from", _innermost(block.from_strides, 0)),
                    ("to", _innermost(block.to_strides, 0)),
                ],
            )
            for number, block in enumerate(self.blocks)
        )
        held = "".join(array(f"{name}_held{number}", values) for number, values in enumerate(self.constants))
        return LayerData(text + held, frozenset({"copy"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return one call a block, in loops over the dimensions beyond four."""
        del scratch
        size = network.values[self.output].bytes
        calls = [] if self.fill is None else [f"nw_fill({out}, {size}, {self.fill});"]
        for number, block in enumerate(self.blocks):
            outer = max(0, len(block.shape) - 4)
            sources = (*inputs, *(f"{name}_held{number}" for number in range(len(self.constants))))
            read, write = f"{sources[block.source]} + {block.from_offset}", f"{out} + {block.to_offset}"
            loops = [(block.shape[i], block.from_strides[i], block.to_strides[i]) for i in range(outer)]
            calls.append(_loops(loops, lambda r, w, n=number: f"nw_copy({r}, {w}, &{name}_part{n});", read, write))
        return "\n  ".join(calls)


def _innermost(numbers: Sequence[int], missing: int) -> str:
    """Return the innermost four of a block's sizes or strides, as an initializer."""
    four = tuple(numbers[-4:])
    return "{" + ", ".join(map(str, ((missing,) * (4 - len(four))) + four)) + "}"


def _loops(loops: Sequence[tuple[int, int, int]], call: Callable[[str, str], str], read: str, write: str) -> str:
    """Return nested loops of (count, stride read, stride written) around a call."""
    head = ""
    for depth, (count, from_stride, to_stride) in enumerate(loops):
        index = f"i{depth}"
        head += f"for (int32_t {index} = 0; {index} < {count}; {index}++) "
        read, write = f"{read} + {index} * {from_stride}", f"{write} + {index} * {to_stride}"
    return head + call(read, write)


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a tensor without gaps, in elements."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def copy(
    inputs: tuple[int, ...],
    output: int,
    name: str,
    blocks: tuple[CopyBlock, ...],
    fill: int | None = None,
    *,
    constants: tuple[NDArray[np.int8], ...] = (),
) -> Copy:
    """Return the layer of some blocks."""
    merged = tuple(merge(block) for block in blocks if math.prod(block.shape))
    return Copy(inputs, output, name, merged, fill, constants)


def merge(block: CopyBlock) -> CopyBlock:
    """Return the same movement with as few dimensions as possible, at least one."""
    dims: list[tuple[int, int, int]] = []
    for size, source, target in zip(block.shape, block.from_strides, block.to_strides, strict=True):
        if size == 1:
            continue
        if dims and dims[-1][1] == size * source and dims[-1][2] == size * target:
            dims[-1] = (dims[-1][0] * size, source, target)
        else:
            dims.append((size, source, target))
    sizes, sources, targets = zip(*(dims or [(1, 1, 1)]), strict=True)
    return CopyBlock(block.source, sizes, block.from_offset, sources, block.to_offset, targets)


def pad(shape: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...]) -> CopyBlock:
    """Return the block that copies a value into a padded one."""
    larger = tuple(size + low + high for size, low, high in zip(shape, before, after, strict=True))
    strides = dense_strides(larger)
    offset = sum(low * stride for low, stride in zip(before, strides, strict=True))
    return CopyBlock(0, shape, 0, dense_strides(shape), offset, strides)


def take(shape: tuple[int, ...], start: tuple[int, ...], step: tuple[int, ...], result: tuple[int, ...]) -> CopyBlock:
    """Return the block that reads `result` elements from `start` in steps, which may be negative."""
    strides = dense_strides(shape)
    offset = sum(first * stride for first, stride in zip(start, strides, strict=True))
    return CopyBlock(
        0, result, offset, tuple(a * b for a, b in zip(step, strides, strict=True)), 0, dense_strides(result)
    )


def place(source: int, shape: tuple[int, ...], axis: int, at: int, whole: int) -> CopyBlock:
    """Return the block that copies input number `source` to `at` along `axis` of a concatenation of `whole` there."""
    result = (*shape[:axis], whole, *shape[axis + 1 :])
    strides = dense_strides(result)
    return CopyBlock(source, shape, 0, dense_strides(shape), at * strides[axis], strides)


def from_indices(index: NDArray[np.integer], sizes: Sequence[int]) -> tuple[CopyBlock, ...] | None:
    """Return the blocks that make an output whose element i is element `index[i]` of the concatenated inputs.

    Args:
        index: in the output's shape.
        sizes: elements of each input.

    Returns:
        None where an input's elements fill no box of the output, at equal distances; where what is read is no sum of
        what each axis adds; or where more blocks are needed than `MOST_BLOCKS` and than there are inputs.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)])
    strides = dense_strides(index.shape)
    blocks: list[CopyBlock] = []
    most = max(MOST_BLOCKS, len(sizes))
    for number, (start, stop) in enumerate(itertools.pairwise(starts.tolist())):
        inside = (index >= start) & (index < stop)
        if not inside.any():
            continue
        box = tuple(side for axis in range(index.ndim) if (side := _extent(inside, axis)) is not None)
        if len(box) < index.ndim or not inside[box].all() or np.count_nonzero(inside) != inside[box].size:
            return None
        local = index[box] - start
        axes = _by_axis(local)
        if axes is None:
            return None
        corner = sum(side.start * stride for side, stride in zip(box, strides, strict=True))
        first = int(local.reshape(-1)[0])
        choices = [_runs(axis) for axis in axes]
        if len(blocks) + math.prod(len(choice) for choice in choices) > most:
            return None
        stretched = tuple(side.step * stride for side, stride in zip(box, strides, strict=True))
        blocks += _blocks(number, first, corner, choices, axes, stretched)
    return tuple(blocks)


def _extent(inside: NDArray[np.bool_], axis: int) -> slice | None:
    """Return where along an axis something is inside, None if it is not at equal distances."""
    found = np.flatnonzero(inside.any(axis=tuple(other for other in range(inside.ndim) if other != axis)))
    step = int(found[1] - found[0]) if len(found) > 1 else 1
    return slice(int(found[0]), int(found[-1]) + 1, step) if np.all(np.diff(found) == step) else None


def _by_axis(index: NDArray[np.integer]) -> list[NDArray[np.integer]] | None:
    """Return what each axis adds to the first index, or None if they do not add up to all of them."""
    first = index.reshape(-1)[0]
    total = np.full((1,) * index.ndim, first, index.dtype)
    axes = []
    for axis in range(index.ndim):
        own = index[tuple(slice(None) if other == axis else 0 for other in range(index.ndim))] - first
        axes.append(own)
        total = total + own.reshape(tuple(-1 if other == axis else 1 for other in range(index.ndim)))
    return axes if np.array_equal(total, index) else None


def _runs(axis: NDArray[np.integer]) -> list[AxisRun]:
    """Return what an axis adds as runs of equal steps: one, one of one, or several after each other."""
    steps = np.diff(axis)
    if len(np.unique(steps)) <= 1:
        return [(0, [(len(axis), int(steps[0]) if len(steps) else 0, 1)])]
    for period in range(2, len(axis) // 2 + 1):
        if len(axis) % period == 0:
            rows = axis.reshape(-1, period)
            inner, outer = np.unique(np.diff(rows, axis=1)), np.unique(np.diff(rows, axis=0))
            if len(inner) == 1 and len(outer) == 1:
                return [(0, [(len(rows), int(outer[0]), period), (period, int(inner[0]), 1)])]
    runs, start = [], 0
    while start < len(axis):
        end = start + 1
        while end < len(axis) and steps[end - 1] == steps[start]:
            end += 1
        runs.append((start, [(end - start, int(steps[start]) if end > start + 1 else 0, 1)]))
        start = end
    return runs


def _blocks(
    source: int,
    first: int,
    corner: int,
    choices: Sequence[list[AxisRun]],
    axes: Sequence[NDArray[np.integer]],
    strides: tuple[int, ...],
) -> Iterator[CopyBlock]:
    """Yield the block of every combination of one run an axis."""
    for runs in itertools.product(*choices):
        dims = [
            (size, read, write * stride)
            for (_, steps), stride in zip(runs, strides, strict=True)
            for size, read, write in steps
        ]
        read = first + sum(int(axis[start]) for (start, _), axis in zip(runs, axes, strict=True))
        write = corner + sum(start * stride for (start, _), stride in zip(runs, strides, strict=True))
        sizes, from_strides, to_strides = zip(*(dims or [(1, 1, 1)]), strict=True)
        yield CopyBlock(source, sizes, read, from_strides, write, to_strides)
