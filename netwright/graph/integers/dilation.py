"""A convolution between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND is a dilated one.

TensorFlow computes a dilated convolution by making every n-th pixel an image of its own, and converters fuse that only
where they know the batch. Written back, the three are a padding, a convolution with dilation, and a slice; that is exact,
for padding inside the blocks too, which then is n times as wide. What else stands between, views that move no side and
functions of one value, stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.graph.dtypes import bytes_of
from netwright.graph.graph import Op, Ref, Storage, Tensor
from netwright.graph.integers.conv import window_padding
from netwright.graph.integers.quantized import QuantizedGraph

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_VIEWS = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")
_FUNCTIONS = ("HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH")


def dilated(model: QuantizedGraph) -> QuantizedGraph:
    """Return a graph in which such convolutions are dilated ones; others between those two operations stay as they are."""
    if not any(op.kind == "tflite.SPACE_TO_BATCH_ND" for op in model.graph.ops):
        return model
    rewriting = _Rewriting(model)
    place = 0
    while place < len(rewriting.ops):
        if _name(rewriting.ops[place]) == "SPACE_TO_BATCH_ND":
            rewriting.try_from(place)
        place += 1
    return rewriting.model()


@dataclass
class _Blocked:
    """A tensor on the way: its shape if it were one image, and by how much each of its dimensions is divided in blocks."""

    tensor: int
    full: tuple[int, ...]
    factors: tuple[int, ...]


class _Refused(Exception):
    """What stands between the two operations is not known to work on blocks as on the whole."""


class _Rewriting:
    """The parts of a graph while operations are replaced; tensors keep their numbers, new ones follow."""

    def __init__(self, model: QuantizedGraph) -> None:
        self.given = model
        self.ops = list(model.graph.ops)
        self.tensors = list(model.graph.tensors)
        self.storages = list(model.graph.storages)
        self.names, self.quantization = list(model.names), list(model.quantization)
        self.values = dict(model.values)
        self.readers = Counter(index for op in self.ops for index in op.inputs)
        self.readers.update(model.graph.outputs)

    def model(self) -> QuantizedGraph:
        """Return what has become of the graph."""
        graph = replace(
            self.given.graph, ops=tuple(self.ops), tensors=tuple(self.tensors), storages=tuple(self.storages)
        )
        return replace(
            self.given, graph=graph, names=tuple(self.names), quantization=tuple(self.quantization), values=self.values
        )

    def try_from(self, start: int) -> None:
        """Replace the operations from a SPACE_TO_BATCH_ND to its BATCH_TO_SPACE_ND, if each is known."""
        before = [*self.tensors], [*self.storages], [*self.names], [*self.quantization], dict(self.values)
        try:
            places, made = self._rewritten(start)
        except (_Refused, ValueError, IndexError):
            self.tensors, self.storages, self.names, self.quantization, self.values = before
            return
        rest = self.ops[places[-1] + 1 :]
        between = [op for place, op in enumerate(self.ops[: places[-1]]) if place not in places]
        self.ops = [*between, *made, *rest]

    def _rewritten(self, start: int) -> tuple[list[int], list[Op]]:
        """Return the places of the operations of a chain, and what takes their place."""
        op = self.ops[start]
        source, block = op.inputs[0], self._numbers(op, 1)
        widths = self._numbers(op, 2).reshape(-1, 2)
        shape = self.tensors[source].shape
        if len(widths) != len(block) or not len(block) < len(shape) or block.min(initial=1) < 1:
            raise _Refused
        spatial = (*block.tolist(), *(1,) * (len(shape) - 1 - len(block)))
        low = [0, *widths[:, 0].tolist(), *(0,) * (len(shape) - 1 - len(block))]
        high = [0, *widths[:, 1].tolist(), *(0,) * (len(shape) - 1 - len(block))]
        made: list[Op] = []
        now = self._padded(_Blocked(source, shape, (1, *spatial)), low, high, made, op.outputs[0])
        if any(side % factor for side, factor in zip(now.full, now.factors, strict=True)):
            raise _Refused
        places, read, convolved = [start], op.outputs[0], False
        while True:
            place, op = self._only_reader(read, places[-1])
            places.append(place)
            read = op.outputs[0]
            name = _name(op)
            if name == "BATCH_TO_SPACE_ND":
                if not convolved:
                    raise _Refused
                made.append(self._cropped(op, now))
                return places, made
            if name in _CONVOLUTIONS:
                now, convolved = self._convolved(op, now, made), True
            elif name in _VIEWS:
                now = self._viewed(op, now, made)
            elif name in _FUNCTIONS:
                now = self._becomes(op, now, _Blocked(op.outputs[0], now.full, now.factors), made)
            else:
                raise _Refused

    def _only_reader(self, tensor: int, after: int) -> tuple[int, Op]:
        if self.readers[tensor] != 1:
            raise _Refused
        for place in range(after + 1, len(self.ops)):
            if tensor in self.ops[place].inputs and len(self.ops[place].outputs) == 1:
                return place, self.ops[place]
        raise _Refused

    def _numbers(self, op: Op, place: int) -> NDArray[Any]:
        if len(op.inputs) <= place or op.inputs[place] not in self.values:
            raise _Refused
        return self.values[op.inputs[place]]

    def _convolved(self, op: Op, now: _Blocked, made: list[Op]) -> _Blocked:
        """Append a convolution with its dilation times the blocks', padded by an operation of its own."""
        weights = self.tensors[op.inputs[1]].shape
        if len(now.full) != 4 or len(weights) != 4 or op.arguments["stride_h"] != 1 or op.arguments["stride_w"] != 1:
            raise _Refused
        inner = op.arguments["dilation_h_factor"], op.arguments["dilation_w_factor"]
        low, high, sides, dilations = [0] * 4, [0] * 4, [1], []
        for axis, dilation in zip((1, 2), inner, strict=True):
            factor, side = now.factors[axis], now.full[axis] // now.factors[axis]
            before, after, outputs = window_padding(side, weights[axis], 1, dilation, op.arguments["padding"])
            low[axis], high[axis] = before * factor, after * factor
            sides.append(outputs * factor)
            dilations.append(dilation * factor)
        channels = self.tensors[op.outputs[0]].shape[-1]
        now = self._padded(now, low, high, made, now.tensor)
        options = {"padding": "VALID", "dilation_h_factor": dilations[0], "dilation_w_factor": dilations[1]}
        after_it = _Blocked(op.outputs[0], (*sides, channels), now.factors)
        return self._becomes(replace(op, arguments={**op.arguments, **options}), now, after_it, made)

    def _viewed(self, op: Op, now: _Blocked, made: list[Op]) -> _Blocked:
        """Append a view that only adds or drops sides of 1."""
        wanted = self.tensors[op.outputs[0]].shape
        given = [*zip(now.full[1:], now.factors[1:], strict=True)]
        if any(full == factor != 1 for full, factor in given):
            raise _Refused  # a side of 1 in every block: which one it is cannot be told
        left = iter([(full, factor) for full, factor in given if full != 1])
        after = [next(left, (0, 1)) if side != 1 else (1, 1) for side in wanted[1:]]
        if [full // factor for full, factor in after] != list(wanted[1:]) or next(left, None) is not None:
            raise _Refused
        full, factors = (1, *(full for full, _ in after)), (1, *(factor for _, factor in after))
        return self._becomes(op, now, _Blocked(op.outputs[0], full, factors), made)

    def _becomes(self, op: Op, read: _Blocked, result: _Blocked, made: list[Op]) -> _Blocked:
        """Append an operation that reads a tensor instead of its first operand, and makes one of another shape."""
        old = self.tensors[result.tensor]
        if op.view:
            old = replace(old, storage=self.tensors[read.tensor].storage)
        else:
            size = bytes_of(result.full, old.dtype)
            self.storages[old.storage] = replace(self.storages[old.storage], bytes=size)
        self.tensors[result.tensor] = replace(old, shape=result.full)
        operands = [Ref(read.tensor), *op.arguments["inputs"][1:]]
        made.append(replace(op, inputs=(read.tensor, *op.inputs[1:]), arguments={**op.arguments, "inputs": operands}))
        return result

    def _padded(self, now: _Blocked, low: Sequence[int], high: Sequence[int], made: list[Op], like: int) -> _Blocked:
        """Append a padding with zeros, where there is any."""
        if not any(low) and not any(high):
            return now
        full = tuple(side + a + b for side, a, b in zip(now.full, low, high, strict=True))
        widths = self._constant(np.array([low, high], np.int32).T.copy(), f"{self.names[like]} padding")
        out = self._tensor(full, self.tensors[now.tensor].dtype, f"{self.names[like]} padded", now.tensor)
        made.append(_operation("PAD", (now.tensor, widths), out, self.names[like]))
        return _Blocked(out, full, now.factors)

    def _cropped(self, op: Op, now: _Blocked) -> Op:
        """Return the slice that is left of a BATCH_TO_SPACE_ND."""
        block, crops = self._numbers(op, 1), self._numbers(op, 2).reshape(-1, 2)
        factors = (1, *block.tolist(), *(1,) * (len(now.full) - 1 - len(block)))
        wanted = self.tensors[op.outputs[0]].shape
        low = [0, *crops[:, 0].tolist(), *(0,) * (len(now.full) - 1 - len(crops))]
        high = [0, *crops[:, 1].tolist(), *(0,) * (len(now.full) - 1 - len(crops))]
        sides = tuple(side - a - b for side, a, b in zip(now.full, low, high, strict=True))
        if factors != now.factors or sides != wanted or min(low + high) < 0:
            raise _Refused
        begin = self._constant(np.array(low, np.int32), f"{self.names[op.outputs[0]]} begin")
        size = self._constant(np.array(sides, np.int32), f"{self.names[op.outputs[0]]} size")
        return _operation("SLICE", (now.tensor, begin, size), op.outputs[0], op.path)

    def _constant(self, values: NDArray[Any], name: str) -> int:
        self.storages.append(Storage(values.nbytes, "constant", name))
        self.tensors.append(Tensor(values.shape, values.dtype.name, len(self.storages) - 1))
        self.names.append(name)
        self.quantization.append(None)
        values.flags.writeable = False
        self.values[len(self.tensors) - 1] = values
        return len(self.tensors) - 1

    def _tensor(self, shape: tuple[int, ...], dtype: str, name: str, like: int) -> int:
        self.storages.append(Storage(bytes_of(shape, dtype), "activation", name))
        self.tensors.append(Tensor(shape, dtype, len(self.storages) - 1))
        self.names.append(name)
        self.quantization.append(self.quantization[like])
        return len(self.tensors) - 1


def _operation(name: str, inputs: tuple[int, ...], output: int, path: str) -> Op:
    return Op(f"tflite.{name}", inputs, (output,), {"inputs": [Ref(index) for index in inputs]}, path)


def _name(op: Op) -> str:
    return op.kind.removeprefix("tflite.")
